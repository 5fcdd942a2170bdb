"""`validate`: everything of a project that can be checked offline, as the functions themselves check it."""

from __future__ import annotations

import ast
import os
import re
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mpaas_push.cli.inputs import read_input, rules_files, settings_or_stand_ins
from mpaas_push.errors import Fault, InvalidMessage, Misconfigured, PushError
from mpaas_push.event_rules import BadRules, read_rules
from mpaas_push.json_text import read_json
from mpaas_push.message.reading import messages_of
from mpaas_push.settings import Settings
from mpaas_push.triggers.timer import Tick, tasks_of
from project.descriptor import (
    DescribedFunction,
    Descriptor,
    DescriptorError,
    described_functions,
    descriptor_files,
)
from project.env_file import env_faults, read_env, settings_faults
from project.policies import deployer_faults, function_faults, trust_faults, unreached_faults
from project.resources import DeployedFunction, Frame, faults_of
from project.stack import Stack
from project.wiring import wiring_faults

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["add_to"]

_OTHER_VARIABLES = {"MPAAS_AK_ENV", "MPAAS_SK_ENV"}
_KEYS = re.compile("ACCESS_KEY|SECRET|PASSWORD|TOKEN", re.IGNORECASE)
_KEY_VALUES = re.compile(r"LTAI\w{8,}|rediss?://[^/@]*:[^/@]+@")
"""An AccessKey id, and a URL with a password."""


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = subparsers.add_parser(
        "validate",
        help="check settings, descriptors, policies, timer payloads, rules and messages, offline",
        description="Check the settings of the environment and of .env, s.yaml and its overlays with every"
        " timer payload, template.yml against itself and s.yaml, deploy/policies/*.json, every"
        " functions/*/rules.yaml, and the messages of files. Exit codes: 0 all is well; 1 a fault was found.",
    )
    command.add_argument("messages", nargs="*", metavar="FILE", help="files of messages to check as well")
    command.add_argument(
        "--folder", type=Path, default=Path(), help="the project's folder; by default this one"
    )
    command.set_defaults(run=_validate)


def _validate(options: argparse.Namespace) -> int:
    checks = dict(_checks(options.folder, options.messages))
    faults: list[str] = []
    of_the_base: list[Fault] = []  # which overlays inherit and need not be told again
    for file, check in checks.items():
        told = ""
        found: list[Fault]
        try:
            told, found = check()
        except (BadRules, InvalidMessage, DescriptorError) as error:
            found = list(error.faults)
        except PushError as error:
            found = [Fault("", str(error).removeprefix(f"{file} "))]
        if file == "s.yaml":
            of_the_base = found
        elif re.fullmatch(r"s\..+\.yaml", file):
            found = [fault for fault in found if fault not in of_the_base]
        faults += (lines := [f"FAULT {file}: {fault}" for fault in dict.fromkeys(found)])
        print("\n".join(lines) or f"ok    {file}: {told or 'nothing that s.yaml does not say'}")
    if any("; in s.yaml it is " in line for line in faults):
        print("note: template.yml is to describe what s.yaml does; delete it if nobody deploys by it")
    print(f"{len(checks)} checked, {len(faults) or 'no'} fault{'' if len(faults) == 1 else 's'}")
    return 1 if faults else 0


_Checked = tuple[str, list[Fault]]
"""What was there, and what is wrong with it."""


