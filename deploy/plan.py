"""What a deployment would change: the descriptor's functions on one side, the cloud's on the other.

A `Cloud` and functions as `s.yaml` describes them enter `differences`; what differs leaves, one `Difference`
for each thing that a person would change by itself. Nothing is changed here, and no secret is shown.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from deploy.cloud import Cloud

__all__ = ["Difference", "FunctionPlan", "code_files", "differences", "print_differences", "print_table"]

Change = Literal["add", "change", "remove"]

SECRET_VARIABLES = ("PUSH_LEDGER_URL",)
"""Variables whose value is a secret; so is every one whose name says so."""
SECRET_WORDS = ("SECRET", "PASSWORD", "TOKEN", "ACCESS_KEY")
NOT_COMPARED = frozenset(
    {"functionName", "region", "code", "triggers", "asyncInvokeConfig", "concurrencyConfig", "layers"}
    | {"environmentVariables"}
)
"""Properties that are compared in their own way, or that name the function."""
UNWRAPPED = 240
"""Width of a table that no terminal shows, in characters."""
NOT_CODE = ("__pycache__", ".pyc", ".DS_Store")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that is not in the cloud as the descriptor says.

    Attributes:
        function: The deployed function's name.
        what: What differs: ``function``, ``code``, ``layer``, ``timeout``, ``environmentVariables.NAME``,
            ``trigger NAME``, ``asyncInvokeConfig.maxAsyncRetryAttempts``, …
        change: Whether it would be added, changed or removed.
        before: What the cloud has, as text; None where it has nothing or where it is a secret.
        after: What the descriptor says, likewise.
    """

    function: str
    what: str
    change: Change
    before: str | None = None
    after: str | None = None

    @property
    def trigger(self) -> str | None:
        """The name of the trigger that differs, or None where it is something else."""
        kind, _, rest = self.what.partition(" ")
        return rest.partition(".")[0] if kind == "trigger" else None


@dataclass(frozen=True, kw_only=True)
class FunctionPlan:
    """A function as it is to be.

    Attributes:
        resource: Its key in the descriptor.
        name: The deployed function's name.
        properties: Its properties by the names of the API, without expressions.
        code: SHA-256 of each file of its code by path.
    """

    resource: str
    name: str
    properties: Mapping[str, Any]
    code: Mapping[str, str]


def code_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a function's folder, by path, as far as it is deployed."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not _is_left_out(path.relative_to(folder).as_posix())
    }


def differences(functions: Sequence[FunctionPlan], cloud: Cloud) -> Iterator[Difference]:
    """Yield what the cloud has otherwise than it is to be, function by function.

    Raises:
        CloudRefused: the cloud cannot be read.
    """
    for function in functions:
        yield from _of_function(function, cloud)


def _of_function(function: FunctionPlan, cloud: Cloud) -> Iterator[Difference]:
    name, wanted = function.name, function.properties
    there = cloud.function(name)
    if there is None:
        yield Difference(function=name, what="function", change="add", after=wanted.get("description"))
        for trigger in wanted.get("triggers") or ():
            yield Difference(function=name, what=f"trigger {trigger['triggerName']}", change="add")
        return
    yield from _of_code(function, cloud)
    if (before := _layers(there.get("layers"))) != (after := _layers(wanted.get("layers"))):
        yield _changed(name, "layer", ", ".join(before) or None, ", ".join(after) or None)
    for key, value in wanted.items():
        if key not in NOT_COMPARED:
            yield from _of_value(name, key, there.get(key), value)
    yield from _of_environment(name, there.get("environmentVariables"), wanted.get("environmentVariables"))
    yield from _of_value(
        name,
        "asyncInvokeConfig",
        _only_known(cloud.async_config(name) or {}, wanted.get("asyncInvokeConfig") or {}),
        wanted.get("asyncInvokeConfig"),
    )
    reserved = (wanted.get("concurrencyConfig") or {}).get("reservedConcurrency")
    yield from _of_value(name, "reservedConcurrency", cloud.reserved_concurrency(name), reserved)
    yield from _of_triggers(name, cloud.triggers(name), wanted.get("triggers") or ())


