"""Runs the operator's commands, `python -m mpaas_push campaign …`, for the page: they read complete
audiences and combine results.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpaas_local.access_keys import LOCAL_ACCESS_KEY_ID, LOCAL_ACCESS_KEY_SECRET
from mpaas_local.mpaas.store import dump_json
from mpaas_push import __file__ as layer_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mpaas_local.inbox.routes import Entrypoints

__all__ = ["CommandFailed", "Commands"]

CHUNK_BYTES = 64 << 10
PROGRESS_SECONDS = 0.3
"""Between two progress messages."""


class CommandFailed(Exception):
    """A command ended with an error after part of its output; the text is the command's."""


class Commands:
    """Runs commands against the stack, with the local access key."""

    def __init__(self, entrypoints: Entrypoints) -> None:
        self._entrypoints = entrypoints

    async def check(self, document: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Run `check` on a campaign whose audience is in OSS; yield a `CheckStep` at each progress message.

        The last one has the result. The command ends with the iteration: a disconnected browser stops it.
        """
        yield {"share": 0.0}
        async with self._running("check", "-", "--progress", str(PROGRESS_SECONDS)) as process:
            # Exchanged concurrently: a full pipe would block either side otherwise.
            output = asyncio.ensure_future(_exchange(process, dump_json(document)))
            errors = b""
            while process.stderr and (line := await process.stderr.readline()):
                if progress := re.fullmatch(rb"reading: (\d+)%\s*", line):
                    yield {"share": int(progress[1]) / 100}
                else:
                    errors += line
            lines = (await output).decode(errors="replace").splitlines()
            passed = await process.wait() == 0
        error = None if passed else _error(errors)
        yield {"share": 1.0, "passed": passed, "lines": lines, "error": error}

    async def report(self, campaign_id: str) -> AsyncIterator[bytes]:
        """Return the CSV of `report`, chunk by chunk, once the first chunk is there.

        Raises:
            CommandFailed: the report is incomplete; raised between the chunks of a long report.
        """
        chunks = self._report(campaign_id)
        first = await anext(chunks)

        async def with_first() -> AsyncIterator[bytes]:
            yield first
            async for chunk in chunks:
                yield chunk

        return with_first()

    async def _report(self, campaign_id: str) -> AsyncIterator[bytes]:
        """Yield the chunks; the last one only after the command has succeeded."""
        async with self._running("report", campaign_id) as process:
            pending = b""
            while process.stdout and (chunk := await process.stdout.read(CHUNK_BYTES)):
                if pending:
                    yield pending
                pending = chunk
            _, errors = await process.communicate()
            if process.returncode:
                raise CommandFailed(_error(errors))
            yield pending

    @asynccontextmanager
    async def _running(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start a command; it is killed at the end of the block if it still runs."""
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
            "PYTHONPATH": str(Path(layer_file).parents[1]),
            "PYTHONUTF8": "1",
            **self._entrypoints.variables,
            "PUSH_HTTP_URL": self._entrypoints.http_url,
            "ALIBABA_CLOUD_REGION_ID": self._entrypoints.region,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": LOCAL_ACCESS_KEY_ID,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": LOCAL_ACCESS_KEY_SECRET,
        }


async def _exchange(process: asyncio.subprocess.Process, text: bytes) -> bytes:
    """Write the standard input of a command and return its output."""
    if process.stdin is None or process.stdout is None:
        raise TypeError("the command has no pipes")
    with suppress(ConnectionError):  # the command has ended already; its exit code gives the reason
        process.stdin.write(text)
        await process.stdin.drain()
    process.stdin.close()
    return await process.stdout.read()


def _error(text: bytes) -> str:
    return text.decode(errors="replace").strip().removeprefix("error: ")
