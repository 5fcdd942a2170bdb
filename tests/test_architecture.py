"""Imports run one way, and docs/architecture.md names every module."""

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
PACKAGES = {
    "mpaas_push": ROOT / "shared" / "mpaas_push",
    "project": ROOT / "project",
    "deploy": ROOT / "deploy",
    "mpaas_local": ROOT / "mpaas_local",
}
OUTSIDE = ("functions", "benchmarks", "tests")
"""Folders that none of these packages imports."""


def modules(package: str) -> dict[str, Path]:
    """Return the files of a package's modules by dotted name; a package has its own name."""
    folder = PACKAGES[package]
    files = {}
    for file in sorted(folder.rglob("*.py")):
        path = file.relative_to(folder.parent).with_suffix("")
        files[".".join(path.parts).removesuffix(".__init__")] = file
    return files


@cache
def imports(file: Path) -> Sequence[str]:
    """Return the names that a module imports, including those for types, such as `mpaas_push.errors.Fault`."""
    return [*_imports(ast.parse(file.read_text("utf-8")))]


def _imports(module: ast.Module) -> Iterator[str]:
    pending: list[ast.AST] = [module]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)
        else:
            match node:
                case ast.Call(ast.Name("import_module" | "__import__"), [ast.Constant(str(name)), *_]):
                    yield name
                case ast.Call(ast.Attribute(attr="import_module"), [ast.Constant(str(name)), *_]):
                    yield name
            pending += ast.iter_child_nodes(node)


def module_of(name: str, known: Container[str]) -> str:
    """Return the module of an imported name: `mpaas_push.errors` for `mpaas_push.errors.Fault`."""
    return name if name in known else name.rpartition(".")[0]


def used_packages(file: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(file)} & {*PACKAGES, *OUTSIDE}


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("mpaas_push", {"mpaas_push"}),
        ("project", {"project", "mpaas_push"}),
        ("deploy", {"deploy", "project", "mpaas_push"}),
        ("mpaas_local", {"mpaas_local", "project", "mpaas_push"}),
    ],
)
def test_package_imports_only_packages_below_it(package: str, allowed: set[str]) -> None:
    wrong = {name: used_packages(file) - allowed for name, file in modules(package).items()}

    assert {name: packages for name, packages in wrong.items() if packages} == {}


FUNCTIONS = sorted((ROOT / "functions").glob("*_push"))


def test_functions_import_only_the_layer() -> None:
    wrong = {
        file: used_packages(file) - {"mpaas_push"} for folder in FUNCTIONS for file in folder.rglob("*.py")
    }

    assert len(wrong) > 1
    assert {file: packages for file, packages in wrong.items() if packages} == {}


def service(name: str) -> dict[str, Path]:
    """Return the modules of a local service."""
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
def test_local_service_shares_no_code_with_the_code_it_checks_or_runs(name: str, allowed: set[str]) -> None:
    wrong = {
        module: used_packages(file) - {"mpaas_local"} - allowed for module, file in service(name).items()
    }

    assert len(wrong) > 1
    assert {module: rooms for module, rooms in wrong.items() if rooms} == {}


SERVICES = {"mpaas", "mns", "oss", "fc", "eventbridge", "inbox"}
ENTRY_POINTS = {"__main__", "demo", "pictures", "stack", "tick", "upload"}


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
def test_local_service_imports_only_services_below_it(name: str, allowed: set[str]) -> None:
    above = (SERVICES | ENTRY_POINTS) - allowed - {name}
    wrong = {
        module: {imported.split(".")[1] for imported in imports(file) if imported.startswith("mpaas_local.")}
        & above
        for module, file in service(name).items()
    }

    assert len(wrong) > 1
    assert {module: services for module, services in wrong.items() if services} == {}


def test_shared_local_modules_import_no_service() -> None:
    shared = {
        name: file
        for name, file in modules("mpaas_local").items()
        if name.count(".") < 2 and not {*name.split(".")} & (SERVICES | ENTRY_POINTS)
    }
    wrong = {
        name: [
            imported
            for imported in imports(file)
            if imported.split(".")[0] in {"project", "mpaas_push"}
            or (imported.startswith("mpaas_local.") and imported.split(".")[1] in SERVICES | ENTRY_POINTS)
        ]
        for name, file in shared.items()
    }

    assert "mpaas_local.loopback" in shared
    assert {name: imported for name, imported in wrong.items() if imported} == {}


SHOWN_MODULES = {
    *("errors", "json_text", "message", "message.advice", "message.constraints.clock", "message.vendors"),
    *("campaign.audience", "campaign.errors", "campaign.model", "campaign.tasks"),
    *("targets", "task"),  # to recognise the pushes of a campaign
}


def test_inbox_imports_no_descriptor_and_only_what_it_shows_of_the_layer() -> None:
    layer = modules("mpaas_push")
    allowed = {f"mpaas_push.{name}" for name in SHOWN_MODULES}
    # The message class, and the folder of the layer, whose commands the inbox runs.
    names = {"mpaas_push.PushMessage", "mpaas_push.__file__"}
    wrong = {
        module: {
            imported
            for imported in imports(file)
            if imported.split(".")[0] in {"project", "mpaas_push"}
            and module_of(imported, layer) not in allowed
            and imported not in names
        }
        for module, file in service("inbox").items()
    }

    assert len(wrong) > 1
    assert {module: imported for module, imported in wrong.items() if imported} == {}


