"""`validate`: check everything in a project that can be checked offline, as the functions check it."""

from __future__ import annotations

import ast
import os
import re
from contextlib import suppress
from difflib import get_close_matches
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from mpaas_push.campaign.errors import InvalidCampaign
from mpaas_push.campaign.model import Campaign
from mpaas_push.cli.inputs import read_input, rules_files, settings_with_placeholders
from mpaas_push.errors import Fault, InvalidMessage, Misconfigured, PushError
from mpaas_push.event_rules import BadRules, read_rules
from mpaas_push.json_text import read_json
from mpaas_push.message.reading import messages_of
from mpaas_push.settings import Settings
from mpaas_push.triggers.timer import Tick, campaign_of, tasks_of_tick
from project.descriptor import Descriptor, DescriptorError, descriptor_files, read_functions
from project.env_file import env_faults, read_env, settings_faults
from project.policies import access_faults, deployer_faults, function_faults
from project.ros_template import template_faults
from project.secret_settings import is_secret
from project.stages import (
    missing_settings,
    name_faults,
    overridden_settings,
    read_settings,
    settings_files,
    shared_uploads,
    stage_file,
    stage_of,
    stages,
)
from project.triggers import Timer
from project.wiring import wiring_faults

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping

    from project.function import FunctionProperties

__all__ = ["add_to"]

_OTHER_VARIABLES = {"MPAAS_AK_ENV", "MPAAS_SK_ENV"}


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = subparsers.add_parser(
        "validate",
        help="check settings, descriptors, policies, timer payloads, rules and messages, offline",
        description="Check the settings of the environment and of .env, s.yaml and its overlays with every"
        " timer payload, template.yml against s.yaml, deploy/policies/*.json, every"
        " functions/*/rules.yaml, and the messages in files. Settings are checked as a deployment would use"
        " them: those of --stage; otherwise those of every stage that has a file .env.STAGE; otherwise, if"
        " .env exists, those of dev. Exit codes: 0 no faults; 1 at least one.",
    )
    command.add_argument("--stage", help="check the settings that a deployment of this stage would use")
    command.add_argument("messages", nargs="*", metavar="FILE", help="files with messages to check as well")
    command.add_argument(
        "--folder", type=Path, default=Path(), help="the project's folder; by default the current one"
    )
    command.set_defaults(run=_validate)


def _validate(options: argparse.Namespace) -> int:
    checks = dict(_checks(options.folder, options.messages, options.stage))
    count = skipped = 0
    base_faults: list[Fault] = []  # overlays inherit these; report them once
    for file, check in checks.items():
        summary = ""
        faults: list[Fault]
        try:
            summary, faults = check()
        except (BadRules, InvalidMessage, DescriptorError) as error:
            faults = list(error.faults)
        except PushError as error:
            faults = [Fault("", str(error).removeprefix(f"{file} "))]
        if file == "s.yaml":
            base_faults = faults
        elif re.fullmatch(r"s\..+\.yaml", file) and any(fault in base_faults for fault in faults):
            faults = [fault for fault in faults if fault not in base_faults]
            summary = "not checked: it has the faults of s.yaml"
        lines = [f"FAULT {file}: {fault}" for fault in dict.fromkeys(faults)]
        count += len(lines)
        is_skipped = not lines and summary.startswith(("not checked: ", "not compared: "))
        skipped += is_skipped
        verdict = "note " if is_skipped else "ok   "
        print("\n".join(lines) or f"{verdict} {file}: {summary or 'nothing beyond s.yaml'}")
    print(f"{len(checks) - skipped} checked, {count or 'no'} fault{'' if count == 1 else 's'}")
    return 1 if count else 0


_Result = tuple[str, list[Fault]]
"""A summary of what was checked, and its faults."""


