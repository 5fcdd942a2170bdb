"""Calls on behalf of an HTTP client that may leave before it has its answer (fc-runtime.md: Instances)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive

__all__ = ["ClientGone", "unless_gone"]

_T = TypeVar("_T")
_AGAIN_SECONDS = 0.02


class ClientGone(Exception):
    """The client has closed its connection; nobody waits for the answer."""


async def unless_gone(
    receive: Receive,
    call: Callable[[], _T],
    cancel: Callable[[], bool],
    places: anyio.CapacityLimiter,
) -> _T:
    """Return what a blocking call returns; if the client leaves before that, cancel the call.

    Args:
        receive: Of the request, whose body has been read.
        call: Runs on a thread; what it raises is raised here.
        cancel: Makes the call end soon; False if it cannot yet, as nobody serves it so far.
        places: Limits the calls at a time.

    Raises:
        ClientGone: the client has left.
    """
    results: list[_T] = []
    errors: list[Exception] = []
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            while not await anyio.to_thread.run_sync(cancel):  # noqa: ASYNC110  the call is on a thread
                await anyio.sleep(_AGAIN_SECONDS)
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        try:
            results.append(await anyio.to_thread.run_sync(call, limiter=places, abandon_on_cancel=True))
        except Exception as error:  # a group of tasks would wrap it
            errors.append(error)
        tasks.cancel_scope.cancel()
    if errors:
        raise errors[0]
    if not results:
        raise ClientGone
    return results[0]