def _of_code(function: FunctionPlan, cloud: Cloud) -> Iterator[Difference]:
    there = {
        path: hashlib.sha256(data).hexdigest()
        for path, data in cloud.code(function.name).items()
        if not _is_left_out(path)
    }
    paths = sorted(
        path for path in there.keys() | function.code.keys() if there.get(path) != function.code.get(path)
    )
    if paths:
        shown = ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
        yield Difference(function=function.name, what="code", change="change", after=shown)


def _of_value(name: str, what: str, before: Any, after: Any) -> Iterator[Difference]:
    """Compare a value as deep as both sides are objects, so that one line says one thing."""
    before, after = _normalized(before), _normalized(after)
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from _of_value(name, f"{what}.{key}", before.get(key), after.get(key))
        return
    yield _changed(name, what, _text(before), _text(after))


def _of_environment(name: str, there: Any, wanted: Any) -> Iterator[Difference]:
    before, after = there or {}, {key: str(value) for key, value in (wanted or {}).items()}
    for key in sorted(before.keys() | after.keys()):
        if (before.get(key) or "") == (after.get(key) or ""):
            continue
        secret = key in SECRET_VARIABLES or any(word in key.upper() for word in SECRET_WORDS)
        difference = _changed(name, f"environmentVariables.{key}", before.get(key), after.get(key))
        yield (
            Difference(function=name, what=difference.what, change=difference.change)
            if secret
            else difference
        )


def _of_triggers(
    name: str, there: Mapping[str, Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]
) -> Iterator[Difference]:
    by_name = {trigger["triggerName"]: trigger for trigger in wanted}
    for trigger, after in by_name.items():
        before = there.get(trigger)
        if before is None:
            yield Difference(
                function=name, what=f"trigger {trigger}", change="add", after=after["triggerType"]
            )
            continue
        # The cloud adds keys of its own around the configuration; in it, what is null or empty is not set.
        yield from _of_value(name, f"trigger {trigger}", _only_known(before, after), after)
    for trigger in there.keys() - by_name.keys():
        yield Difference(
            function=name,
            what=f"trigger {trigger}",
            change="remove",
            before=there[trigger].get("triggerType"),
        )


def _changed(name: str, what: str, before: str | None, after: str | None) -> Difference:
    change: Change = "change"
    if before is None:
        change = "add"
    elif after is None:
        change = "remove"
    return Difference(function=name, what=what, change=change, before=before, after=after)


def _only_known(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {key: there.get(key) for key in wanted}


_SETS = {"methods", "events"}


def _normalized(value: Any, key: str = "") -> Any:
    """Return a value without what only one side writes: nulls, empty objects, an order without meaning."""
    if isinstance(value, dict):
        parts = {each: _normalized(part, each) for each, part in value.items()}
        return {each: part for each, part in parts.items() if part not in (None, "")} or None
    if isinstance(value, (list, tuple)):
        items = [_normalized(part) for part in value]
        return (sorted(items) if key in _SETS else items) or None
    if isinstance(value, str) and key in ("eventRuleFilterPattern", "payload"):
        return _compact(value)
    if isinstance(value, bool):
        return value
    return float(value) if isinstance(value, int) else value


def _compact(text: str) -> str:
    try:
        return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    except ValueError:
        return text


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _layers(layers: Any) -> list[str]:
    return [layer["arn"] if isinstance(layer, dict) else str(layer) for layer in layers or ()]


def _is_left_out(path: str) -> bool:
    return any(part in NOT_CODE or part.endswith(".pyc") for part in path.split("/"))


def print_table(table: Table) -> None:
    """Print a table; what reads a pipe or a log gets it unwrapped."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = UNWRAPPED
    console.print(table)


def print_differences(found: Sequence[Difference]) -> None:
    """Print a table of what differs: green what is added, yellow what is changed, red what is removed."""
    table = Table(box=None, pad_edge=False, show_edge=False)
    for column in ("", "function", "what", "in the cloud", "in the descriptor"):
        table.add_column(column, overflow="fold")
    for difference in found:
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
