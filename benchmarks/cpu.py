"""CPU of one push, of checking a message, and of a complete HTTP request."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks import senders
from benchmarks.measure import measured
from benchmarks.report import Table, verdict
from benchmarks.server import serving
from mpaas_push import PushMessage
from mpaas_push.log import function_log
from tests.mpaas_push.message.examples import as_texts, clock, everything

ROOT = Path(__file__).resolve().parent.parent
CALLS, ROUNDS = 200, 25
OURS, READ = "mpaas-push, `send` of a checked message", "`send`, with reading and checking it"
OFFICIAL = "warm `AcsClient.do_action_with_exception`"
LOGGED = "`send` of a checked message, with a function's JSON log (the official client writes none)"
MAX_RATIO = {OURS: 0.28, READ: 0.40, LOGGED: 0.36}
"""Maximum CPU of each, relative to the official client's."""


def push_cpu() -> Table:
    """Compare CPU of one warm push, no latency."""
    with serving() as port, senders.our_client(port) as client:
        message = PushMessage.parse(senders.MESSAGE)
        log = logging.getLogger("mpaas_push.round")
        discard_logs()

        def send(*, logged: bool = False) -> None:
            log.disabled = not logged
            if not client.send(message, invocation=senders.INVOCATION)[0].accepted:
                raise RuntimeError

        def parse_and_send() -> None:
            log.disabled = True
            client.send(PushMessage.parse(senders.MESSAGE), invocation=senders.INVOCATION)

        times = measured(
            {
                OFFICIAL: senders.warm_official(port),
                OURS: send,
                READ: parse_and_send,
                LOGGED: lambda: send(logged=True),
            },
            calls=CALLS,
            rounds=ROUNDS,
            clock=time.process_time,
        )
        log.disabled = False
    official, *ours = times
    rows = [[official, f"{times[official].median * 1e6:.0f}", "1", ""]]
    for name in ours:
        ratio = times[name].over(times[official])
        judgement = verdict(ratio, most=MAX_RATIO[name])
        rows.append([name, f"{times[name].median * 1e6:.0f}", f"{ratio:.2f}", judgement])
    return Table(
        "CPU of one push, warm, no latency",
        f"Process time of all threads over {CALLS} pushes one after the other, median of {ROUNDS} "
        "interleaved rounds; the server is another process.",
        ["sender", "µs", "ratio", "target"],
        rows,
    )


def own_work() -> Table:
    """Measure checking a message with all parameters, and what the HTTP function adds to a push."""
    objects = everything()
    texts = as_texts(objects)
    defaults = {"appId": "ONEX1", "workspaceId": "default"}
    checking = measured(
        {
            "objects": lambda: PushMessage.parse(objects, clock=clock, defaults=defaults),
            "texts": lambda: PushMessage.parse(texts, clock=clock, defaults=defaults),
        },
        calls=1000,
        rounds=ROUNDS,
        clock=time.process_time,
    )
    rows = [
        [
            f"checking a message with every parameter, JSON as {kind}",
            f"{times.median * 1e6:.0f}",
            verdict(times.median * 1e6, most=60),
        ]
        for kind, times in checking.items()
    ]
    handled = _handler_work() * 1e6
    rows.append(
        ["`http_push` per request, without the push itself", f"{handled:.0f}", verdict(handled, most=500)]
    )
    return Table(
        "Our own work",
        f"Process time, median of {ROUNDS} rounds. The last row is a complete call of the handler with its"
        " log, minus `send` of the same message in the same round.",
        ["what", "µs", "target"],
        rows,
    )


def _handler_work() -> float:
    with serving() as port, senders.our_client(port) as client:
        os.environ |= {
            "MPAAS_ENDPOINT": f"http://127.0.0.1:{port}",
            "MPAAS_AK_ENV": senders.KEY,
            "MPAAS_SK_ENV": senders.SECRET,
        }
        sys.path.insert(0, str(ROOT / "functions" / "http_push"))
        import index  # type: ignore[import-not-found]  # the function, as deployed

        discard_logs()
        context = SimpleNamespace(request_id="1-0", function=SimpleNamespace(timeout="60"))
        event = http_event(senders.MESSAGE)
        if json.loads(index.handler(event, context))["statusCode"] != 200:
            raise RuntimeError
        message = PushMessage.parse(senders.MESSAGE)
        times = measured(
            {
                "handler": lambda: index.handler(event, context),
                "send": lambda: client.send(message, invocation=senders.INVOCATION),
            },
            calls=CALLS,
            rounds=ROUNDS,
            clock=time.process_time,
        )
    return times["handler"].minus(times["send"])


def discard_logs() -> None:
    """Log as a function does, but discard the lines: writing them to a terminal is not measured."""
    function_log()
    for handler in logging.getLogger("mpaas_push").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(NullStream())


class NullStream(io.TextIOBase):
    """A stream that discards all text, at the cost of one call."""

    def write(self, text: str) -> int:
        """Discard a text."""
        return len(text)


def http_event(body: Any) -> bytes:
    """Return the event of an HTTP trigger."""
    http = {"method": "POST", "path": "/v1/pushes", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"}
    return json.dumps(
        {
            "version": "v1",
            "rawPath": "/v1/pushes",
            "headers": {"Content-Type": "application/json", "User-Agent": "benchmark"},
            "queryParameters": {},
            "body": json.dumps(body),
            "isBase64Encoded": False,
            "requestContext": {"requestId": "1-0", "domainName": "localhost", "http": http},
        }
    ).encode()
