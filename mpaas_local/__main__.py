"""`python -m mpaas_local`: start the stack, send pushes through it, and keep running (--demo: stop)."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

from mpaas_local.access_keys import LOCAL_ACCESS_KEY_ID, LOCAL_ACCESS_KEY_SECRET
from mpaas_local.database import StoreUnusable
from mpaas_local.demo import run_demo
from mpaas_local.oss.view import VIEW
from mpaas_local.pictures import take_inbox
from mpaas_local.server import NotStarted, PortInUse
from mpaas_local.stack import Ports, Stack
from project.descriptor import DescriptorError


def main() -> int:
    """Run until stopped; returns 0, 1 if a push of the demo failed, or 2 if the stack could not start."""
    options = _options()
    stopped = threading.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda *_: stopped.set())
    ports = Ports(
        http=options.http_port,
        sandbox=options.sandbox_port,
        events=options.events_port,
        queues=options.queues_port,
        inbox=options.inbox_port,
        oss=options.oss_port,
    )
    try:
        on_log = None if options.quiet else _print_log
        async_literal = options.async_literal == "true"
        with Stack(
            ports=ports,
            store=options.store,
            on_log=on_log,
            descriptor=options.descriptor,
            async_literal=async_literal,
        ) as stack:
            print("mpaas-push is running on this machine; nothing leaves it.")
            succeeded = run_demo(stack)
            print(f"\n  inbox           {stack.inbox_url}/   every push, as a phone shows it")
            print(f"  HTTP function   {stack.urls['http_push']}/docs")
            print(f"  mPaaS sandbox   {stack.sandbox.url}/inbox   received requests, as JSON")
            print(f"  queues          {stack.queues.endpoint}/.local/queues   their messages, as JSON")
            print(f"  objects         {stack.oss.endpoint}/{VIEW}/buckets   their list, as JSON")
            print(f"  events          {stack.events_url}/events   POST a CloudEvent")
            for name in stack.timers.names:
                print(f"  timer           {stack.events_url}/ticks/{name}   POST to fire it now")
            print(f"\n  OSS for SDKs    {stack.oss.endpoint}, region {stack.oss.region}, environment:")
            print(f"                  OSS_ACCESS_KEY_ID={LOCAL_ACCESS_KEY_ID}")
            print(f"                  OSS_ACCESS_KEY_SECRET={LOCAL_ACCESS_KEY_SECRET}")
            print(f"\n  call, campaign  export PUSH_HTTP_URL={stack.urls['http_push']}")
            print(f"                  export PUSH_OSS_ENDPOINT={stack.oss.endpoint}")
            print(f"                  export ALIBABA_CLOUD_ACCESS_KEY_ID={LOCAL_ACCESS_KEY_ID}")
            print(f"                  export ALIBABA_CLOUD_ACCESS_KEY_SECRET={LOCAL_ACCESS_KEY_SECRET}")
            if options.picture and take_inbox(stack.inbox_url, options.picture):
                print(f"\n  screenshot of the inbox: {options.picture}")
            if options.demo:
                result = "all outcomes are as expected" if succeeded else "some outcomes are not as expected"
                print(f"\n  {result}")
                return 0 if succeeded else 1
            print("\n  Ctrl-C stops everything.", flush=True)
            stopped.wait()
            print("\n  stopping …")
            # Stopping cuts off running calls; uvicorn would log that as errors.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    except PortInUse as error:
        print(f"cannot start: {error}", file=sys.stderr)
        print(
            "choose other ports: make run ARGS='--http-port 9080 …'; see python -m mpaas_local --help",
            file=sys.stderr,
        )
        return 2
    except (NotStarted, StoreUnusable, DescriptorError, ValueError) as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 2
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mpaas_local", description=__doc__)
    parser.add_argument("--demo", action="store_true", help="exit after the pushes, with code 0 or 1")
    parser.add_argument("--quiet", action="store_true", help="do not print the functions' logs")
    parser.add_argument(
        "--http-port", type=int, default=Ports.http, help="port of the HTTP function; 0: a free one"
    )
    parser.add_argument(
        "--sandbox-port", type=int, default=Ports.sandbox, help="port of the sandbox; 0: a free one"
    )
    parser.add_argument(
        "--events-port",
        type=int,
        default=Ports.events,
        help="port of events, ticks and invocations; 0: a free one",
    )
    parser.add_argument(
        "--queues-port", type=int, default=Ports.queues, help="port of the queues; 0: a free one"
    )
    parser.add_argument(
        "--inbox-port", type=int, default=Ports.inbox, help="port of the inbox; 0: a free one"
    )
    parser.add_argument("--oss-port", type=int, default=Ports.oss, help="port of OSS; 0: a free one")
    parser.add_argument("--picture", type=Path, help="save a screenshot of the inbox here")
    parser.add_argument(
        "--descriptor", type=Path, default=Stack.descriptor, help="an s.yaml or an overlay of one"
    )
    parser.add_argument(
        "--async-literal",
        choices=("true", "false"),
        default="true",
        help="the asyncInvocationType that means asynchronous calls; the documents of FC disagree",
    )
    parser.add_argument(
        "--store", type=Path, default=Stack.store, help="folder for the data that survives a restart"
    )
    return parser.parse_args()


def _print_log(function: str, _: str, line: str) -> None:
    print(f"    {function} | {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
