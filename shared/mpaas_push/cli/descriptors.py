"""What can be told of s.yaml, its overlays and template.yml without the cloud and without its schemas.

Texts such as `${env('X')}` are left as they are: only what stands in the file is judged.
"""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import yaml

from mpaas_push.errors import Misconfigured, PushError
from mpaas_push.json_text import read_json
from mpaas_push.settings import Settings
from mpaas_push.triggers.timer import Tick, tasks_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "BadDescriptor",
    "check_function",
    "check_stack",
    "functions_of",
    "read_yaml",
    "timer_messages",
]

TRIGGERS = ("http", "timer", "mns_topic", "oss", "eventbridge")
CRON_FIELDS = 6
_CRON = re.compile(r"(CRON_TZ=\S+ )?(?P<fields>.*)")
_OTHER_VARIABLES = {"MPAAS_AK_ENV", "MPAAS_SK_ENV"}


class BadDescriptor(PushError):
    """A descriptor holds what cannot be deployed, or would not work; the text names every place."""


def read_yaml(path: Path) -> Any:
    """Read a file of YAML.

    Raises:
        Misconfigured: it cannot be read.
    """
    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Misconfigured(f"{path.name} cannot be read: {' '.join(str(error).split())}") from None


def functions_of(document: Any) -> dict[str, dict[str, Any]]:
    """Return the properties of the functions of an `s.yaml` by their names there, templates merged in."""
    if not isinstance(document, dict):
        return {}
    templates = document.get("template") or {}
    found = {}
    for name, described in (document.get("resources") or {}).items():
        if isinstance(described, dict):
            base = templates.get((described.get("extend") or {}).get("name")) or {}
            found[str(name)] = _merged(base, described.get("props") or {})
    return found


def check_function(props: dict[str, Any], folder: Path, *, overlay: bool) -> str:
    """Check one function of an `s.yaml` and say what it has.

    Args:
        props: Its properties.
        folder: Where the file lies.
        overlay: Whether the file only changes some of what another one says.

    Raises:
        BadDescriptor: something in it is wrong.
    """
    faults = [*_environment_faults(props.get("environmentVariables") or {})]
    code, handler = props.get("code"), str(props.get("handler", ""))
    if isinstance(code, str) and not (folder / code / f"{handler.partition('.')[0]}.py").is_file():
        faults.append(f"code: there is no {code}/{handler.partition('.')[0]}.py for the handler {handler}")
    faults += [
        f"{key} is missing" for key in ("functionName", "handler", "code") if not overlay and key not in props
    ]
    triggers = props.get("triggers") or []
    for trigger in triggers:
        faults += [f"trigger {trigger.get('triggerName')}: {fault}" for fault in _trigger_faults(trigger)]
    if faults:
        raise BadDescriptor("; ".join(faults))
    return f"{len(triggers)} trigger{'' if len(triggers) == 1 else 's'}"


def timer_messages(trigger: dict[str, Any], settings: Settings) -> int:
    """Read the payload of a timer trigger as `timer_push` does and return how many messages it holds.

    Raises:
        UnreadableJson: it is not JSON.
        InvalidMessage: a message in it may not be sent.
    """
    payload = read_json(str((trigger.get("triggerConfig") or {}).get("payload") or ""))
    return len(tasks_of(Tick(str(trigger.get("triggerName")), "", payload), settings))


def check_stack(document: Any, functions: dict[str, dict[str, Any]]) -> str:
    """Check a ROS template against itself and against the functions of `s.yaml`.

    Raises:
        BadDescriptor: something in it is wrong.
    """
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise BadDescriptor("Resources must be a map")
    resources, parameters = document["Resources"], document.get("Parameters") or {}
    known = {*resources, *parameters}
    faults = [
        f"{place}: {name} is neither a parameter nor a resource"
        for place, name in _references(document, "")
        if name not in known and not name.startswith("ALIYUN::")
    ]
    described = [
        each.get("Properties") or {}
        for each in resources.values()
        if isinstance(each, dict) and each.get("Type") == "ALIYUN::FC3::Function"
    ]
    theirs = sorted(_plain(each.get("FunctionName")) for each in described)
    ours = sorted(_plain(props.get("functionName")) for props in functions.values())
    if functions and theirs != ours:
        faults.append(f"its functions are {', '.join(theirs)}; those of s.yaml are {', '.join(ours)}")
    if faults:
        raise BadDescriptor("; ".join(faults))
    return f"{len(described)} functions, {len(resources)} resources"


def _merged(base: Any, over: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return base | {key: _merged(base.get(key), value) for key, value in over.items()}


def _environment_faults(variables: dict[str, Any]) -> Iterator[str]:
    known = Settings.variables().keys() | _OTHER_VARIABLES
    for name in variables:
        if name.startswith(("PUSH_", "MPAAS_")) and name not in known:
            near = get_close_matches(name, known, 1)
            yield f"environmentVariables: {name} is no setting{f'; did you mean {near[0]}?' if near else ''}"
    written = {name: str(value) for name, value in variables.items() if "${" not in str(value)}
    try:
        Settings.from_env(written)
    except Misconfigured as error:
        yield f"environmentVariables: {error}"


def _trigger_faults(trigger: Any) -> Iterator[str]:
    kind, config = trigger.get("triggerType"), trigger.get("triggerConfig") or {}
    if kind not in TRIGGERS:
        yield f"triggerType is {kind}; the functions serve {', '.join(TRIGGERS)}"
    elif kind == "http" and config.get("authType") not in {"function", "jwt"}:
        yield "authType must be function or jwt: anonymous lets everybody push"
    elif kind == "timer":
        expression = str(config.get("cronExpression", ""))
        fields = _CRON.fullmatch(expression)
        if not expression.startswith("@every ") and (
            fields is None or len(fields["fields"].split()) != CRON_FIELDS
        ):
            yield "cronExpression must have six fields, seconds first, or be @every …"
    elif kind == "eventbridge":
        try:
            json.loads(config.get("eventRuleFilterPattern", ""))
        except (TypeError, ValueError):
            yield "eventRuleFilterPattern must be the text of a JSON object"


def _references(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield every name that `Ref`, `Fn::GetAtt` and `Fn::Sub` speak of, with its place."""
    if isinstance(value, list):
        for each in value:
            yield from _references(each, place)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key == "Ref":
                yield place, str(each)
            elif key == "Fn::GetAtt" and isinstance(each, list) and each:
                yield place, str(each[0])
            elif key == "Fn::Sub" and isinstance(each, str):
                yield from ((place, name) for name in re.findall(r"\$\{([^}]+)\}", each))
            else:
                yield from _references(each, f"{place}.{key}".lstrip("."))


def _plain(name: Any) -> str:
    """Return a function's name with the stage left out, whichever way a descriptor writes it."""
    text = name.get("Fn::Sub", "") if isinstance(name, dict) else str(name)
    return re.sub(r"-\$\{[^}]*\}$", "", text)