def _checks(
    folder: Path, messages: list[str], stage: str | None
) -> Iterator[tuple[str, Callable[[], _Result]]]:
    """Yield the checks, each with its name.

    Raises:
        Misconfigured: there is nothing to check, or the stage does not exist.
    """
    files, rules = descriptor_files(folder), rules_files(folder)
    if not files and not rules and not messages:
        raise Misconfigured(f"there is neither s.yaml nor functions/*/rules.yaml in {folder.resolve()}")
    checked_stages = [stage] if stage else _stages_with_settings(folder)
    settings = _settings(_env_of(folder, checked_stages[0] if checked_stages else "dev"))
    yield "environment", _environment
    if files:
        yield from _settings_checks(folder, stage, checked_stages)
    for path in files:
        yield path.name, partial(_descriptor, path, settings)
    if (folder / "template.yml").is_file():
        yield "template.yml", partial(_template, folder)
    for path in sorted((folder / "deploy" / "policies").glob("*.json")):
        yield str(path.relative_to(folder)), partial(_policy, folder, path)
    for path in rules:
        yield str(path.relative_to(folder)), partial(_rules, path, settings)
    for file in messages:
        yield file, partial(_messages, file, settings)


# --- Settings


def _settings_checks(
    folder: Path, stage: str | None, checked_stages: list[str]
) -> Iterator[tuple[str, Callable[[], _Result]]]:
    if stage:
        stage_file(folder, stage)  # raises if the stage does not exist
    for path in _env_files(folder, stage):
        yield path.name, partial(_env_file, path)
    for name in checked_stages:
        yield f"settings of {name}", partial(_settings_of_stage, folder, name)
    if not checked_stages:
        yield "settings of a stage", _no_settings


def _env_files(folder: Path, stage: str | None) -> list[Path]:
    """Return the settings files that exist: those of a stage, or all."""
    if stage:
        return settings_files(folder, stage)
    files = sorted(path for path in folder.glob(".env.*") if path.name != ".env.example")
    return [path for path in (folder / ".env", *files) if path.is_file()]


def _stages_with_settings(folder: Path) -> list[str]:
    own = [name for name in stages(folder) if (folder / f".env.{name}").is_file()]
    return own or (["dev"] if (folder / ".env").is_file() else [])


def _env_of(folder: Path, stage: str) -> dict[str, str]:
    """Return the settings of a stage; only those of the shell if a settings file is invalid."""
    try:
        return read_settings(folder, stage, os.environ)
    except Misconfigured:
        return dict(os.environ) | {"STAGE": stage}


def _settings_of_stage(folder: Path, name: str) -> _Result:
    env = read_settings(folder, name, os.environ)
    files = [file.name for file in settings_files(folder, name)]
    notes = [*overridden_settings(folder, name, os.environ), *shared_uploads(folder, name, os.environ)]
    lines = [f"{', '.join([*files, 'the shell'])}: complete", *(f"      note: {note}" for note in notes)]
    return "\n".join(lines), list(missing_settings(env, name))


def _no_settings() -> _Result:
    return "not checked: there is no .env; make validate STAGE=… checks those of a stage", []


def _settings(env: Mapping[str, str]) -> Settings:
    """Return settings to check messages with; another check reports their faults."""
    try:
        return settings_with_placeholders(env)
    except Misconfigured:
        return settings_with_placeholders({})


def _environment() -> _Result:
    return "the settings of this shell", list(settings_faults(dict(os.environ)))


def _env_file(path: Path) -> _Result:
    texts = [descriptor.read_text("utf-8") for descriptor in descriptor_files(path.parent)]
    names = {name for text in texts for name in re.findall(r"""env\(\s*['"]([^'"]+)""", text)}
    faults = list(env_faults(path, names))
    if (stage := path.name.removeprefix(".env").lstrip(".")) and stage not in stages(path.parent):
        faults.append(
            Fault("", f"there is no stage {stage}; the stages are {', '.join(stages(path.parent))}")
        )
    return _count(sum(map(bool, read_env(path).values())), "setting"), faults