def _checks(folder: Path, messages: list[str]) -> Iterator[tuple[str, Callable[[], _Checked]]]:
    """Yield what there is to check, by file.

    Raises:
        Misconfigured: there is nothing.
    """
    files, rules = descriptor_files(folder), rules_files(folder)
    if not files and not rules and not messages:
        raise Misconfigured(f"there is neither s.yaml nor functions/*/rules.yaml in {folder.resolve()}")
    env = read_env(folder / ".env") | dict(os.environ)
    env.pop("STAGE", None)  # each descriptor is of a stage of its own
    settings = _settings(env)
    yield "environment", _environment
    if (folder / ".env").is_file():
        yield ".env", partial(_env_file, folder)
    for path in files:
        yield path.name, partial(_descriptor, path, env, settings)
    if (folder / "template.yml").is_file():
        yield "template.yml", partial(_stack, folder)
    for path in sorted((folder / "deploy" / "policies").glob("*.json")):
        yield str(path.relative_to(folder)), partial(_policy, folder, path)
    for path in rules:
        yield str(path.relative_to(folder)), partial(_rules, path, settings)
    for file in messages:
        yield file, partial(_messages, file, settings)


def _settings(env: Mapping[str, str]) -> Settings:
    """Return settings to check messages with; what is wrong in them is told on its own."""
    try:
        return settings_or_stand_ins(env)
    except Misconfigured:
        return settings_or_stand_ins({})


def _environment() -> _Checked:
    return "the settings of this shell", list(settings_faults(dict(os.environ)))


def _env_file(folder: Path) -> _Checked:
    texts = [path.read_text("utf-8") for path in descriptor_files(folder)]
    known = {name for text in texts for name in re.findall(r"""env\(\s*['"]([^'"]+)""", text)}
    return f"{len(read_env(folder / '.env'))} settings", list(env_faults(folder / ".env", known))


# --- s.yaml


def _descriptor(path: Path, env: Mapping[str, str], settings: Settings) -> _Checked:
    descriptor = _framed(path)
    found: list[Fault] = []
    functions: dict[str, dict[str, Any]] = {}
    messages = triggers = 0
    others = _names_elsewhere(path, env)
    for resource in descriptor.document["resources"]:
        try:
            props = _checked_props(descriptor, resource, env)
        except DescriptorError as error:
            found += error.faults
            continue
        functions[resource] = props
        triggers += len(_triggers(props))
        for fault in (*_beyond_the_model(props, path.parent), *_written_keys(descriptor, resource)):
            placed = Fault(f"resources.{resource}.props.{fault.field}", fault.message)
            found.append(_at_its_template(placed, descriptor, resource))
        if (name := props["functionName"]) in others:
            place = f"resources.{resource}.props.functionName"
            found.append(Fault(place, f"{name} is also that of {others[name]}"))
        others[name] = f"resources.{resource}"
        number, faults = _timer_messages(props, f"resources.{resource}.props.triggers", settings)
        messages += number
        found += faults
    if functions.keys() == descriptor.document["resources"].keys():  # what is wrong in one is told first
        for fault in wiring_faults(functions, _other_stages(descriptor, path, env)):
            found.append(_at_its_template(fault, descriptor, fault.field.split(".")[1]))
    counted = [_counted(len(descriptor.document["resources"]), "function"), _counted(triggers, "trigger")]
    return f"{', '.join(counted)}, {_counted(messages, 'message')} of timers", found


def _framed(path: Path) -> Descriptor:
    """Read a descriptor of which the frame is right.

    Raises:
        DescriptorError: it cannot be read, or is not a frame with functions.
    """
    descriptor = Descriptor(path)
    try:
        Frame.model_validate(descriptor.document)
    except ValidationError as error:
        raise DescriptorError(path.name, list(faults_of(error, ""))) from None
    return descriptor


def _other_stages(descriptor: Descriptor, path: Path, env: Mapping[str, str]) -> set[str]:
    """Return the stages of the other descriptors, as far as they can be read."""
    found = set()
    for other in descriptor_files(path.parent):
        with suppress(DescriptorError):
            found.add(_framed(other).stage(env))
    return found - {descriptor.stage(env), ""}


