"""Imports run one way, and docs/architecture.md names what is there."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {
    "mpaas_push": ROOT / "shared" / "mpaas_push",
    "project": ROOT / "project",
    "deploy": ROOT / "deploy",
    "mpaas_local": ROOT / "mpaas_local",
}


def modules(room: str) -> dict[str, Path]:
    """The modules of a room by their dotted names; a package by its own."""
    folder = ROOMS[room]
    named = {}
    for file in sorted(folder.rglob("*.py")):
        path = file.relative_to(folder.parent).with_suffix("")
        named[".".join(path.parts).removesuffix(".__init__")] = file
    return named


@cache
def imports(file: Path) -> Sequence[str]:
    """What a module imports, for types too, with the names it takes: `mpaas_push.errors.Fault`."""
    return [*_imports(ast.parse(file.read_text("utf-8")))]


def _imports(module: ast.Module) -> Iterator[str]:
    pending: list[ast.AST] = [module]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{name.name}" for name in node.names)
        else:
            pending += ast.iter_child_nodes(node)


def used_rooms(file: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(file)} & {*ROOMS, "tests", "benchmarks"}


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("mpaas_push", {"mpaas_push"}),
        ("project", {"project", "mpaas_push"}),
        ("deploy", {"deploy", "project", "mpaas_push"}),
        ("mpaas_local", {"mpaas_local", "project", "mpaas_push"}),
    ],
)
def test_a_room_imports_only_rooms_below_it(room: str, allowed: set[str]) -> None:
    wrong = {name: used_rooms(file) - allowed for name, file in modules(room).items()}

    assert {name: rooms for name, rooms in wrong.items() if rooms} == {}


def test_functions_import_nothing_but_the_layer() -> None:
    wrong = {file: used_rooms(file) - {"mpaas_push"} for file in (ROOT / "functions").rglob("*.py")}

    assert {file: rooms for file, rooms in wrong.items() if rooms} == {}


@pytest.mark.parametrize("service", ["mpaas", "mns", "oss"])
def test_a_sandbox_shares_no_code_with_what_it_judges(service: str) -> None:
    wrong = {
        name: used_rooms(file) - {"mpaas_local"}
        for name, file in modules("mpaas_local").items()
        if name.startswith(f"mpaas_local.{service}")
    }

    assert {name: rooms for name, rooms in wrong.items() if rooms} == {}


SERVICES = {"mpaas", "mns", "oss", "fc", "eventbridge", "inbox"}
ENTRANCES = {"__main__", "demo", "pictures", "stack", "tick", "upload"}


@pytest.mark.parametrize(
    ("service", "allowed"),
    [
        ("mpaas", set()),
        ("mns", set()),
        ("oss", set()),
        ("fc", {"mns", "oss"}),
        ("eventbridge", {"mns", "oss", "fc"}),
        ("inbox", {"mpaas", "mns", "fc"}),
    ],
)
def test_a_local_service_imports_only_services_below_it(service: str, allowed: set[str]) -> None:
    above = (SERVICES | ENTRANCES) - allowed - {service}
    wrong = {
        name: {imported.split(".")[1] for imported in imports(file) if imported.startswith("mpaas_local.")}
        & above
        for name, file in modules("mpaas_local").items()
        if name.startswith(f"mpaas_local.{service}")
    }

    assert len(wrong) > 1
    assert {name: services for name, services in wrong.items() if services} == {}


def test_what_all_local_services_share_imports_none_of_them() -> None:
    shared = {
        name: file
        for name, file in modules("mpaas_local").items()
        if name.count(".") == 1 and name.split(".")[1] not in SERVICES | ENTRANCES
    }
    wrong = {
        name: [
            imported
            for imported in imports(file)
            if imported.split(".")[0] in {"project", "mpaas_push"}
            or (imported.startswith("mpaas_local.") and imported.split(".")[1] in SERVICES | ENTRANCES)
        ]
        for name, file in shared.items()
    }

    assert "mpaas_local.loopback" in shared
    assert {name: imported for name, imported in wrong.items() if imported} == {}


SHOWN = (
    *("PushMessage", "errors", "json_text", "message", "campaign.errors", "campaign.model"),
    *("campaign.tasks", "targets", "task"),  # by which it knows the pushes of a campaign
)


def test_the_inbox_knows_no_descriptor_and_of_the_layer_what_it_shows() -> None:
    allowed = tuple(f"mpaas_push.{name}" for name in SHOWN)
    wrong = {
        name: {
            imported
            for imported in imports(file)
            if imported.split(".")[0] == "project"
            or (imported.startswith("mpaas_push.") and not imported.startswith(allowed))
        }
        for name, file in modules("mpaas_local").items()
        if name.startswith("mpaas_local.inbox")
    }

    assert len(wrong) > 1
    assert {name: imported for name, imported in wrong.items() if imported} == {}


def test_no_module_imports_itself_through_others() -> None:
    known = {name: file for room in ROOMS for name, file in modules(room).items()}
    graph = {
        name: {
            imported
            for taken in imports(file)
            for imported in (taken, taken.rpartition(".")[0])
            if imported in known and imported != name
        }
        for name, file in known.items()
    }
    # `from package import module` names the package too, which only gathers the names of its modules.
    packages = {name for name, file in known.items() if file.name == "__init__.py"}
    for name, imported in graph.items():
        graph[name] = {
            other for other in imported if other not in packages or not name.startswith(f"{other}.")
        }

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' → '.join(error.args[1])}")


def is_positional_dataclass(statement: ast.ClassDef) -> bool:
    """Whether a class is a dataclass of more than four values that may be given without their names."""
    decorators = [ast.unparse(decorator) for decorator in statement.decorator_list]
    fields = [
        field
        for field in statement.body
        if isinstance(field, ast.AnnAssign)
        and "ClassVar" not in ast.unparse(field.annotation)
        and not (field.value and "init=False" in ast.unparse(field.value))
    ]
    return len(fields) > 4 and any(
        decorator.startswith("dataclass") and "kw_only=True" not in decorator for decorator in decorators
    )


@pytest.mark.parametrize("room", [*ROOMS.values(), ROOT / "functions", ROOT / "benchmarks", ROOT / "tests"])
def test_a_dataclass_of_more_than_four_values_is_built_with_their_names(room: Path) -> None:
    positional = [
        f"{file.relative_to(ROOT)}: {statement.name}"
        for file in room.rglob("*.py")
        if "@dataclass" in (text := file.read_text("utf-8"))
        for statement in ast.walk(ast.parse(text))
        if isinstance(statement, ast.ClassDef) and is_positional_dataclass(statement)
    ]

    assert positional == []


PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def calls(file: Path, function: str) -> Iterator[ast.Call]:
    """The calls of a function by its dotted name, such as `urllib3.request`."""
    text = file.read_text("utf-8")
    for node in ast.walk(ast.parse(text)) if f"{function}(" in text else ():
        if isinstance(node, ast.Call) and ast.unparse(node.func) == function:
            yield node


@pytest.mark.parametrize("folder", ["mpaas_local", "tests"])
def test_every_request_says_how_long_it_waits(folder: str) -> None:
    # By default urllib3.request waits for three seconds: a busy machine takes longer to start a function.
    silent = [
        f"{file.relative_to(ROOT)}:{call.lineno}"
        for file in (ROOT / folder).rglob("*.py")
        for call in calls(file, "urllib3.request")
        if "timeout" not in {each.arg for each in call.keywords}
    ]

    assert silent == []


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w/]+(?:\.py|/))`", PAGE))))
def test_a_module_or_folder_that_the_architecture_names_exists(name: str) -> None:
    starts = (ROOT, ROOMS["mpaas_push"], *ROOMS["mpaas_local"].glob("**/"), *(ROOT / "functions").glob("*/"))

    assert any((start / name).exists() for start in starts)


@pytest.mark.parametrize("room", ["mpaas_push", "project", "deploy"])
def test_the_architecture_names_every_module(room: str) -> None:
    start = ROOMS[room] if room == "mpaas_push" else ROOT
    paths = [file.relative_to(start).as_posix() for file in modules(room).values()]

    missing = {path for path in paths if not path.endswith("__.py") and f"`{path}`" not in PAGE}

    assert len(paths) > 10
    assert missing - {"project/templates/http.py"} == set()


def test_the_architecture_names_every_room_and_what_they_share() -> None:
    local = ROOMS["mpaas_local"]
    shared = {file.name for file in local.glob("*.py") if not file.name.startswith("__")}
    rooms = {f"{file.parent.name}/" for file in local.glob("*/__init__.py")}
    functions = {file.name for file in (ROOT / "functions").glob("*/*.py")}

    assert {name for name in shared - {"stack.py"} | rooms | functions if f"{name}`" not in PAGE} == set()


def test_every_package_that_the_layer_imports_is_named_as_a_dependency() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    named = {each.lower() for each in re.findall(r'^ +"([\w-]+)>=', text, re.MULTILINE)}
    of_commands = {"cronsim", "rich"}  # the extra `cli`
    distribution_of: dict[
        str, str
    ] = {}  # `packages_distributions` of 3.10 misses those that do not list their packages
    for each in distributions():
        paths = [line.partition(",")[0] for line in (each.read_text("RECORD") or "").splitlines()]
        tops = {path.partition("/")[0].removesuffix(".py") for path in paths}
        distribution_of |= dict.fromkeys(tops, each.metadata["Name"].lower().replace("_", "-"))

    imported = {name.partition(".")[0] for file in modules("mpaas_push").values() for name in imports(file)}
    foreign = imported - {"mpaas_push", *sys.stdlib_module_names}
    lacking = {name for name in foreign if distribution_of[name] not in named | of_commands}

    assert not lacking
    assert named == set((ROOT / "requirements" / "layer.in").read_text("utf-8").split("\n")[1:]) - {""}
