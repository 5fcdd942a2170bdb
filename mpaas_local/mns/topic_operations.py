"""Operations on topics and subscriptions: each maps an `MnsCall` to a `Reply`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool

from mpaas_local.mns import requests, responses
from mpaas_local.mns.call import Paging, Reply, creation_reply
from mpaas_local.mns.model import TopicAttributes

if TYPE_CHECKING:
    from mpaas_local.mns.call import MnsCall
    from mpaas_local.mns.store import MnsStore

__all__ = ["TopicOperations"]


class TopicOperations:
    """Operations on topics and subscriptions."""

    def __init__(self, store: MnsStore) -> None:
        self._topics = store.topics

    async def put(self, call: MnsCall) -> Reply:
        """CreateTopic, or SetTopicAttributes with `metaoverride`."""
        name = call.path["topic"]
        settings: dict[str, Any] = requests.read_topic(call.document) if call.body else {}
        if "metaoverride" in call.query:
            await run_in_threadpool(self._topics.set_attributes, name, **settings)
            return Reply(204)
        new = await run_in_threadpool(self._topics.create, name, TopicAttributes(**settings))
        return creation_reply(call, f"/topics/{name}", new)

    async def get(self, call: MnsCall) -> Reply:
        """GetTopicAttributes."""
        topic = await run_in_threadpool(self._topics.get, call.path["topic"])
        return Reply(200, responses.topic_document(topic))

    async def delete(self, call: MnsCall) -> Reply:
        """DeleteTopic."""
        await run_in_threadpool(self._topics.delete, call.path["topic"])
        return Reply(204)

    async def list(self, call: MnsCall) -> Reply:
        """ListTopic."""
        paging = Paging(call)
        topics, marker = paging.page(
            await run_in_threadpool(self._topics.all, paging.prefix), lambda topic: topic.name
        )
        urls = [(f"{call.base_url}/topics/{topic.name}", topic) for topic in topics]
        return Reply(200, responses.topic_list(urls, marker, with_meta=paging.with_meta))

    async def publish(self, call: MnsCall) -> Reply:
        """PublishMessage."""
        publication = requests.read_publication(call.document)
        published = await run_in_threadpool(self._topics.publish, call.path["topic"], publication)
        return Reply(201, responses.published_message(published))

    async def subscribe(self, call: MnsCall) -> Reply:
        """Subscribe, or SetSubscriptionAttributes with `metaoverride`."""
        topic, name = call.path["topic"], call.path["subscription"]
        if "metaoverride" in call.query:
            strategy = requests.read_strategy(call.document)
            if strategy is None:
                await run_in_threadpool(self._topics.subscription, topic, name)
            else:
                await run_in_threadpool(self._topics.set_strategy, topic, name, strategy)
            return Reply(204)
        attributes = requests.read_subscription(call.document)
        new = await run_in_threadpool(self._topics.subscribe, topic, name, attributes)
        return creation_reply(call, f"/topics/{topic}/subscriptions/{name}", new)

    async def subscription(self, call: MnsCall) -> Reply:
        """GetSubscriptionAttributes."""
        topic, name = call.path["topic"], call.path["subscription"]
        subscription = await run_in_threadpool(self._topics.subscription, topic, name)
        return Reply(200, responses.subscription_document(subscription, self._topics.account_id))

    async def unsubscribe(self, call: MnsCall) -> Reply:
        """Unsubscribe."""
        topic, name = call.path["topic"], call.path["subscription"]
        await run_in_threadpool(self._topics.unsubscribe, topic, name)
        return Reply(204)

    async def list_subscriptions(self, call: MnsCall) -> Reply:
        """ListSubscriptionByTopic."""
        topic = call.path["topic"]
        paging = Paging(call)
        matching = await run_in_threadpool(self._topics.subscriptions, topic, paging.prefix)
        subscriptions, marker = paging.page(matching, lambda subscription: subscription.name)
        parent = f"{call.base_url}/topics/{topic}/subscriptions"
        urls = [f"{parent}/{subscription.name}" for subscription in subscriptions]
        return Reply(200, responses.subscription_list(urls, marker))
