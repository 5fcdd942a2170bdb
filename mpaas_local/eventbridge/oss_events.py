"""Events of OSS objects, delivered to native triggers (fc-runtime.md: OSS trigger) and, through EventBridge,
to event triggers (fc-runtime.md: OSS through EventBridge).
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from mpaas_local.clock import utc_second_text, utc_text
from mpaas_local.eventbridge.bus import enqueue
from mpaas_local.fc.oss_trigger import bucket_arn, object_meta, oss_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from mpaas_local.account import Account
    from mpaas_local.eventbridge.bus import EventBus
    from mpaas_local.fc.oss_trigger import OssTrigger
    from mpaas_local.oss import ObjectEvent

__all__ = ["OssEvents", "oss_cloud_event"]

_THREADS = 16

_logger = logging.getLogger(__name__)


class OssEvents:
    """Publishes events of objects; a context manager that waits for the deliveries of the bus on exit.

    Args:
        bus: Delivers the events; it also has the functions.
        triggers: The native triggers; the caller may add more.
    """

    def __init__(self, bus: EventBus, triggers: Sequence[OssTrigger]) -> None:
        self._bus = bus
        self._triggers = triggers
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="oss-events")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()

    def publish(self, event: ObjectEvent) -> None:
        """Deliver an event to all matching triggers, without waiting for synchronous calls of the bus."""
        account, moment = self._bus.account, self._bus.clock.time()
        for trigger in self._triggers:
            if trigger.matches(event):
                payload = oss_event(event, trigger.rule_id, account, moment)
                delivery = enqueue(trigger, self._bus.functions[trigger.function], payload)
                if delivery.error:
                    _logger.warning("%s: %s: %s", trigger.name, trigger.function, delivery.error)
        cloud_event = oss_cloud_event(event, account, moment)
        if self._bus.matching(cloud_event):
            self._threads.submit(self._bus.publish, cloud_event)


def oss_cloud_event(event: ObjectEvent, account: Account, moment: float) -> dict[str, Any]:
    """Return the CloudEvent of an event on the bus `default` (fc-runtime.md: OSS through EventBridge)."""
    data = {
        "eventVersion": "1.0",
        "responseElements": {"requestId": event.request_id},
        "eventSource": "acs:oss",
        "eventTime": utc_second_text(moment),
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "eventName": event.name,
        "userIdentity": {"principalId": account.account_id},
        "region": account.region,
        "oss": {
            "bucket": {
                "name": event.bucket,
                "arn": bucket_arn(event, account),
                "virtualBucket": "",
                "ownerIdentity": account.account_id,
            },
            "ossSchemaVersion": "1.0",
            "object": {
                "size": event.size,
                "objectMeta": object_meta(event),
                "deltaSize": event.delta,
                "eTag": event.etag,
                "key": event.key,
            },
        },
    }
    return {
        "datacontenttype": "application/json;charset=utf-8",
        "aliyunaccountid": account.account_id,
        "data": data,
        "subject": f"{bucket_arn(event, account)}/{event.key}",
        "aliyunoriginalaccountid": account.account_id,
        "source": "acs.oss",
        "type": f"oss:{event.name}",
        "aliyunpublishtime": utc_text(moment),
        "specversion": "1.0",
        "aliyuneventbusname": "default",
        "id": event.request_id,
        "time": utc_second_text(moment).replace(".000Z", "Z"),
        "aliyunregionid": account.region,
    }