def _checked_props(descriptor: Descriptor, resource: str, env: Mapping[str, str]) -> dict[str, Any]:
    """Return the properties of a function.

    Raises:
        DescriptorError: they cannot be resolved, or are not what a function has.
    """
    props = descriptor.props(resource, env)
    try:
        DeployedFunction.model_validate(props)
    except ValidationError as error:
        names = [str(each.get("triggerName")) for each in _triggers(props)]
        faults = faults_of(error, f"resources.{resource}.props", names)
        placed = [_at_its_template(fault, descriptor, resource) for fault in faults]
        raise DescriptorError(descriptor.file, placed) from None
    return props


def _triggers(props: Mapping[str, Any]) -> list[dict[str, Any]]:
    written = props.get("triggers")
    return [each for each in written if isinstance(each, dict)] if isinstance(written, list) else []


def _names_elsewhere(path: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Return which functions the other descriptors of the project deploy: two files may not share one."""
    found: dict[str, str] = {}
    for other in descriptor_files(path.parent):
        if other.name >= path.name:
            continue  # of two files that share a name, one is told
        try:
            document = _framed(other)
            for resource in document.document["resources"]:
                found[_checked_props(document, resource, env)["functionName"]] = other.name
        except DescriptorError:
            continue  # told where that file is checked
    return found


def _at_its_template(fault: Fault, descriptor: Descriptor, resource: str) -> Fault:
    """Name the template for what a function has from there, so that it is told once and where it stands."""
    described = descriptor.document["resources"][resource]
    _, _, _, *steps = fault.field.split(".")
    own: Any = described.get("props")
    for step in steps:
        if not isinstance(own, dict) or step not in own:
            break
        own = own[step]
    else:
        return fault
    template = (described.get("extend") or {}).get("name")
    inherited: Any = (descriptor.document.get("template") or {}).get(template)
    if not isinstance(inherited, dict) or steps[0] not in inherited:
        return fault
    return Fault(".".join(["template", str(template), *steps]), fault.message)


def _beyond_the_model(props: Mapping[str, Any], folder: Path) -> Iterator[Fault]:
    """Find what only the functions' own settings and the files beside the descriptor can tell."""
    code, (module, _, name) = props["code"], props["handler"].rpartition(".")
    if f"{module}.py" not in _files(folder / code):
        yield Fault("code", f"there is no {code}/{module}.py for the handler {props['handler']}")
    elif lack := _lacks(folder / code / f"{module}.py", name):
        yield Fault("handler", f"{code}/{module}.py {lack}")
    for fault in _variable_faults(props.get("environmentVariables") or {}):
        yield Fault(f"environmentVariables.{fault.field}", fault.message)
    names = [each["triggerName"] for each in _triggers(props)]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Fault("triggers", f"two are called {name}")


def _files(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except (OSError, ValueError):
        return set()


def _lacks(module: Path, name: str) -> str:
    """Say why a module cannot give a handler, without running it; empty where it can."""
    try:
        nodes = list(ast.walk(ast.parse(module.read_bytes())))
    except SyntaxError as error:
        return f"is no Python: line {error.lineno}: {error.msg}"
    except (OSError, ValueError) as error:
        return f"cannot be read: {error}"
    imported = {
        alias.asname or alias.name for each in nodes if isinstance(each, _IMPORTS) for alias in each.names
    }
    defined = {each.name for each in nodes if isinstance(each, _DEFINITIONS)}
    assigned = {each.id for each in nodes if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    return "" if {name, "*"} & (imported | defined | assigned) else f"has no {name}"


_IMPORTS = (ast.Import, ast.ImportFrom)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _written_keys(descriptor: Descriptor, resource: str) -> Iterator[Fault]:
    """Find keys and passwords that stand in the file; what the environment or `.env` fills in does not."""
    try:
        written = descriptor.props(resource, {})
    except DescriptorError:
        return  # an expression that has no value of its own
    for name, value in (written.get("environmentVariables") or {}).items():
        if _KEY_VALUES.match(str(value)):
            yield Fault(
                f"environmentVariables.{name}", "holds a key or a password: write ${env('…')} instead"
            )


def _variable_faults(variables: Mapping[str, str]) -> Iterator[Fault]:
    known = Settings.variables().keys() | _OTHER_VARIABLES
    for name in variables:
        near = get_close_matches(name, known, 1)
        if _KEYS.search(name) and name not in _OTHER_VARIABLES:
            yield Fault(name, "keys stand in no descriptor: the function's role gives them")
        elif name.startswith("FC_"):
            yield Fault(name, "names with FC_ belong to Function Compute")
        elif name not in known and (name.startswith(("PUSH_", "MPAAS_")) or near):
            yield Fault(name, f"is no setting{f'; did you mean {near[0]}?' if near else ''}")
    yield from settings_faults(dict(variables))


def _timer_messages(props: Mapping[str, Any], place: str, settings: Settings) -> tuple[int, list[Fault]]:
    """Read the payloads of timer triggers as `timer_push` does: how many messages, and what is wrong."""
    number, found = 0, []
    for trigger in _triggers(props):
        if trigger["triggerType"] != "timer":
            continue
        name = trigger["triggerName"]
        at = f"{place}.{name}.triggerConfig.payload"
        try:
            payload = read_json(trigger["triggerConfig"].get("payload", ""))
            number += len(tasks_of(Tick(name, "", payload), settings))
        except InvalidMessage as error:
            found += [Fault(f"{at}.{fault.field}", fault.message) for fault in error.faults]
        except PushError as error:
            found.append(Fault(at, str(error)))
    return number, found


# --- template.yml and policies


def _stack(folder: Path) -> _Checked:
    stack = Stack(folder / "template.yml")
    found = list(stack.faults())
    if not found:
        for name, role in stack.of("RAM::Role").items():
            place = f"Resources.{name}.Properties"
            found += trust_faults(role["AssumeRolePolicyDocument"], f"{place}.AssumeRolePolicyDocument")
            for index, policy in enumerate(role.get("Policies") or []):
                at = f"{place}.Policies.{index}.PolicyDocument"
                found += list(function_faults(policy["PolicyDocument"], at)) or list(
                    _unreached(folder, policy["PolicyDocument"], at)
                )
        if functions := _functions(folder):
            found += stack.differences(functions)
        found += [*stack.hasty_queues(), *stack.unmade()]
    resources = _counted(len(stack.document["Resources"]), "resource")
    return f"{_counted(len(stack.of('FC3::Function')), 'function')}, {resources}", found


def _functions(folder: Path) -> dict[str, DescribedFunction]:
    """Return the functions of `s.yaml` with nothing set, by name; none where something in it is wrong."""
    path = folder / "s.yaml"
    if not path.is_file():
        return {}
    try:
        descriptor = _framed(path)
        for resource in descriptor.document["resources"]:
            _checked_props(descriptor, resource, {})
    except DescriptorError:
        return {}  # told where that file is checked
    return {each.props["functionName"]: each for each in described_functions(path, {})}


def _policy(folder: Path, path: Path) -> _Checked:
    document = read_json(path.read_bytes())
    if not isinstance(document, dict):
        return "", [Fault("", "must be an object with Version and Statement")]
    if path.stem == "deployer":
        found = list(deployer_faults(document))
    else:
        found = list(function_faults(document)) or list(_unreached(folder, document))
    statements = document.get("Statement")
    return _counted(len(statements) if isinstance(statements, list) else 0, "statement"), found


def _unreached(folder: Path, document: Any, place: str = "") -> Iterator[Fault]:
    return unreached_faults(document, [each.props for each in _functions(folder).values()], place)


# --- Rules and messages


def _rules(path: Path, settings: Settings) -> _Checked:
    return _counted(len(read_rules(path, settings)), "rule"), []


def _messages(file: str, settings: Settings) -> _Checked:
    messages = messages_of(read_json(read_input(file)), settings)
    found = [fault for message in messages if isinstance(message, InvalidMessage) for fault in message.faults]
    return _counted(len(messages), "message"), found


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
