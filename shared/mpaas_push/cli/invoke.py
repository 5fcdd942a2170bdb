"""`invoke FUNCTION`: call a deployed function, synchronously or asynchronously."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mpaas_push.cli.call import UNKNOWN
from mpaas_push.cli.inputs import read_input
from mpaas_push.credentials import Credentials
from mpaas_push.errors import Misconfigured
from mpaas_push.functions import FunctionFailed, Functions, InvocationUnknown
from mpaas_push.settings import Settings

if TYPE_CHECKING:
    import argparse

__all__ = ["add_to"]


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = subparsers.add_parser(
        "invoke",
        help="call a deployed function",
        description="Call a function and print its result. The endpoint is PUSH_FC_ENDPOINT, or derived from"
        " ALIBABA_CLOUD_ACCOUNT_ID and ALIBABA_CLOUD_REGION_ID. Exit codes: 0 it succeeded; 1 it failed or"
        " was not called; 4 no response: it may have been called.",
    )
    command.add_argument("function", metavar="FUNCTION", help="name of the function, or fc2:service/function")
    command.add_argument("--payload", required=True, metavar="FILE", help="the event; - for standard input")
    command.add_argument("--async", dest="later", action="store_true", help="do not wait for the result")
    command.add_argument("--task-id", metavar="ID", help="with --async: the task's id, accepted only once")
    command.set_defaults(run=_invoke)


def _invoke(options: argparse.Namespace) -> int:
    if options.task_id and not options.later:
        raise Misconfigured("--task-id requires --async")
    functions = Functions(Settings.from_env(), Credentials.resolve())
    payload = read_input(options.payload)
    try:
        if options.later:
            invoked = functions.invoke_later(options.function, payload, task_id=options.task_id)
        else:
            invoked = functions.invoke(options.function, payload)
    except InvocationUnknown as error:
        print(f"error: {error}", file=sys.stderr)
        return UNKNOWN
    except FunctionFailed as error:
        sys.stdout.write(error.payload.decode(errors="replace") + "\n")
        raise
    sys.stdout.write(invoked.payload.decode(errors="replace") + ("\n" if invoked.payload else ""))
    print(f"request {invoked.request_id}{' accepted' if options.later else ''}", file=sys.stderr)
    return 0
