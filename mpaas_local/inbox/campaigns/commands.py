"""The operator's own commands, `python -m mpaas_push campaign …`, run for the page: they read
whole audiences and join results.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mpaas_push
from mpaas_local.access_keys import LOCAL_ACCESS_KEY_ID, LOCAL_ACCESS_KEY_SECRET
from mpaas_local.mpaas.store import dump_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import Request

    from mpaas_local.inbox.routes import Entrypoints

__all__ = ["CommandFailed", "Commands"]

CHUNK_BYTES = 64 << 10
LOOK_SECONDS = 0.5
"""Between two looks whether the browser still waits."""


class CommandFailed(Exception):
    """A command ended with an error after part of its output; the text is its own."""


class Commands:
    """Runs commands against the stack, with the local access key."""

    def __init__(self, entrypoints: Entrypoints) -> None:
        self._entrypoints = entrypoints

    async def check(self, document: dict[str, Any], request: Request) -> dict[str, Any]:
        """Run `check` on a campaign whose audience is in OSS, and return a `Checked`.

        The command ends with the request: a browser that leaves stops it.
        """
        async with self._running("check", "-") as process:
            ended = asyncio.ensure_future(process.communicate(dump_json(document)))
            while not ended.done() and not await request.is_disconnected():
                await asyncio.wait([ended], timeout=LOOK_SECONDS)
            if not ended.done():
                ended.cancel()
                return {"passed": False, "lines": [], "error": "the browser has left"}
            output, errors = ended.result()
        return {
            "passed": process.returncode == 0,
            "lines": output.decode(errors="replace").splitlines(),
            "error": _error(errors) if process.returncode else None,
        }

    async def report(self, campaign_id: str) -> AsyncIterator[bytes]:
        """Return the CSV of `report`, chunk by chunk, once the first chunk is there.

        Raises:
            CommandFailed: it is incomplete; of a long one, in the middle of the chunks.
        """
        chunks = self._report(campaign_id)
        first = await anext(chunks)

        async def all_chunks() -> AsyncIterator[bytes]:
            yield first
            async for chunk in chunks:
                yield chunk

        return all_chunks()

    async def _report(self, campaign_id: str) -> AsyncIterator[bytes]:
        """Yield the chunks, each once it is known that it is not the last one or that all went well."""
        async with self._running("report", campaign_id) as process:
            last = b""
            while process.stdout and (chunk := await process.stdout.read(CHUNK_BYTES)):
                if last:
                    yield last
                last = chunk
            _, errors = await process.communicate()
            if process.returncode:
                raise CommandFailed(_error(errors))
            yield last

    @asynccontextmanager
    async def _running(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start a command; it has ended, or is killed, when the block ends."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mpaas_push", "campaign", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment(),
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _environment(self) -> dict[str, str]:
        """Return the variables of the HTTP function, with the stack's addresses and the local access key."""
        return {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(Path(mpaas_push.__file__).parents[1]),
            "PYTHONUTF8": "1",
            **self._entrypoints.variables,
            "PUSH_HTTP_URL": self._entrypoints.http_url,
            "ALIBABA_CLOUD_REGION_ID": self._entrypoints.region,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": LOCAL_ACCESS_KEY_ID,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": LOCAL_ACCESS_KEY_SECRET,
        }


def _error(text: bytes) -> str:
    return text.decode(errors="replace").strip().removeprefix("error: ")
