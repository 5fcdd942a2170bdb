"""`python -m deploy COMMAND --stage STAGE`: manage and inspect a deployment.

Exit codes: 0 success; 1 a step failed or the cloud differs; 2 something is missing and nothing was changed;
130 interrupted.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from deploy.cloud import CloudRefused
from deploy.deploy import DeploymentFailed, deploy, find_layer
from deploy.external_resources import external_differences
from deploy.layer import ROOT, BuildFailed, build
from deploy.plan import Difference, differences, print_differences, print_table
from deploy.preflight import preflight
from deploy.releases import (
    NO_GIT,
    Release,
    alias_descriptions,
    fallback_release,
    git,
    live_release,
    previous_release,
    releases,
)
from deploy.removal import delete_function, find_orphaned_functions, make_deletable, removals
from deploy.serverless import missing_command
from deploy.stage import Stage, read_stage
from mpaas_push.errors import PushError
from project.env_file import ACCOUNT_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


INTERRUPTED = 130
"""Exit code of an interrupted command, as in shells."""


class NothingChanged(PushError):
    """Something is missing or not confirmed; nothing was changed in the cloud."""


def plan_stage(stage: Stage, package: Path | None) -> int:
    """Show what a deployment would change, without changing anything."""
    _require_settings(stage)
    cloud = stage.cloud()
    version = find_layer(stage, cloud, package or build(stage.runtime))
    planned: list[Difference] = []
    if version is None:
        planned.append(Difference(function=stage.layer, what="layer", change="add", after="a new version"))
        version = max((int(layer["version"]) for layer in cloud.layer_versions(stage.layer)), default=0) + 1
    planned += differences(stage.with_layer(stage.layer_arn(version)).plans(), cloud)
    orphans_checked = True
    try:
        planned += removals(stage, cloud)
    except CloudRefused as error:
        orphans_checked = False
        print(f"note: could not check for functions that {stage.descriptor.name} no longer has: {error}")
    findings = preflight(stage)
    for text in findings.missing:
        print(f"fix first: {text}")
    for what in findings.unverified:
        print(f"note: could not check whether {what} exists")
    external, uncompared = external_differences(stage)
    if planned:
        print_differences(planned)
        changes = "1 change" if len(planned) == 1 else f"{len(planned)} changes"
        print(f"make deploy STAGE={stage.name} would make {changes}")
    if external:
        print_differences(external)
        print(
            "not changed by make deploy: make prepare changes queues,"
            " an administrator changes role and EventBridge"
        )
    for what in uncompared:
        print(f"note: could not compare {what}")
    if not planned and not external and not findings.missing:
        complete = orphans_checked and not findings.unverified and not uncompared
        print("nothing would change" + ("" if complete else " in the parts that could be read"))
    return 0


def deploy_stage(stage: Stage, package: Path | None, *, unchecked: bool) -> int:
    """Deploy, after checking the prerequisites."""
    _check(stage, unchecked=unchecked)
    deploy(stage, package=package)
    print(f"next: make smoke STAGE={stage.name}")
    return 0


def list_versions(stage: Stage) -> int:
    """List the releases, latest first."""
    _require_settings(stage, ACCOUNT_SETTINGS)
    cloud, names = stage.cloud(), _names(stage)
    history, descriptions = releases(cloud, names), alias_descriptions(cloud, names)
    live, fallback = live_release(descriptions), fallback_release(descriptions)
    if not history:
        print(f"{stage.name} has no release yet")
        return 0
    table = Table(box=None, pad_edge=False, show_edge=False)
    for column in ("deployed (UTC)", "commit", "layer", ""):
        table.add_column(column)
    for release in history:
        table.add_row(
            f"{release.at:%Y-%m-%d %H:%M:%S}",
            release.commit,
            str(release.layer),
            "live" if release == live else "",
        )
    print_table(table)
    if fallback:
        target = _rollback_target(history, live, fallback)
        way_back = f", or make rollback to return to {target}" if target and target.is_committed else ""
        print(f"a deployment is running or did not finish; if none is running: make deploy{way_back}")
    return 0


def roll_back(stage: Stage) -> int:
    """Deploy the previous release again: its commit, its triggers, its version of the layer.

    If the last deployment did not finish, that is the release before it.
    """
    _require_settings(stage)
    cloud, names = stage.cloud(), _names(stage)
    history, descriptions = releases(cloud, names), alias_descriptions(cloud, names)
    live, fallback = live_release(descriptions), fallback_release(descriptions)
    if not history:
        raise NothingChanged(f"{stage.name} has no release yet: make deploy creates one")
    if live is None and fallback is None:
        raise NothingChanged(
            f"the functions of {stage.name} belong to several releases because a deployment was interrupted:"
            " run make deploy again"
        )
    target = _rollback_target(history, live, fallback)
    if target is None:
        raise NothingChanged("there is no previous release")
    if not target.is_committed:
        raise NothingChanged(
            f"the release of {target.at:%Y-%m-%d %H:%M} is not fully committed ({target.commit})"
        )
    if all(int(layer["version"]) != target.layer for layer in cloud.layer_versions(stage.layer)):
        raise NothingChanged(
            f"version {target.layer} of {stage.layer} was deleted: check out {target.commit} and deploy it"
        )
    print(f"rolling back from {live or 'an unfinished deployment'} to {target}")
    with _checkout(stage.folder, target.commit) as folder:
        now = datetime.now(timezone.utc).replace(microsecond=0)
        target_stage = Stage(name=stage.name, folder=folder, env=stage.env)
        _check(target_stage)
        deploy(target_stage, target.layer, release=Release(commit=target.commit, layer=target.layer, at=now))
    return 0


def _rollback_target(
    history: Sequence[Release], live: Release | None, fallback: Release | None
) -> Release | None:
    """Return the release before the live one, or before an unfinished deployment; None if there is none.

    After an unfinished deployment, a release that is not committed is passed over.
    """
    if fallback and fallback.is_committed:
        return fallback
    current = live or fallback
    return previous_release(history, current) if current else None


def remove_stage(stage: Stage, *, confirmed: bool) -> int:
    """Remove functions and triggers, and verify that none is left."""
    _require_settings(stage, ACCOUNT_SETTINGS)
    _require_s(stage)
    if not confirmed and not _confirm(stage):
        raise NothingChanged(
            f"the confirmation was not {stage.name}; --yes (make: ARGS=--yes) removes without confirmation"
        )
    cloud = stage.cloud()
    for name in _names(stage):
        if cloud.function(name) is not None:
            make_deletable(cloud, name)
    orphans = find_orphaned_functions(stage, cloud)
    for name in orphans or ():
        if error := delete_function(cloud, name):
            print(f"{name}: {error}", file=sys.stderr)
    code = stage.serverless().remove()
    names = [*_names(stage), *(orphans or ())]
    remaining = [name for name in names if cloud.function(name) is not None]
    for name in remaining:
        triggers = ", ".join(cloud.triggers(name)) or "none"
        print(f"not removed: {name} (triggers: {triggers})", file=sys.stderr)
    if remaining:
        raise DeploymentFailed(f"not everything was removed; s exited with {code}: see its output above")
    if orphans is None:
        raise DeploymentFailed(
            f"the functions of {stage.descriptor.name} are removed; could not check for functions that it no"
            " longer has"
        )
    print(f"removed and read back: no function of {stage.name} is left; queues, role and layers remain")
    return 0


def follow_logs(stage: Stage, resource: str) -> int:
    """Follow the logs of a function until interrupted."""
    _require_settings(stage, ACCOUNT_SETTINGS)
    _require_s(stage)
    if resource not in stage.functions:
        known = ", ".join(stage.functions)
        raise NothingChanged(f"{stage.descriptor.name} has no function {resource}; its functions are {known}")
    return min(stage.serverless().logs(resource), 1)


def _names(stage: Stage) -> list[str]:
    return [function.function_name for function in stage.functions.values()]


def _require_settings(stage: Stage, names: tuple[str, ...] | None = None) -> None:
    if faults := stage.setting_faults() if names is None else stage.setting_faults(names):
        raise NothingChanged("\n" + "\n".join(f"  - {fault}" for fault in faults))


def _require_s(stage: Stage) -> None:
    if text := missing_command(stage.env):
        raise NothingChanged(text)


def _check(stage: Stage, *, unchecked: bool = False) -> None:
    findings = preflight(stage)
    for what in findings.unverified:
        print(f"note: could not check whether {what} exists", file=sys.stderr)
    if findings.missing and (not unchecked or stage.setting_faults()):
        raise NothingChanged("\n" + "\n".join(f"  - {text}" for text in findings.missing))


def _confirm(stage: Stage) -> bool:
    """Ask for the name of the stage as confirmation; return whether it was entered."""
    print(f"This removes the functions and triggers of the stage {stage.name} from the cloud.")
    try:
        return input(f"Type {stage.name} to continue: ").strip() == stage.name
    except EOFError:
        return False


@contextmanager
def _checkout(project: Path, commit: str) -> Iterator[Path]:
    """Check out a commit of the project's repository, and yield the project's folder in it."""
    prefix = git(project, "rev-parse", "--show-prefix").stdout.strip()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "checkout"
        result = git(project, "worktree", "add", "--quiet", "--detach", str(folder), commit)
        if result.returncode == NO_GIT:
            raise NothingChanged("git is not installed; it is needed to check out the earlier commit")
        if result.returncode:
            raise NothingChanged(f"commit {commit} is not in this repository: fetch it first")
        try:
            yield folder / prefix
        finally:
            git(project, "worktree", "remove", "--force", str(folder))


def _package(path: str) -> Path:
    """Return the absolute path of a package, since `s` does not run in this folder."""
    package = Path(path).absolute()
    if not package.is_file():
        raise argparse.ArgumentTypeError(f"{path} is not a file; make layer prints where the package is")
    return package


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy", description="Deployments of this project.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("plan", "show what a deployment would change"),
        ("deploy", "deploy a stage and verify the result"),
        ("versions", "list the releases"),
        ("rollback", "deploy the previous release again"),
        ("remove", "remove a stage from the cloud"),
        ("logs", "follow the logs of a function"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--stage", default="dev", help="default: dev")
        command.add_argument(
            "--folder", type=Path, default=ROOT, help="the project's folder; default: this repository"
        )
        if name in {"plan", "deploy"}:
            command.add_argument(
                "--layer", type=_package, help="a package from `make layer`; default: build one"
            )
        if name == "deploy":
            command.add_argument(
                "--unchecked", action="store_true", help="deploy even if a prerequisite seems missing"
            )
        elif name == "remove":
            command.add_argument("--yes", action="store_true", help="do not ask for confirmation")
        elif name == "logs":
            command.add_argument("--function", default="http_push", help="its name in s.yaml")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except NothingChanged as error:
        print(f"make {options.command} changed nothing: {error}", file=sys.stderr)
        return 2
    except (BuildFailed, PushError) as error:
        print(f"{options.command} failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{options.command} was interrupted", file=sys.stderr)
        return INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    try:
        stage = read_stage(options.stage, options.folder.resolve())
    except PushError as error:
        raise NothingChanged(str(error)) from None
    if options.command == "plan":
        return plan_stage(stage, options.layer)
    if options.command == "deploy":
        return deploy_stage(stage, options.layer, unchecked=options.unchecked)
    if options.command == "versions":
        return list_versions(stage)
    if options.command == "rollback":
        return roll_back(stage)
    if options.command == "remove":
        return remove_stage(stage, confirmed=options.yes)
    return follow_logs(stage, options.function)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cancelled pipeline is an interruption
    sys.exit(main())
