"""The whole of it on this machine: the functions of `s.yaml`, what triggers them, and the mPaaS sandbox.

Everything listens on loopback. Functions get the sandbox as their endpoint and its AccessKey as their role's
temporary credentials, as Function Compute gives them.
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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

from mpaas_local.eventbridge.bus import EventBus
from mpaas_local.eventbridge.cloud_events import EventTrigger, event_trigger_of
from mpaas_local.eventbridge.sources import MnsSource
from mpaas_local.eventbridge.streams import EventStream, stream_of
from mpaas_local.fc.api import Callee, create_events_app
from mpaas_local.fc.asynchronous import AsyncConfig, AsyncQueue
from mpaas_local.fc.call_log import CallLog, RecordedCall
from mpaas_local.fc.destinations import Destinations, destination_of, mns_destinations
from mpaas_local.fc.host import Account, Credentials, Function, FunctionHost
from mpaas_local.fc.http_trigger import create_gateway
from mpaas_local.fc.oss_trigger import OssTrigger, oss_trigger_of
from mpaas_local.fc.timer_trigger import Timers, timer_of
from mpaas_local.fc.topic_trigger import TopicTrigger, topic_of
from mpaas_local.inbox import create_inbox_app
from mpaas_local.inbox.changes import Changes
from mpaas_local.loopback import is_own_host
from mpaas_local.mns import MnsServer, MnsStore
from mpaas_local.mns.errors import MnsError
from mpaas_local.mpaas import AccessKey, Sandbox
from mpaas_local.mpaas.store import Call
from mpaas_local.server import Server
from mpaas_push.errors import Fault
from project.descriptor import DescribedFunction, DescriptorError, Trigger, described_functions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from typing_extensions import Self

    from mpaas_local.fc.asynchronous import Accept

__all__ = ["Ports", "Stack"]

_logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
ROLE = Credentials()
DEFAULT_TIMEOUT = 3
"""Seconds, where `s.yaml` names no `timeout` (deploy.md: Function properties)."""
DEFAULT_MEMORY = 512
"""MB, where `s.yaml` names no `memorySize` (deploy.md: Function properties)."""
OFF = frozenset({"log", "cdn_events", "tablestore"})
"""Types of triggers whose sources are not on this machine (deploy.md: Triggers)."""
HOLD_SECONDS = 30
"""How long a message stays hidden beyond the timeout of the function that has it."""
LOCAL_DEFAULTS = {"MPAAS_APP_ID": "ONEXLOCAL0000001", "MPAAS_WORKSPACE_ID": "default"}
"""Stand in for what a deployment must be told, where the environment does not."""


@dataclass(frozen=True)
class Ports:
    """Where the stack listens; 0 takes any free port."""

    http: int = 8080
    sandbox: int = 8081
    events: int = 8082
    queues: int = 8083
    inbox: int = 8084


@dataclass
class Stack:
    """The running stack, as a context manager; leaving it stops every process that it started.

    Attributes:
        ports: Where to listen.
        store: Folder of what survives a restart: the sandbox's inbox.
        descriptor: The `s.yaml` of the functions; their code is found beside it.
        on_log: Takes each log line of the functions: function, request id, line.
    """

    ports: Ports = field(default_factory=Ports)
    store: Path = ROOT / ".local"
    on_log: Callable[[str, str, str], None] | None = None
    descriptor: Path = ROOT / "s.yaml"

    def __enter__(self) -> Self:
        """Start everything.

        Raises:
            PortInUse: a port is taken; the text names it.
            DescriptorError: `s.yaml` cannot be read.
            ValueError: a trigger or a setting in it is wrong; the text says which and how.
        """
        self.store.mkdir(parents=True, exist_ok=True)
        self._changes = Changes()
        described_all = described_functions(self.descriptor, LOCAL_DEFAULTS | dict(os.environ))
        for described in described_all:
            _check_ledger(described.props.get("environmentVariables") or {})
        # One event bus serves the functions of one region, as it does in the cloud.
        account = _account_of(described_all[0].props) if described_all else Account()
        self.calls = CallLog(on_log=self.on_log, on_call=self._keep)
        with ExitStack() as opened:
            opened.enter_context(_alone(self.store))
            key = AccessKey(ROLE.access_key_secret, ROLE.security_token)
            self.sandbox = opened.enter_context(
                Sandbox(
                    port=self.ports.sandbox,
                    store=self.store / "inbox.sqlite3",
                    access_keys={ROLE.access_key_id: key},
                    port_option="--sandbox-port",
                )
            )
            keys = {ROLE.access_key_id: key}
            store = MnsStore(self.store / "queues.sqlite3", account_id=account.account_id)
            opened.callback(store.close)
            self.queues = opened.enter_context(MnsServer(store, port=self.ports.queues, access_keys=keys))
            accepts: dict[str, Accept] = {}
            self._sources: dict[tuple[str, str], str] = {}
            self._event_triggers: list[EventTrigger] = []
            self._oss_triggers: list[OssTrigger] = []
            self.hosts = {}
            self.urls = {}
            self.timers = opened.enter_context(Timers())
            callees: dict[str, Callee] = {}
            self._bus = EventBus(self._event_triggers, callees, account)
            deliver = mns_destinations(store, accepts, self._bus.publish)
            events = create_events_app(
                callees,
                event_triggers=self._event_triggers,
                oss_triggers=self._oss_triggers,
                timers=self.timers,
                account=account,
                access_keys=keys,
            )
            self.events_url = opened.enter_context(Server(events, port=self.ports.events)).url
            for described in described_all:
                name = described.resource
                host = self.hosts[name] = opened.enter_context(self._host(described))
                config = AsyncConfig.of(described.props)
                # The API, ARNs and events name a function as it is deployed, people here as in s.yaml.
                deployed = host.function.name
                queue = opened.enter_context(
                    AsyncQueue(deployed, host.invoke, config=config, account=host.account, deliver=deliver)
                )
                callees[name] = callees[deployed] = Callee(host.invoke, queue, host.cancel)
                accepts[deployed] = queue.accept
                for arn in filter(None, (config.on_success, config.on_failure)):
                    self._prepare(arn, deployed)
                for variable in ("PUSH_RETRY_QUEUE", "PUSH_DEAD_LETTER_QUEUE"):
                    if named := host.function.environment.get(variable):
                        self._make("queue", named, variable)
                for trigger in described.triggers:
                    self._attach(trigger, described, queue, deliver, opened)
            ways = _Ways(self, accepts)
            app = create_inbox_app(self.sandbox, self.calls, store, ways, changes=self._changes)
            self.inbox_url = opened.enter_context(Server(app, port=self.ports.inbox)).url
            opened.callback(self._changes.close)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    hosts: dict[str, FunctionHost] = field(init=False)
    """The functions by their name in `s.yaml`."""
    urls: dict[str, str] = field(init=False)
    """Where the functions with an HTTP trigger answer."""
    timers: Timers = field(init=False)
    """The timer triggers; a tick can be fired by hand."""
    events_url: str = field(init=False)
    """Where events, uploads, ticks and invocations are taken."""
    queues: MnsServer = field(init=False)
    """The MNS-compatible server with the queues of the triggers."""
    sandbox: Sandbox = field(init=False)
    calls: CallLog = field(init=False)
    """The newest calls of the functions."""
    inbox_url: str = field(init=False)
    """The page on which every push can be seen."""

    def source_of(self, function: str, trigger: str) -> str:
        """Return the queue or topic that a trigger takes its messages from, by the names of `s.yaml`."""
        return self._sources[function, trigger]

    def _keep(self, call: RecordedCall) -> None:
        """Keep what caused pushes beside them."""
        if ids := call.message_ids:
            self.sandbox.store.caused(Call(call.request_id, call.trigger, call.document()), ids)
        self._changes.tell("calls")

    def _prepare(self, arn: str, function: str) -> None:
        """Make what a destination names, as a deployment would find it there."""
        place = destination_of(arn)
        if place.kind in {"queue", "topic"}:
            self._make(place.kind, place.name, f"{function}.destinationConfig")
        elif place.kind == "other" or (place.kind == "bus" and place.name != self._bus.name):
            _logger.warning("%s: records are lost here: nothing on this machine is %s", function, arn)

    def _make(self, kind: str, name: str, place: str) -> None:
        """Make a queue or a topic, unless it is there, be it with attributes of its own.

        Raises:
            DescriptorError: it cannot have this name.
        """
        store = self.queues.store
        try:
            (store.create_queue if kind == "queue" else store.topics.create)(name)
        except MnsError as error:
            if error.code not in {"QueueAlreadyExist", "TopicAlreadyExist"}:
                fault = Fault(place, f"{name!r}: {error.text}")
                raise DescriptorError(self.descriptor.name, [fault]) from None

    def _attach(
        self,
        trigger: Trigger,
        described: DescribedFunction,
        queue: AsyncQueue,
        deliver: Destinations,
        opened: ExitStack,
    ) -> None:
        """Let a trigger deliver to its function from now on."""
        name, store, source = described.resource, self.queues.store, trigger.source_arn or ""
        if trigger.type == "http":
            gateway = create_gateway(self.hosts[name], accept=queue.accept)
            port = 0 if self.urls else self.ports.http  # a function has a domain of its own; here, a port
            self.urls[name] = opened.enter_context(Server(gateway, port=port)).url
        elif trigger.type == "timer":
            self.timers.add(timer_of(trigger, name), queue.accept)
        elif trigger.type == "oss":
            self._oss_triggers.append(oss_trigger_of(trigger, name, source))
        elif trigger.type == "mns_topic":
            topic = opened.enter_context(
                TopicTrigger(topic_of(trigger, source), queue.accept, account=self.hosts[name].account)
            )
            self._make("topic", topic.config.topic, trigger.name)
            topic.attach(store.topics)
            self._sources[name, trigger.name] = topic.config.topic
        elif trigger.type == "eventbridge" and _is_bus(trigger):
            self._event_triggers.append(event_trigger_of(trigger, name))
        elif trigger.type == "eventbridge":
            self._stream(trigger, described, queue.accept, deliver, opened)
        elif trigger.type in OFF:
            _logger.warning(
                "%s: the trigger %s stays off: nothing on this machine is a source of type %s",
                *(name, trigger.name, trigger.type),
            )
        else:
            reason = f"{trigger.type} is not known here"
            raise DescriptorError(self.descriptor.name, [Fault(trigger.name, reason)])

    def _stream(
        self,
        trigger: Trigger,
        described: DescribedFunction,
        accept: Accept,
        deliver: Destinations,
        opened: ExitStack,
    ) -> None:
        """Let an event stream deliver; those of products that are not on this machine stay off."""
        name, store = described.resource, self.queues.store
        host = self.hosts[name]
        kind = trigger.config["eventSourceConfig"]["eventSourceType"]
        if kind != "MNS" and trigger.config.get("triggerEnable", True) is not False:
            reason = f"only MNS queues run on this machine; {kind} needs triggerEnable: false"
            raise DescriptorError(self.descriptor.name, [Fault(trigger.name, reason)])
        if kind == "DTS":
            return  # no message of it is ever made here
        config = stream_of(trigger, host.function.name)
        if kind != "MNS":
            return
        source = config.origin.parameters["QueueName"]
        self._make("queue", source, trigger.name)
        self._sources[name, trigger.name] = source
        if config.dead_letters:
            place = destination_of(config.dead_letters)
            if place.kind != "queue":
                reason = f"deadLetterQueue: {config.dead_letters}: only MNS queues run on this machine"
                raise DescriptorError(self.descriptor.name, [Fault(trigger.name, reason)])
            self._make("queue", place.name, trigger.name)
        stream = EventStream(
            config,
            MnsSource(store, source),
            invoke=host.invoke,
            accept=accept,
            dead_letters=deliver,
            account=host.account,
            hold_seconds=host.function.timeout + HOLD_SECONDS,
        )
        opened.callback(store.listen(lambda _: stream.wake()))
        opened.enter_context(stream)

    def _host(self, described: DescribedFunction) -> FunctionHost:
        props = described.props
        variables = props.get("environmentVariables") or {}
        function = Function(
            name=props["functionName"],
            folder=described.folder,
            handler=props["handler"],
            runtime=cast("Literal['python3.10', 'python3.12']", props["runtime"]),
            timeout=props.get("timeout") or DEFAULT_TIMEOUT,
            memory=props.get("memorySize") or DEFAULT_MEMORY,
            environment={
                **variables,
                "MPAAS_ENDPOINT": self.sandbox.url,
                "PUSH_MNS_ENDPOINT": self.queues.endpoint,
                "PUSH_FC_ENDPOINT": self.events_url,
            },
            layers=(ROOT / "shared",),
            **_hooks(props),
        )
        options: dict[str, Any] = {"on_log": self.calls.log, "on_call": self.calls.ended}
        if reserved := (props.get("concurrencyConfig") or {}).get("reservedConcurrency"):
            options["limit"] = reserved
        return FunctionHost(function, account=_account_of(props), **options)


def _account_of(props: Mapping[str, Any]) -> Account:
    """Return in whose name, and in which region, a function runs."""
    return Account(region=props["region"], credentials=ROLE)


def _hooks(props: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `instanceLifecycleConfig` says of a function (fc-runtime.md: Lifecycle hooks); empty
    without hooks.
    """
    config = props.get("instanceLifecycleConfig") or {}
    hooks: dict[str, Any] = {}
    for key, hook in (("initializer", "initializer"), ("preStop", "prestop")):
        described = config.get(key) or {}
        if handler := described.get("handler"):
            hooks[hook] = handler
            if seconds := described.get("timeout"):
                hooks[f"{hook}_timeout"] = seconds
    return hooks