# --- s.yaml


def _descriptor(path: Path, settings: Settings) -> _Result:
    descriptor, env = Descriptor(path), _env_of(path.parent, stage_of(path))
    faults = list(name_faults(path, env))
    functions: dict[str, FunctionProperties] = {}
    message_count = 0
    names = _names_in_other_files(path)
    for resource in descriptor.frame.resources:
        at = f"resources.{resource}.props"
        try:
            functions[resource] = props = descriptor.function(resource, env)
        except DescriptorError as error:
            faults += error.faults
            continue
        for fault in (*_code_and_setting_faults(props, path.parent), *_written_secrets(descriptor, resource)):
            faults.append(descriptor.at_origin(fault.below(at)))
        if (name := props.function_name) in names:
            faults.append(Fault(f"{at}.functionName", f"{name} is already the name of {names[name]}"))
        names[name] = f"resources.{resource}"
        count, payload_faults = _timer_messages(props, f"{at}.triggers", settings)
        message_count += count
        faults += payload_faults
    if functions.keys() == descriptor.frame.resources.keys():  # faults of single functions come first
        wiring = wiring_faults(functions, _other_stages(descriptor, path))
        faults += map(descriptor.at_origin, wiring)
    triggers = sum(len(props.triggers) for props in functions.values())
    counts = [_count(len(descriptor.frame.resources), "function"), _count(triggers, "trigger")]
    return f"{', '.join(counts)}, {_count(message_count, 'timer message')}", faults


def _other_stages(descriptor: Descriptor, path: Path) -> set[str]:
    """Return the stages of the other descriptors, as far as they can be read."""
    names = set()
    for other in descriptor_files(path.parent):
        with suppress(DescriptorError):
            names.add(Descriptor(other).stage(_env_of(path.parent, stage_of(other))))
    return names - {descriptor.stage(_env_of(path.parent, stage_of(path))), ""}


def _names_in_other_files(path: Path) -> dict[str, str]:
    """Return the function names in the files that precede this one, each with its file; two files must not
    deploy the same function.
    """
    names: dict[str, str] = {}
    for other in descriptor_files(path.parent):
        if other.name >= path.name:
            continue  # report a shared name once
        with suppress(DescriptorError):  # reported by the check of that file
            functions = read_functions(other, _env_of(path.parent, stage_of(other)))
            names |= {
                function.function_name: f"a function in {other.name}" for function in functions.values()
            }
    return names


def _code_and_setting_faults(props: FunctionProperties, folder: Path) -> Iterator[Fault]:
    """Find faults in a function's code files and settings, which the model does not check."""
    code, (module, _, name) = props.code, props.handler.rpartition(".")
    if f"{module}.py" not in _files(folder / code):
        yield Fault("code", f"has no file {module}.py for the handler {props.handler}")
    elif fault := _handler_fault(folder / code / f"{module}.py", name):
        yield Fault("handler", f"{code}/{module}.py {fault}")
    for variable in _variable_faults(props.environment_variables):
        yield variable.below("environmentVariables")


