"""Functions in this process that replace a function host."""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpaas_local.fc.call import Result, new_request_id
from mpaas_local.fc.errors import Throttled

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Call:
    event: bytes
    request_id: str | None
    retry_count: int

    @property
    def json(self) -> Any:
        return json.loads(self.event)


class ScriptedFunction:
    """Records its calls; each one ends as scripted (`ok`, `error`, `throttled`, `broken`), later ones as `then`."""

    def __init__(
        self, *script: str, then: str = "ok", on_call: Callable[[bytes], object] | None = None
    ) -> None:
        self.calls: list[Call] = []
        self._script = deque(script)
        self._then = then
        self._on_call = on_call
        self._changed = threading.Condition()

    def __call__(self, event: bytes, *, request_id: str | None = None, retry_count: int = 0) -> Result:
        if self._on_call:
            self._on_call(event)
        with self._changed:
            self.calls.append(Call(event, request_id, retry_count))
            self._changed.notify_all()
            step = self._script.popleft() if self._script else self._then
        if step == "throttled":
            raise Throttled("f", 1)
        if step == "broken":
            raise OSError("no machine")
        payload, error_type = (b'"done"', None) if step == "ok" else (b"{}", "UnhandledInvocationError")
        return Result(
            payload=payload,
            error_type=error_type,
            request_id=request_id or new_request_id(),
            duration_ms=1.0,
            max_memory_mb=1.0,
            log_tail="",
            cold=False,
        )

    def wait_for(self, calls: int) -> list[Call]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.calls) >= calls, 60), f"{len(self.calls)} calls"
        return self.calls

    @property
    def events(self) -> list[bytes]:
        return [call.event for call in self.calls]