@contextmanager
def _alone(store: Path) -> Iterator[None]:
    """Keep a second stack from the same files.

    Raises:
        ValueError: one is running on them.
    """
    with (store / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            text = f"another stack is running on the files in {store}; give this one its own: --store FOLDER"
            raise ValueError(text) from None
        yield


def _check_ledger(variables: Mapping[str, str]) -> None:
    """Refuse a ledger elsewhere: what is tried here would count as sent there.

    Raises:
        ValueError: it is not on this machine.
    """
    host = urlsplit(variables.get("PUSH_LEDGER_URL") or "redis://localhost").hostname or ""
    if not is_own_host(f"[{host}]" if ":" in host else host):
        raise ValueError(
            f"PUSH_LEDGER_URL names {host}: what is tried here would count as sent there."
            " Unset it, or name a Redis on this machine"
        )


def _is_bus(trigger: Trigger) -> bool:
    source = trigger.config.get("eventSourceConfig") or {}
    return bool(source.get("eventSourceType", "Default") == "Default")


@dataclass(frozen=True)
class _Ways:
    """The ways into the stack for the page of the inbox."""

    stack: Stack
    accepts: dict[str, Accept]

    @property
    def http_url(self) -> str:
        return self.stack.urls["http_push"]

    @property
    def sandbox_url(self) -> str:
        return self.stack.sandbox.url

    @property
    def dead_letter_queue(self) -> str:
        return self.stack.hosts["queue_push"].function.environment["PUSH_DEAD_LETTER_QUEUE"]

    def tick(self, payload: str) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        event = {"triggerTime": moment, "triggerName": "by-hand", "payload": payload}
        accept = self.accepts[self.stack.hosts["timer_push"].function.name]
        return accept(json.dumps(event).encode(), size=len(payload.encode()))

    def enqueue(self, body: str) -> str:
        queue = self.stack.source_of("queue_push", "pushes")
        return self.stack.queues.store.send(queue, base64.b64encode(body.encode()).decode()).id
