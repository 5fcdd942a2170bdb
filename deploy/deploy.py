"""Deploys a stage: checks what is needed, publishes the layer, then lets Serverless Devs do the rest.

`python -m deploy.deploy deploy --stage staging` reads the settings from `.env`. Before anything is changed in
the cloud, everything that is missing is named at once.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.layer import ROOT, BuildFailed, build, runtime_of
from mpaas_push.errors import Misconfigured
from project.descriptor import DescriptorError, read_functions
from project.env_file import NEEDED, OF_FUNCTION_COMPUTE, read_env

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = ["STAGES", "DeploymentFailed", "missing", "missing_settings", "other_stage"]

STAGES = {"dev": "s.yaml", "staging": "s.staging.yaml", "prod": "s.prod.yaml"}
LAYER_ARN = re.compile(r"acs:fc:[\w-]+:\w+:layers/[\w-]+/versions/[0-9]+")
CLI = "npm install -g @serverless-devs/s@3.1.10"
OF_THE_ACCOUNT = ("ALIBABA_CLOUD_ACCOUNT_ID", "ALIBABA_CLOUD_REGION_ID")
"""Settings that name what is there already; only what is deployed needs the others."""


class DeploymentFailed(Exception):
    """A step of the deployment failed; the text says which and what to do."""


def missing_settings(env: Mapping[str, str], file: Path, names: Collection[str] = tuple(NEEDED)) -> list[str]:
    """Name the settings that are missing or of a wrong form, each with what belongs there."""
    return [
        f"{name} is {'not set' if not env.get(name) else f'{env[name]!r}'}: put {what} into {file.name}"
        for name, (pattern, what) in NEEDED.items()
        if name in names and not re.fullmatch(pattern, env.get(name, ""))
    ]


def other_stage(file: Path, stage: str) -> list[str]:
    """Name the stage that a file of settings speaks of, if it is not the one that was asked for.

    Raises:
        Misconfigured: the file is not UTF-8.
    """
    named = read_env(file).get("STAGE", stage)
    told = f"STAGE is {named!r} in {file.name}, but {stage} was asked for"
    return [f"{told}: remove it there, `make … STAGE={stage}` names the stage"] if named != stage else []


def missing(
    env: Mapping[str, str], stage: str, file: Path, folder: Path = ROOT, *, deploys: bool = True
) -> list[str]:
    """Name everything that is lacking, each with what to do.

    Args:
        env: The settings.
        stage: Which deployment.
        file: Where settings belong.
        folder: Whose descriptors are deployed.
        deploys: Whether functions are to be deployed; to follow or remove what is there needs less.
    """
    found = other_stage(file, stage) + missing_settings(env, file, NEEDED if deploys else OF_THE_ACCOUNT)
    if "FC_REGION" in env:
        found.append(f"FC_REGION is set; unset it: {OF_FUNCTION_COMPUTE}")
    if deploys:
        found += _unusable(env, folder / STAGES[stage])
    if shutil.which("s", path=env.get("PATH")) is None:
        found.append(f"the command s is not there: {CLI}")
    elif not _has_access(env):
        alias = env.get("SERVERLESS_ACCESS", "default")
        found.append(f"the access {alias} is not there: s config add -a {alias}, keys of a deployer")
    if deploys and (role := _missing_role(env, stage)):
        found.append(role)
    return found


def _unusable(env: Mapping[str, str], descriptor: Path) -> list[str]:
    try:
        runtime_of(read_functions(descriptor, env).values())
    except (DescriptorError, BuildFailed) as error:
        return [f"{descriptor.name} cannot be used: {error}"]
    return []


def _has_access(env: Mapping[str, str]) -> bool:
    alias = env.get("SERVERLESS_ACCESS", "default")
    if alias in env or {"AccountID", "AccessKeyID", "AccessKeySecret"} <= env.keys():
        return True
    home = Path(env.get("serverless_devs_config_home") or env.get("HOME") or "~").expanduser()
    file = home / ".s" / "access.yaml"
    return (
        file.is_file()
        and re.search(rf"^{re.escape(alias)}:", file.read_text("utf-8"), re.MULTILINE) is not None
    )


def _missing_role(env: Mapping[str, str], stage: str) -> str | None:
    """Ask for the function's role, where the command of Alibaba Cloud is there to ask.

    Any other failure than the answer that there is none says nothing: a deployer need not be allowed to ask.
    """
    if shutil.which("aliyun", path=env.get("PATH")) is None:
        return None
    role = f"mpaas-push-{stage}"
    asked = _run(["aliyun", "ram", "GetRole", "--RoleName", role], env)
    if asked.returncode == 0 or "EntityNotExist" not in asked.stdout + asked.stderr:
        return None
    return f"the role {role} is not there: create it (docs/deploy.md, step 5)"


def deploy(stage: str, env: dict[str, str], folder: Path = ROOT) -> None:
    """Build and publish the layer, then deploy the stage.

    Raises:
        BuildFailed: the layer could not be built.
        DeploymentFailed: Serverless Devs failed, or published no layer.
    """
    runtime = runtime_of(read_functions(folder / STAGES[stage], env).values())
    layer = build(runtime)
    print(f"layer   {layer} ({layer.stat().st_size:,} bytes)")
    publish = ["s", "cli", "fc3", "layer", "publish", "--region", env["ALIBABA_CLOUD_REGION_ID"]]
    publish += ["--layer-name", f"mpaas-push-{stage}", "--code", str(layer)]
    publish += ["--compatible-runtime", runtime, "-a", env.get("SERVERLESS_ACCESS", "default")]
    published = _run(publish, env)
    arn = LAYER_ARN.search(published.stdout)
    if published.returncode or arn is None:
        raise DeploymentFailed(f"the layer was not published:\n{_last(published)}")
    print(f"        {arn[0]}")
    _s(["deploy", "-y", "-t", STAGES[stage]], env | {"MPAAS_LAYER_ARN": arn[0]}, folder)
    print(f"deployed; now: python -m project smoke --stage {stage}")


def _s(arguments: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
    access = env.get("SERVERLESS_ACCESS", "default")
    done = subprocess.run(["s", *arguments, "-a", access], check=False, cwd=folder, env=dict(env))  # noqa: S603, S607
    if done.returncode:
        raise DeploymentFailed(f"s {arguments[0]} failed with exit code {done.returncode}")


def _run(command: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - commands of this module, on PATH
        command, check=False, cwd=ROOT, env=dict(env), capture_output=True, text=True
    )


def _last(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stdout + done.stderr).strip()[-2000:]


def _agreed(stage: str) -> bool:
    """Ask for the stage's name, since a stage that is gone pushes nothing; no answer is no agreement."""
    print(f"This removes the functions and triggers of the stage {stage} from the cloud.")
    try:
        return input(f"Type {stage} to go on: ").strip() == stage
    except EOFError:
        return False


