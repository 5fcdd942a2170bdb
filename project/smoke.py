"""`smoke`: check that the deployed functions work, without sending a push."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mpaas_push.errors import Misconfigured, PushError
from mpaas_push.functions import Functions
from mpaas_push.settings import Settings
from project.descriptor import read_functions
from project.env_file import ACCOUNT_SETTINGS, deployer_key
from project.faults import faults_of
from project.stages import missing_settings, read_settings, stage_file

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from project.function import FunctionProperties

__all__ = ["CHECKS", "SmokeCheck", "add_to", "check_file", "settings_of"]

MESSAGE = {
    "taskName": "smoke",
    "title": "Smoke test",
    "content": "Nobody gets this.",
    "deliveryType": 3,
    "targets": ["nobody"],
    "expiredSeconds": 60,
}


class SmokeCheck(BaseModel):
    """A call of a function that sends no push.

    Attributes:
        what: What the call checks.
        event: The event, as JSON.
        expected: Part of the expected result or error.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    what: str
    event: Any
    expected: str


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


CHECKS = {
    "http_push": (
        SmokeCheck(
            what="settings, AccessKey and ledger",
            event=_http("GET", "/v1/health"),
            expected='\\"status\\": \\"ok\\"',
        ),
        SmokeCheck(
            what="a dry run",
            event=_http("POST", "/v1/pushes", MESSAGE, dryRun="true"),
            expected='"statusCode": 200',
        ),
    ),
    "timer_push": (
        SmokeCheck(
            what="a tick without messages is refused",
            event={
                "triggerTime": "2026-01-01T00:00:00Z",
                "triggerName": "smoke",
                "payload": '{"messages": []}',
            },
            expected="InvalidMessage",
        ),
    ),
    "queue_push": (SmokeCheck(what="an empty batch", event=[], expected='"unsettled": 0'),),
    "event_push": (SmokeCheck(what="the rules, with no events", event=[], expected='"events": 0'),),
    "campaign_push": (
        SmokeCheck(what="an event without campaigns", event={"events": []}, expected='"started": []'),
    ),
}
"""The built-in checks by the name of a function's code folder."""


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = subparsers.add_parser(
        "smoke",
        help="call every deployed function once, harmlessly",
        description="Call the functions of a stage with events that send no push. Account and region come"
        " from the stage's settings. A function with your own code is called with the event in"
        f" {check_file('NAME')}; without that file it is reported as not checked. Exit codes: 0 all work;"
        " 1 at least one does not.",
    )
    command.add_argument("--stage", default="dev", help="stage in the functions' names; default dev")
    command.add_argument(
        "--folder", type=Path, default=Path(), help="the project's folder; by default the current one"
    )
    command.set_defaults(run=_smoke)


def _smoke(options: argparse.Namespace) -> int:
    descriptor = stage_file(options.folder, options.stage)
    env = read_settings(options.folder, options.stage, os.environ)
    names = () if env.get("PUSH_FC_ENDPOINT") else ACCOUNT_SETTINGS
    if missing := list(missing_settings(env, options.stage, names)):
        raise Misconfigured("; ".join(f"{fault.field} {fault.message}" for fault in missing))
    described = read_functions(descriptor, env)
    functions = Functions(settings_of(env), deployer_key(env))
    checks = {code: _checks(options.folder, code) for code in map(_code_folder, described.values())}
    all_passed = True
    for function in described.values():
        name, code = function.function_name, _code_folder(function)
        for check in checks[code]:
            result = _call(functions, name, json.dumps(check.event).encode())
            passed = check.expected in result
            all_passed &= passed
            reason = "" if passed else f": {result[:300]}"
            print(f"{'ok   ' if passed else 'FAULT'} {name}: {check.what}{reason}")
        if not checks[code]:
            print(f"note  {name}: not checked: {check_file(code)} does not exist")
    return 0 if all_passed else 1


def _code_folder(function: FunctionProperties) -> str:
    """Return the name of the folder with the code of a function."""
    return Path(function.code).name


def check_file(code: str) -> Path:
    """Return the smoke-check file of a code folder, relative to the project's folder."""
    return Path("tests", "functions", f"{code}.smoke.json")


def _checks(folder: Path, code: str) -> Sequence[SmokeCheck]:
    """Return the checks of a function: the one in its file, otherwise the built-in ones.

    Raises:
        Misconfigured: the file cannot be read.
    """
    file = check_file(code)
    try:
        return [SmokeCheck.model_validate_json((folder / file).read_bytes())]
    except FileNotFoundError:
        return CHECKS.get(code, ())
    except OSError as error:
        raise Misconfigured(f"{file} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        faults = "; ".join(str(fault) for fault in faults_of(error, ""))
        raise Misconfigured(f"{file} must be an object with what, event and expected: {faults}") from None


def settings_of(env: Mapping[str, str]) -> Settings:
    """Return the settings for calling a stage's functions, with the endpoint of its account and region.

    Raises:
        Misconfigured: a setting is invalid.
    """
    settings = Settings.from_env(env)
    account, region = env.get("ALIBABA_CLOUD_ACCOUNT_ID"), env.get("ALIBABA_CLOUD_REGION_ID")
    if settings.fc_endpoint or not account or not region:
        return settings  # the call reports a missing account or region
    return settings.model_copy(update={"fc_endpoint": f"https://{account}.{region}.fc.aliyuncs.com"})


def _call(functions: Functions, name: str, payload: bytes) -> str:
    try:
        return functions.invoke(name, payload).payload.decode(errors="replace")
    except PushError as error:
        return str(error)
