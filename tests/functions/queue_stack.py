"""A function as deployed, with the sandbox as mPaaS, and MNS with a retry and a dead-letter queue."""

from __future__ import annotations

import base64
import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpaas_local.account import Account
from mpaas_local.fc.function import Function
from mpaas_local.fc.host import FunctionHost
from mpaas_local.mns import MnsServer
from mpaas_local.mpaas import AccessKey, Sandbox
from tests.descriptors import PROJECT
from tests.fork_server import start_forked
from tests.functions.http_stack import ROLE, message

if TYPE_CHECKING:
    from typing_extensions import Self

APP = {"appId": "ONEX1", "workspaceId": "default"}
"""The app of messages that name none, from the stack's settings."""
ROOT = Path(__file__).resolve().parents[2]


def read_letter(body: str) -> Any:
    """Decode the body of a queue message; the SDK encodes it as Base64 by default."""
    return json.loads(base64.b64decode(body))


def to(*targets: str, **changes: Any) -> dict[str, Any]:
    return message(targets=list(targets), **changes)


def environment_of(sandbox: Sandbox, mns: MnsServer) -> dict[str, str]:
    """The environment of a function with one attempt per request, a retry and a dead-letter queue."""
    return {
        "MPAAS_ENDPOINT": sandbox.url,
        "MPAAS_APP_ID": APP["appId"],
        "MPAAS_WORKSPACE_ID": APP["workspaceId"],
        "PUSH_MAX_ATTEMPTS": "1",
        "PUSH_MNS_ENDPOINT": mns.endpoint,
        "PUSH_RETRY_QUEUE": "retry",
        "PUSH_DEAD_LETTER_QUEUE": "dead",
    }


class QueueStack:
    """The queue function, or another one, with the sandbox, a retry and a dead-letter queue."""

    def __init__(
        self,
        function: str = "queue_push",
        *,
        folder: Path | None = None,
        timeout: int = 20,
        **environment: str,
    ) -> None:
        self.timeout = timeout
        self.function = function
        self.folder = folder or PROJECT / "functions" / function
        self.environment = environment

    def __enter__(self) -> Self:
        keys = {ROLE.access_key_id: AccessKey(ROLE.access_key_secret, ROLE.security_token)}
        with ExitStack() as started:
            self.sandbox = started.enter_context(Sandbox(access_keys=keys))
            self.mns = started.enter_context(MnsServer(access_keys=keys))
            for name in ("retry", "dead"):
                self.mns.store.create_queue(name)
            environment = environment_of(self.sandbox, self.mns) | self.environment
            function = Function(
                name=self.function,
                folder=self.folder,
                layers=(ROOT / "shared",),
                environment={name: value for name, value in environment.items() if value},
                timeout=self.timeout,
            )
            self.lines: list[str] = []
            self.host = started.enter_context(
                FunctionHost(
                    function,
                    account=Account(credentials=ROLE),
                    on_log=lambda _, __, line: self.lines.append(line),
                    start=start_forked,
                )
            )
            self._started = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    def deliver(self, *bodies: Any, first: int = 0) -> dict[str, Any]:
        """Deliver a batch as an event stream of an MNS queue does."""
        texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
        event = [
            {"requestId": "r", "messageId": f"M{index}", "messageBody": text}
            for index, text in enumerate(texts, first)
        ]
        return self.invoke(event)

    def invoke(self, event: Any) -> dict[str, Any]:
        """Call the function with an event, as JSON or as bytes."""
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        result: dict[str, Any] = json.loads(self.host.invoke(payload).payload)
        return result

    def bodies(self, queue: str) -> list[Any]:
        """The decoded bodies of the messages in a queue."""
        return [read_letter(message.body) for message in self.mns.store.messages(queue)]

    def clear(self) -> None:
        self.sandbox.clear()
        for name in ("retry", "dead"):
            self.mns.store.delete_queue(name)
            self.mns.store.create_queue(name)

    @property
    def accepted(self) -> list[str]:
        """Targets of accepted requests, including repeated ones."""
        entries = self.sandbox.inbox(outcome="accepted")
        return sorted(target["target"] for entry in entries for target in entry["targets"])