def main() -> int:
    """Do what is asked for: 0 done; 1 something failed; 2 something is missing, nothing was changed."""
    parser = argparse.ArgumentParser(prog="python -m deploy.deploy", description=__doc__)
    parser.add_argument("action", choices=("deploy", "logs", "remove"))
    parser.add_argument("--stage", choices=STAGES, default="dev")
    parser.add_argument("--function", default="http_push", help="whose logs; its name in s.yaml")
    parser.add_argument("--yes", action="store_true", help="remove without a question")
    parser.add_argument(
        "--folder", type=Path, default=ROOT, help="whose descriptors; by default this project"
    )
    parser.add_argument("--settings", type=Path, default=ROOT / ".env", help=".env by default")
    options = parser.parse_args()
    try:
        env = read_env(options.settings) | dict(os.environ) | {"STAGE": options.stage}
    except Misconfigured as error:
        print(f"cannot {options.action}; nothing was changed: {error}", file=sys.stderr)
        return 2
    deploys = options.action == "deploy"
    if lacks := missing(env, options.stage, options.settings, options.folder, deploys=deploys):
        print(f"cannot {options.action}; nothing was changed:", file=sys.stderr)
        print("\n".join(f"  - {each}" for each in lacks), file=sys.stderr)
        return 2
    if options.action == "remove" and not options.yes and not _agreed(options.stage):
        told = f"the answer was not {options.stage}; --yes (make: ARGS=--yes) removes without a question"
        print(f"\nnothing was removed: {told}", file=sys.stderr)
        return 2
    try:
        if options.action == "deploy":
            deploy(options.stage, env, options.folder)
        elif options.action == "logs":
            _s([options.function, "logs", "--tail", "-t", STAGES[options.stage]], env, options.folder)
        else:
            _s(["remove", "-y", "-t", STAGES[options.stage]], env, options.folder)
    except (BuildFailed, DeploymentFailed) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
