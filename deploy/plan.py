"""Compares the functions of the descriptor with those in the cloud: the changes that a deployment would make.

`differences` takes the functions of `s.yaml` and a `Cloud`, and yields one `Difference` for each property
that a person would change separately. It changes nothing and shows no secret.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jmespath
from rich.console import Console
from rich.table import Table

from deploy.code import NOT_CODE
from project.secret_settings import is_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from deploy.cloud import Cloud
    from project.fields import Strict
    from project.function import FunctionProperties, ProvisionConfig
    from project.triggers import Trigger

__all__ = ["Difference", "FunctionPlan", "code_files", "differences", "print_differences", "print_table"]

Change = Literal["add", "change", "remove"]

NOT_COMPARED = frozenset(
    {
        "functionName",
        "region",
        "code",
        "triggers",
        "asyncInvokeConfig",
        "concurrencyConfig",
        "provisionConfig",
        "layers",
        "environmentVariables",
    }
)
"""Properties that are compared separately, or that identify the function."""
ENABLED_BY = {
    "vpcConfig": ("vpcId",),
    "nasConfig": ("mountPoints",),
    "ossMountConfig": ("mountPoints",),
    "tracingConfig": ("type",),
    "instanceLifecycleConfig": ("*.handler[]", "*.command[]"),
}
"""Properties that a deployment removes if the descriptor has none, and the members that enable each."""
PROVISION = ("defaultTarget", "scheduledActions", "targetTrackingPolicies")
SCALING = ("minInstances", "scheduledPolicies", "horizontalScalingPolicies")
"""The members of the two configurations that keep instances; they are compared even if not described."""
PIPE_WIDTH = 240
"""Width of a table in a pipe or a log, in characters."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One difference between the cloud and the descriptor.

    Attributes:
        function: Name of the deployed function.
        what: What differs: ``function``, ``code``, ``layer``, ``timeout``, ``environmentVariables.NAME``,
            ``trigger NAME``, ``asyncInvokeConfig.maxAsyncRetryAttempts``, …
        change: Whether a deployment would add, change or remove it.
        before: The value in the cloud, as text; None if there is none or it is secret.
        after: The value in the descriptor, likewise.
    """

    function: str
    what: str
    change: Change
    before: str | None = None
    after: str | None = None

    @property
    def trigger(self) -> str | None:
        """Name of the trigger that differs; None if it is something else."""
        kind, _, rest = self.what.partition(" ")
        return rest.partition(".")[0] if kind == "trigger" else None


@dataclass(frozen=True, kw_only=True)
class FunctionPlan:
    """The desired state of a function.

    Attributes:
        properties: Its properties in the descriptor.
        code: SHA-256 of each file of its code, by path.
    """

    properties: FunctionProperties
    code: Mapping[str, str]

    @property
    def name(self) -> str:
        """Name of the deployed function."""
        return self.properties.function_name


def code_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each deployed file in a function's folder, by path; links are followed."""
    paths = [Path(parent, name) for parent, _, names in os.walk(folder, followlinks=True) for name in names]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
        if path.is_file() and not _is_ignored(path.relative_to(folder).as_posix())
    }


def differences(functions: Sequence[FunctionPlan], cloud: Cloud) -> Iterator[Difference]:
    """Yield the differences, function by function.

    Raises:
        CloudRefused: the cloud cannot be read.
    """
    for function in functions:
        yield from _function_differences(function, cloud)


def _function_differences(function: FunctionPlan, cloud: Cloud) -> Iterator[Difference]:
    name, desired = function.name, function.properties
    deployed = cloud.function(name)
    if deployed is None:
        yield Difference(function=name, what="function", change="add", after=desired.description)
        for trigger in desired.triggers:
            yield _addition(name, trigger)
        return
    yield from _code_differences(function, cloud)
    if (before := _layers(deployed)) != desired.layers:
        yield _change(name, "layer", ", ".join(before) or None, ", ".join(desired.layers))
    described = _by_api_names(desired)
    for key, value in described.items():
        if key not in NOT_COMPARED:
            yield from _value_differences(name, key, deployed.get(key), value)
    for key in sorted(ENABLED_BY.keys() - described.keys()):
        yield from _value_differences(name, key, _enabled(key, deployed), None)
    yield from _environment_differences(
        name, deployed.get("environmentVariables", {}), desired.environment_variables
    )
    asynchronous = _by_api_names(desired.async_invoke_config)
    config = cloud.async_config(name)
    yield from _value_differences(
        name, "asyncInvokeConfig", _only_known(config, asynchronous) if config else None, asynchronous
    )
    reserved = desired.concurrency_config.reserved_concurrency if desired.concurrency_config else None
    yield from _value_differences(name, "reservedConcurrency", cloud.reserved_concurrency(name), reserved)
    yield from _instance_differences(name, desired.provision_config, cloud)
    yield from _value_differences(name, "vpcBinding", cloud.vpc_bindings(name), None)
    yield from _trigger_differences(name, cloud.triggers(name), desired.triggers)


def _by_api_names(model: Strict) -> dict[str, Any]:
    """Return the properties that the descriptor sets, with the names of the API."""
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _enabled(key: str, function: Mapping[str, Any]) -> Any:
    """Return a property of a function in the cloud; None if it has only defaults."""
    value = _normalize(function.get(key))
    return value if any(jmespath.search(member, value) for member in ENABLED_BY[key]) else None


