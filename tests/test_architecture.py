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
    from collections.abc import Container, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {
    "mpaas_push": ROOT / "shared" / "mpaas_push",
    "project": ROOT / "project",
    "deploy": ROOT / "deploy",
    "mpaas_local": ROOT / "mpaas_local",
}
OUTSIDE = ("functions", "benchmarks", "tests")
"""Folders of Python that no room imports."""


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
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from (f"{start}.{name.name}" for name in node.names)
        else:
            match node:
                case ast.Call(ast.Name("import_module" | "__import__"), [ast.Constant(str(name)), *_]):
                    yield name
                case ast.Call(ast.Attribute(attr="import_module"), [ast.Constant(str(name)), *_]):
                    yield name
            pending += ast.iter_child_nodes(node)


def module_of(taken: str, known: Container[str]) -> str:
    """The module of what is imported: `mpaas_push.errors` of `mpaas_push.errors.Fault`."""
    return taken if taken in known else taken.rpartition(".")[0]


@pytest.mark.parametrize("folder", [*ROOMS.values(), *(ROOT / name for name in OUTSIDE)])
def test_imports_are_absolute(folder: Path) -> None:
    relative = {
        file.relative_to(ROOT): taken
        for file in folder.rglob("*.py")
        for taken in imports(file)
        if taken.startswith(".")
    }

    assert relative == {}


def used_rooms(file: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(file)} & {*ROOMS, *OUTSIDE}


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


FUNCTIONS = sorted((ROOT / "functions").glob("*_push"))


def test_functions_import_nothing_but_the_layer() -> None:
    wrong = {file: used_rooms(file) - {"mpaas_push"} for each in FUNCTIONS for file in each.rglob("*.py")}

    assert len(wrong) > 1
    assert {file: rooms for file, rooms in wrong.items() if rooms} == {}


def service(name: str) -> dict[str, Path]:
    """The modules of a local service."""
    start = f"mpaas_local.{name}"
    return {
        module: file
        for module, file in modules("mpaas_local").items()
        if module == start or module.startswith(f"{start}.")
    }


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("mpaas", set()), ("mns", set()), ("oss", set()), ("fc", {"project"}), ("eventbridge", {"project"})],
)
def test_a_local_service_shares_no_code_with_what_it_judges_or_runs(name: str, allowed: set[str]) -> None:
    wrong = {module: used_rooms(file) - {"mpaas_local"} - allowed for module, file in service(name).items()}

    assert len(wrong) > 1
    assert {module: rooms for module, rooms in wrong.items() if rooms} == {}


SERVICES = {"mpaas", "mns", "oss", "fc", "eventbridge", "inbox"}
ENTRANCES = {"__main__", "demo", "pictures", "stack", "tick", "upload"}


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("mpaas", set()),
        ("mns", set()),
        ("oss", set()),
        ("fc", {"mns", "oss"}),
        ("eventbridge", {"mns", "oss", "fc"}),
        ("inbox", {"mpaas", "mns", "fc"}),
    ],
)
def test_a_local_service_imports_only_services_below_it(name: str, allowed: set[str]) -> None:
    above = (SERVICES | ENTRANCES) - allowed - {name}
    wrong = {
        module: {taken.split(".")[1] for taken in imports(file) if taken.startswith("mpaas_local.")} & above
        for module, file in service(name).items()
    }

    assert len(wrong) > 1
    assert {module: services for module, services in wrong.items() if services} == {}


def test_what_all_local_services_share_imports_none_of_them() -> None:
    shared = {
        name: file
        for name, file in modules("mpaas_local").items()
        if name.count(".") < 2 and not {*name.split(".")} & (SERVICES | ENTRANCES)
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


SHOWN = {
    *("errors", "json_text", "message", "message.advice", "message.constraints.clock", "message.vendors"),
    *("campaign.audience", "campaign.errors", "campaign.model", "campaign.tasks"),
    *("targets", "task"),  # by which it knows the pushes of a campaign
}


def test_the_inbox_knows_no_descriptor_and_of_the_layer_what_it_shows() -> None:
    layer = modules("mpaas_push")
    allowed = {f"mpaas_push.{name}" for name in SHOWN}
    # The message, and the folder of the layer, whose commands it runs.
    names = {"mpaas_push.PushMessage", "mpaas_push.__file__"}
    wrong = {
        module: {
            taken
            for taken in imports(file)
            if taken.split(".")[0] in {"project", "mpaas_push"}
            and module_of(taken, layer) not in allowed
            and taken not in names
        }
        for module, file in service("inbox").items()
    }

    assert len(wrong) > 1
    assert {module: taken for module, taken in wrong.items() if taken} == {}


def circle(known: Mapping[str, Path]) -> str:
    """A circle of imports among modules, if there is one."""
    graph = {
        name: {module_of(taken, known) for taken in imports(file)} & {*known} - {name}
        for name, file in known.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " → ".join(error.args[1])
    return ""


def test_no_module_imports_itself_through_others() -> None:
    assert circle({name: file for room in ROOMS for name, file in modules(room).items()}) == ""


@pytest.mark.parametrize("folder", FUNCTIONS, ids=lambda folder: folder.name)
def test_no_module_of_a_function_imports_itself_through_others(folder: Path) -> None:
    assert circle({file.stem: file for file in folder.glob("*.py")}) == ""


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


@pytest.mark.parametrize("room", [*ROOMS.values(), *(ROOT / name for name in OUTSIDE)])
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


@pytest.mark.parametrize("package", ["campaign", "message"])
def test_a_module_of_a_package_imports_only_those_above_it_in_its_table(package: str) -> None:
    start = f"mpaas_push.{package}"
    known = modules("mpaas_push")
    paths = [
        path.removesuffix(".py").rstrip("/").replace("/", ".")
        for row in PAGE.splitlines()
        if row.startswith(f"| `{package}/")
        for path in re.findall(r"`([\w/.]+)`", row.split("|")[1])
    ]
    position = {f"mpaas_push.{path}": index for index, path in enumerate(paths)}
    for module in known:  # those of a folder that has one row; the cycles among them are tested above
        position.setdefault(module, position.get(module.rpartition(".")[0], -1))
    gathered = (module_of(taken, known) for taken in imports(known[start]))
    position[start] = max((position[module] for module in gathered), default=-1)

    wrong = [
        f"{module} imports {imported}"
        for module, file in known.items()
        if module.startswith(f"{start}.")
        for imported in {module_of(taken, known) for taken in imports(file)} - {module}
        if imported.startswith(start) and position[imported] > position[module]
    ]

    assert len(paths) > 5
    assert wrong == []


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
    # `packages_distributions` of 3.10 misses those that do not list their packages.
    distribution_of: dict[str, str] = {}
    for each in distributions():
        paths = [line.partition(",")[0] for line in (each.read_text("RECORD") or "").splitlines()]
        tops = {path.partition("/")[0].removesuffix(".py") for path in paths}
        # An installation without wheel has no record.
        tops |= set((each.read_text("top_level.txt") or "").split())
        distribution_of |= dict.fromkeys(tops, each.metadata["Name"].lower().replace("_", "-"))

    imported = {name.partition(".")[0] for file in modules("mpaas_push").values() for name in imports(file)}
    foreign = imported - {"mpaas_push", *sys.stdlib_module_names}
    lacking = {name for name in foreign if distribution_of[name] not in named | of_commands}

    assert not lacking
    assert named == set((ROOT / "requirements" / "layer.in").read_text("utf-8").split("\n")[1:]) - {""}