def _files(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except (OSError, ValueError):
        return set()


def _handler_fault(module: Path, name: str) -> str:
    """Return why a module has no such handler, without running the module; empty if it has one."""
    try:
        names = _names_in(module.read_bytes())
    except SyntaxError as error:
        return f"is not valid Python: line {error.lineno}: {error.msg}"
    except (OSError, ValueError) as error:
        return f"cannot be read: {error}"
    return "" if {name, "*"} & names else f"has no {name}"


@lru_cache(maxsize=32)  # the descriptors of all stages name the same modules
def _names_in(source: bytes) -> set[str]:
    nodes = list(ast.walk(ast.parse(source)))
    imported = {
        alias.asname or alias.name for node in nodes if isinstance(node, _IMPORTS) for alias in node.names
    }
    defined = {node.name for node in nodes if isinstance(node, _DEFINITIONS)}
    assigned = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return imported | defined | assigned


_IMPORTS = (ast.Import, ast.ImportFrom)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _written_secrets(descriptor: Descriptor, resource: str) -> Iterator[Fault]:
    """Find keys and passwords in the file itself, not in the environment or `.env`."""
    try:
        written = descriptor.resolved_props(resource, {})
    except DescriptorError:
        return  # an expression without a default
    for name, value in written.get("environmentVariables", {}).items():
        if value and is_secret(name, str(value)):
            yield Fault(
                f"environmentVariables.{name}", "contains a key or password: write ${env('…')} instead"
            )


def _variable_faults(variables: Mapping[str, str]) -> Iterator[Fault]:
    for name in variables:
        if name in _known_variables():
            continue
        near = _nearest_variables(name)
        if is_secret(name):
            yield Fault(name, "must not be in a descriptor: the function's role provides keys")
        elif name.startswith("FC_"):
            yield Fault(name, "names that start with FC_ are reserved by Function Compute")
        elif name.startswith(("PUSH_", "MPAAS_")) or near:
            yield Fault(name, f"is not a setting{f'; did you mean {near[0]}?' if near else ''}")
    yield from settings_faults(dict(variables))


@cache
def _known_variables() -> set[str]:
    return Settings.variables().keys() | _OTHER_VARIABLES


@lru_cache(maxsize=64)  # all functions and stages use the same names
def _nearest_variables(name: str) -> list[str]:
    return get_close_matches(name, _known_variables(), 1)


def _timer_messages(props: FunctionProperties, path: str, settings: Settings) -> tuple[int, list[Fault]]:
    """Read the payloads of timer triggers as `timer_push` does; return the number of messages and faults."""
    count, faults = 0, []
    for trigger in props.triggers:
        if not isinstance(trigger, Timer):
            continue
        name = trigger.trigger_name
        at = f"{path}.{name}.triggerConfig.payload"
        try:
            tick = Tick(name, "", read_json(trigger.trigger_config.payload))
            if campaign := campaign_of(tick):
                Campaign.parse(campaign, settings)
                count += 1
            else:
                count += len(tasks_of_tick(tick, settings))
        except (InvalidMessage, InvalidCampaign) as error:
            faults += [fault.below(at) for fault in error.faults]
        except PushError as error:
            faults.append(Fault(at, str(error)))
    return count, faults


# --- template.yml and policies


def _template(folder: Path) -> _Result:
    path = folder / "template.yml"
    if not _functions(folder):
        return "not compared: s.yaml is invalid", []
    faults = template_faults(path)
    return "up to date with s.yaml", faults


def _functions(folder: Path) -> dict[str, FunctionProperties]:
    """Return the functions of `s.yaml` with its default settings; an empty map if it is invalid."""
    try:
        return read_functions(folder / "s.yaml", {})
    except DescriptorError:
        return {}  # the file does not exist, or its own check reports the faults


def _policy(folder: Path, path: Path) -> _Result:
    document = read_json(path.read_bytes())
    if not isinstance(document, dict):
        return "", [Fault("", "must be an object with Version and Statement")]
    if path.stem == "deployer":
        faults = list(deployer_faults(document))
    else:
        faults = list(function_faults(document)) or list(access_faults(document, _functions(folder).values()))
    statements = document.get("Statement")
    return _count(len(statements) if isinstance(statements, list) else 0, "statement"), faults


# --- Rules and messages


def _rules(path: Path, settings: Settings) -> _Result:
    return _count(len(read_rules(path, settings)), "rule"), []


def _messages(file: str, settings: Settings) -> _Result:
    messages = messages_of(read_json(read_input(file)), settings)
    faults = [
        fault for message in messages if isinstance(message, InvalidMessage) for fault in message.faults
    ]
    return _count(len(messages), "message"), faults


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