def import_cycle(known: Mapping[str, Path]) -> str:
    """Return an import cycle among the modules, or an empty text."""
    graph = {
        name: {module_of(imported, known) for imported in imports(file)} & {*known} - {name}
        for name, file in known.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " → ".join(error.args[1])
    return ""


def test_modules_have_no_import_cycle() -> None:
    assert import_cycle({name: file for package in PACKAGES for name, file in modules(package).items()}) == ""


@pytest.mark.parametrize("folder", FUNCTIONS, ids=lambda folder: folder.name)
def test_modules_of_a_function_have_no_import_cycle(folder: Path) -> None:
    assert import_cycle({file.stem: file for file in folder.glob("*.py")}) == ""


def is_positional_dataclass(statement: ast.ClassDef) -> bool:
    """Whether a class is a dataclass with more than four fields that accept positional arguments."""
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


@pytest.mark.parametrize("folder", [*PACKAGES.values(), *(ROOT / name for name in OUTSIDE)])
def test_dataclass_with_more_than_four_fields_is_keyword_only(folder: Path) -> None:
    positional = [
        f"{file.relative_to(ROOT)}: {statement.name}"
        for file in folder.rglob("*.py")
        if "@dataclass" in (text := file.read_text("utf-8"))
        for statement in ast.walk(ast.parse(text))
        if isinstance(statement, ast.ClassDef) and is_positional_dataclass(statement)
    ]

    assert positional == []


PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def calls(file: Path, function: str) -> Iterator[ast.Call]:
    """Yield the calls of a function by its dotted name, such as `urllib3.request`."""
    text = file.read_text("utf-8")
    for node in ast.walk(ast.parse(text)) if f"{function}(" in text else ():
        if isinstance(node, ast.Call) and ast.unparse(node.func) == function:
            yield node


@pytest.mark.parametrize("folder", ["mpaas_local", "tests"])
def test_every_request_has_a_timeout(folder: str) -> None:
    # The default timeout of urllib3.request is three seconds; a busy machine takes longer to start a function.
    without_timeout = [
        f"{file.relative_to(ROOT)}:{call.lineno}"
        for file in (ROOT / folder).rglob("*.py")
        for call in calls(file, "urllib3.request")
        if "timeout" not in {keyword.arg for keyword in call.keywords}
    ]

    assert without_timeout == []


def test_every_module_and_folder_named_in_the_architecture_exists() -> None:
    names = set(re.findall(r"`([\w/]+(?:\.py|/))`", PAGE))
    folders = (
        ROOT,
        PACKAGES["mpaas_push"],
        *PACKAGES["mpaas_local"].glob("**/"),
        *(ROOT / "functions").glob("*/"),
    )

    assert len(names) > 200
    assert {name for name in names if not any((folder / name).exists() for folder in folders)} == set()


@pytest.mark.parametrize("package", ["mpaas_push", "project", "deploy"])
def test_architecture_names_every_module(package: str) -> None:
    start = PACKAGES[package] if package == "mpaas_push" else ROOT
    paths = [file.relative_to(start).as_posix() for file in modules(package).values()]

    missing = {path for path in paths if not path.endswith("__.py") and f"`{path}`" not in PAGE}

    assert len(paths) > 10
    assert missing - {"project/templates/http.py"} == set()


@pytest.mark.parametrize("package", ["campaign", "message"])
def test_module_of_a_package_imports_only_modules_above_it_in_the_table(package: str) -> None:
    start = f"mpaas_push.{package}"
    known = modules("mpaas_push")
    paths = [
        path.removesuffix(".py").rstrip("/").replace("/", ".")
        for row in PAGE.splitlines()
        if row.startswith(f"| `{package}/")
        for path in re.findall(r"`([\w/.]+)`", row.split("|")[1])
    ]
    position = {f"mpaas_push.{path}": index for index, path in enumerate(paths)}
    for module in known:  # modules of a folder with one row; cycles among them are tested above
        position.setdefault(module, position.get(module.rpartition(".")[0], -1))
    reexported = (module_of(name, known) for name in imports(known[start]))
    position[start] = max((position[module] for module in reexported), default=-1)

    wrong = [
        f"{module} imports {imported}"
        for module, file in known.items()
        if module.startswith(f"{start}.")
        for imported in {module_of(name, known) for name in imports(file)} - {module}
        if imported.startswith(start) and position[imported] > position[module]
    ]

    assert len(paths) > 5
    assert wrong == []


def test_architecture_names_every_folder_and_shared_module() -> None:
    local = PACKAGES["mpaas_local"]
    shared = {file.name for file in local.glob("*.py") if not file.name.startswith("__")}
    rooms = {f"{file.parent.name}/" for file in local.glob("*/__init__.py")}
    functions = {file.name for file in (ROOT / "functions").glob("*/*.py")}

    assert {name for name in shared - {"stack.py"} | rooms | functions if f"{name}`" not in PAGE} == set()


def test_every_package_imported_by_the_layer_is_a_declared_dependency() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    declared = {name.lower() for name in re.findall(r'^ +"([\w-]+)>=', text, re.MULTILINE)}
    cli_only = {"cronsim", "rich"}  # the extra `cli`
    # In Python 3.10, `packages_distributions` misses distributions that do not list their packages.
    distribution_of: dict[str, str] = {}
    for distribution in distributions():
        paths = [line.partition(",")[0] for line in (distribution.read_text("RECORD") or "").splitlines()]
        packages = {path.partition("/")[0].removesuffix(".py") for path in paths}
        # A distribution installed without a wheel has no RECORD.
        packages |= set((distribution.read_text("top_level.txt") or "").split())
        distribution_of |= dict.fromkeys(packages, distribution.metadata["Name"].lower().replace("_", "-"))

    imported = {name.partition(".")[0] for file in modules("mpaas_push").values() for name in imports(file)}
    third_party = imported - {"mpaas_push", *sys.stdlib_module_names}
    missing = {name for name in third_party if distribution_of[name] not in declared | cli_only}

    assert not missing
    assert declared == set((ROOT / "requirements" / "layer.in").read_text("utf-8").split("\n")[1:]) - {""}