def _code_differences(function: FunctionPlan, cloud: Cloud) -> Iterator[Difference]:
    deployed = {
        path: hashlib.sha256(data).hexdigest()
        for path, data in cloud.code(function.name).items()
        if not _is_ignored(path)
    }
    paths = sorted(
        path
        for path in deployed.keys() | function.code.keys()
        if deployed.get(path) != function.code.get(path)
    )
    if paths:
        shown = ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
        yield Difference(function=function.name, what="code", change="change", after=shown)


def _value_differences(name: str, what: str, before: Any, after: Any) -> Iterator[Difference]:
    """Compare values recursively while both are objects: one difference per leaf."""
    before, after = _normalize(before), _normalize(after)
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from _value_differences(name, f"{what}.{key}", before.get(key), after.get(key))
        return
    yield _change(name, what, _text(before), _text(after))


def _environment_differences(
    name: str, before: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[Difference]:
    for key in sorted(before.keys() | after.keys()):
        if before.get(key, "") == after.get(key, ""):
            continue
        secret = any(is_secret(key, values.get(key, "")) for values in (before, after))
        difference = _change(name, f"environmentVariables.{key}", before.get(key), after.get(key))
        yield (
            Difference(function=name, what=difference.what, change=difference.change)
            if secret
            else difference
        )


def _instance_differences(name: str, desired: ProvisionConfig | None, cloud: Cloud) -> Iterator[Difference]:
    """Compare the instances that are kept warm; `scalingConfig`, the alternative, is never described."""
    after = _by_api_names(desired) if desired else {}
    before = _warm_members(cloud.provision_config(name), PROVISION, after)
    yield from _value_differences(name, "provisionConfig", before, after)
    if not desired:
        yield from _value_differences(
            name, "scalingConfig", _warm_members(cloud.scaling_config(name), SCALING), None
        )


def _warm_members(
    config: Mapping[str, Any] | None, members: Sequence[str], more: Iterable[str] = ()
) -> dict[str, Any] | None:
    """Return members of a configuration; None if no `members` value keeps an instance.

    Args:
        config: The configuration in the cloud.
        members: The members that keep instances.
        more: Other members to return.
    """
    if not config or not any(config.get(member) for member in members):
        return None
    return {key: config.get(key) for key in (*members, *more)}


def _trigger_differences(
    name: str, deployed: Mapping[str, Mapping[str, Any]], desired: Sequence[Trigger]
) -> Iterator[Difference]:
    by_name = {trigger.trigger_name: trigger for trigger in desired}
    for trigger, described in by_name.items():
        before = deployed.get(trigger)
        if before is None:
            yield _addition(name, described)
            continue
        after = _by_api_names(described)
        # The cloud adds keys next to the configuration; within it, null and empty mean not set.
        yield from _value_differences(name, f"trigger {trigger}", _only_known(before, after), after)
    for trigger in deployed.keys() - by_name.keys():
        yield Difference(
            function=name,
            what=f"trigger {trigger}",
            change="remove",
            before=deployed[trigger].get("triggerType"),
        )


def _addition(name: str, trigger: Trigger) -> Difference:
    return Difference(
        function=name, what=f"trigger {trigger.trigger_name}", change="add", after=trigger.trigger_type
    )


def _change(name: str, what: str, before: str | None, after: str | None) -> Difference:
    change: Change = "change"
    if before is None:
        change = "add"
    elif after is None:
        change = "remove"
    return Difference(function=name, what=what, change=change, before=before, after=after)


def _only_known(deployed: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    return {key: deployed.get(key) for key in described}


_SETS = {"methods", "events"}


def _normalize(value: Any, key: str = "") -> Any:
    """Return a value without nulls, empty objects and insignificant order."""
    if isinstance(value, dict):
        parts = {name: _normalize(part, name) for name, part in value.items()}
        return {name: part for name, part in parts.items() if part not in (None, "")} or None
    if isinstance(value, (list, tuple)):
        items = [_normalize(part) for part in value]
        return (sorted(items) if key in _SETS else items) or None
    if isinstance(value, str) and key in ("eventRuleFilterPattern", "payload"):
        return _compact(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _compact(text: str) -> str:
    try:
        return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    except ValueError:
        return text


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _layers(function: Mapping[str, Any]) -> list[str]:
    return [layer["arn"] for layer in function.get("layers", ())]


def _is_ignored(path: str) -> bool:
    return any(fnmatchcase(part, pattern) for part in path.split("/") for pattern in NOT_CODE)


def print_table(table: Table) -> None:
    """Print a table, without wrapping in a pipe or a log."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(table)


def print_differences(differences: Sequence[Difference]) -> None:
    """Print a table of differences: additions in green, changes in yellow, removals in red."""
    table = Table(box=None, pad_edge=False, show_edge=False)
    for column in ("", "function", "what", "in the cloud", "in the descriptor"):
        table.add_column(column, overflow="fold")
    for difference in differences:
        sign, colour = {"add": ("+", "green"), "change": ("~", "yellow"), "remove": ("-", "red")}[
            difference.change
        ]
        table.add_row(
            sign,
            difference.function,
            difference.what,
            difference.before or "",
            difference.after or "",
            style=colour,
        )
    print_table(table)
