"""`smoke`: check that the deployed functions work, without sending a push."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mpaas_push.credentials import Credentials
from mpaas_push.errors import Misconfigured, PushError
from mpaas_push.functions import Functions
from mpaas_push.settings import Settings
from project.stages import missing_settings, read_settings, stage_file

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

__all__ = ["add_to", "settings_of"]

MESSAGE = {
    "taskName": "smoke",
    "title": "Smoke test",
    "content": "Nobody gets this.",
    "deliveryType": 3,
    "targets": ["nobody"],
    "expiredSeconds": 60,
}


class SmokeCheck(NamedTuple):
    """A call of a function that sends no push.

    Attributes:
        function: The part of the function's name that identifies it.
        what: What the call checks.
        event: The event.
        expected: Part of the expected result or error.
        may_lack: Not every deployment has the function.
    """

    function: str
    what: str
    event: Any
    expected: str
    may_lack: bool = False


def _http(method: str, path: str, body: Any = None, **query: str) -> dict[str, Any]:
    return {
        "version": "v1",
        "rawPath": path,
        "headers": {"Content-Type": "application/json"},
        "queryParameters": query,
        "body": json.dumps(body) if body else "",
        "isBase64Encoded": False,
        "requestContext": {"http": {"method": method, "path": path, "protocol": "HTTP/1.1"}},
    }


CHECKS = (
    SmokeCheck(
        function="http",
        what="settings, AccessKey and ledger",
        event=_http("GET", "/v1/health"),
        expected='\\"status\\": \\"ok\\"',
    ),
    SmokeCheck(
        function="http",
        what="a dry run",
        event=_http("POST", "/v1/pushes", MESSAGE, dryRun="true"),
        expected='"statusCode": 200',
    ),
    SmokeCheck(
        function="timer",
        what="a tick without messages is refused",
        event={"triggerTime": "2026-01-01T00:00:00Z", "triggerName": "smoke", "payload": '{"messages": []}'},
        expected="InvalidMessage",
    ),
    SmokeCheck(function="queue", what="an empty batch", event=[], expected='"unsettled": 0'),
    SmokeCheck(function="event", what="no events, and the rules", event=[], expected='"events": 0'),
    SmokeCheck(
        function="campaign",
        what="no documents",
        event={"events": []},
        expected='"started": []',
        may_lack=True,
    ),
)


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = subparsers.add_parser(
        "smoke",
        help="call every deployed function once, harmlessly",
        description="Call the functions of a stage with events that send no push. Account and region are"
        " those of its settings. Exit codes: 0 all work; 1 at least one does not.",
    )
    command.add_argument("--stage", default="dev", help="stage in the functions' names; default dev")
    command.add_argument(
        "--folder", type=Path, default=Path(), help="the project's folder; by default this one"
    )
    command.set_defaults(run=_smoke)


def _smoke(options: argparse.Namespace) -> int:
    stage_file(options.folder, options.stage)  # is there one?
    env = read_settings(options.folder, options.stage, os.environ)
    names = () if env.get("PUSH_FC_ENDPOINT") else ("ALIBABA_CLOUD_ACCOUNT_ID", "ALIBABA_CLOUD_REGION_ID")
    if missing := list(missing_settings(env, options.stage, names)):
        raise Misconfigured("; ".join(f"{fault.field} {fault.message}" for fault in missing))
    functions = Functions(settings_of(env), Credentials.resolve(env=env))
    good = True
    for check in CHECKS:
        name = f"mpaas-{check.function}-push-{options.stage}"
        result = _call(functions, name, json.dumps(check.event).encode())
        if check.may_lack and "FunctionNotFound" in result:
            continue
        passed = check.expected in result
        good &= passed
        print(f"{'ok   ' if passed else 'FAULT'} {name}: {check.what}{'' if passed else f': {result[:300]}'}")
    return 0 if good else 1


def settings_of(env: Mapping[str, str]) -> Settings:
    """Return the settings to call a stage's functions with: the address is that of its account and region.

    Raises:
        Misconfigured: a variable holds what it may not.
    """
    settings = Settings.from_env(env)
    account, region = env.get("ALIBABA_CLOUD_ACCOUNT_ID"), env.get("ALIBABA_CLOUD_REGION_ID")
    if settings.fc_endpoint or not account or not region:
        return settings  # without either, the call says what is missing
    return settings.model_copy(update={"fc_endpoint": f"https://{account}.{region}.fc.aliyuncs.com"})


def _call(functions: Functions, name: str, payload: bytes) -> str:
    try:
        return functions.invoke(name, payload).payload.decode(errors="replace")
    except PushError as error:
        return str(error)
