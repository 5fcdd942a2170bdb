"""Calls for an HTTP client that may disconnect before the response (fc-runtime.md: Instances)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive

__all__ = ["ClientDisconnected", "call_unless_disconnected"]

_T = TypeVar("_T")
_RETRY_SECONDS = 0.02


class ClientDisconnected(Exception):
    """The client has closed its connection."""


async def call_unless_disconnected(
    receive: Receive,
    call: Callable[[], _T],
    cancel: Callable[[], bool],
    limiter: anyio.CapacityLimiter,
) -> _T:
    """Return the result of a blocking call; if the client disconnects first, cancel the call.

    Args:
        receive: Of the request, whose body must have been read.
        call: Runs on a thread; its exceptions are raised here.
        cancel: Ends the call soon; False if no instance serves it yet.
        limiter: Limits the concurrent calls.

    Raises:
        ClientDisconnected: the client has disconnected.
    """
    results: list[_T] = []
    errors: list[Exception] = []
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            while not await anyio.to_thread.run_sync(cancel):  # noqa: ASYNC110 - the call is on a thread
                await anyio.sleep(_RETRY_SECONDS)
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        try:
            results.append(await anyio.to_thread.run_sync(call, limiter=limiter, abandon_on_cancel=True))
        except Exception as error:  # a task group would wrap it
            errors.append(error)
        tasks.cancel_scope.cancel()
    if errors:
        raise errors[0]
    if not results:
        raise ClientDisconnected
    return results[0]
