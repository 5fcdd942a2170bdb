"""The stages of a project: which there are, the settings of each, and where two of them collide.

The settings of a stage are those of `.env`, over them those of `.env.<stage>`, over them those of the shell.
An empty one in `.env.<stage>` unsets that of `.env`.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from mpaas_push.errors import Fault, Misconfigured
from project.descriptor import Descriptor, DescriptorError, descriptor_files, read_functions
from project.env_file import NEEDED, read_env
from project.triggers import Oss
from project.wiring import overlap

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "EXAMPLE",
    "TELL_APART",
    "files_of_settings",
    "missing_settings",
    "name_faults",
    "overridden",
    "read_settings",
    "shared_uploads",
    "stage_file",
    "stage_of",
    "stages",
]

EXAMPLE = "s.sources.yaml"
"""The overlay with message sources that need an instance of their own: to copy from, no stage."""
TELL_APART = "Give each stage its own bucket (UPLOADS_BUCKET in .env.<stage>) or prefix"
"""What to do about two stages that want the same uploads."""
_FIRST = "dev"
"""The stage of `s.yaml` itself."""


def stages(folder: Path) -> Sequence[str]:
    """Return the stages that a folder describes; `validate` reports a file whose name cannot be a stage's."""
    overlays = (path for path in descriptor_files(folder) if path.name not in ("s.yaml", EXAMPLE))
    return [_FIRST, *(name for name in map(stage_of, overlays) if "." not in name and name != _FIRST)]


def stage_file(folder: Path, name: str) -> Path:
    """Return the descriptor of a stage: `s.<stage>.yaml`, and `s.yaml` for `dev`.

    Raises:
        Misconfigured: there is no such stage.
    """
    if name not in stages(folder):
        known = ", ".join(stages(folder))
        hint = f"; {EXAMPLE} is an example to copy from" if f"s.{name}.yaml" == EXAMPLE else ""
        raise Misconfigured(f"there is no stage {name}: there are {known}{hint}")
    return folder / ("s.yaml" if name == _FIRST else f"s.{name}.yaml")


def stage_of(descriptor: Path) -> str:
    """Return the name by which a descriptor is deployed."""
    return _FIRST if descriptor.name == "s.yaml" else descriptor.name[len("s.") : -len(".yaml")]


def name_faults(descriptor: Path, env: Mapping[str, str]) -> Iterator[Fault]:
    """Find a stage that has another name in a descriptor than in the name of its file.

    Without this, a copy would be asked for by one name and deploy or remove the functions of another.

    Raises:
        DescriptorError: the file cannot be read.
    """
    name, described = stage_of(descriptor), Descriptor(descriptor).stage(env)
    if name == _FIRST and descriptor.name != "s.yaml":
        yield Fault("", f"the stage {_FIRST} is s.yaml itself: rename this file, or move its content there")
    elif "." in name:
        yield Fault(
            "", f"the name of a stage has no dot: rename the file, such as s.{name.replace('.', '-')}.yaml"
        )
    elif described and described != name:
        yield Fault(
            "vars.stage", f"is {described}, but {descriptor.name} is the stage {name}: make them equal"
        )


def files_of_settings(folder: Path, name: str) -> list[Path]:
    """Return the files that hold settings of a stage and exist, the weaker first."""
    return [file for file in (folder / ".env", folder / f".env.{name}") if file.is_file()]


def read_settings(folder: Path, name: str, shell: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a stage, with its name as `STAGE`.

    Raises:
        Misconfigured: a file cannot be read, or names another stage.
    """
    settings: dict[str, str] = {}
    for file in files_of_settings(folder, name):
        of_file = read_env(file)
        if (named := of_file.pop("STAGE", "") or name) != name:
            raise Misconfigured(
                f"STAGE is {named} in {file.name}, but {name} was asked for: remove it there,"
                f" `make … STAGE={name}` names the stage"
            )
        settings |= of_file
    settings = {name: value for name, value in settings.items() if value}
    return settings | dict(shell) | {"STAGE": name}


def missing_settings(
    env: Mapping[str, str], stage: str, names: Collection[str] = tuple(NEEDED)
) -> Iterator[Fault]:
    """Find the needed settings of a stage that are missing or of a wrong form."""
    for name, (pattern, what) in NEEDED.items():
        if name in names and not re.fullmatch(pattern, env.get(name, "")):
            is_what = f"is {env[name]!r}" if env.get(name) else "is not set"
            yield Fault(name, f"{is_what}: put {what} into .env.{stage} or .env")


def overridden(folder: Path, name: str, shell: Mapping[str, str]) -> Iterator[str]:
    """Return the settings of a stage that the shell has with another value, which wins."""
    own = read_env(folder / f".env.{name}")
    of_files = read_env(folder / ".env") | own
    for setting, value in of_files.items():
        if setting != "STAGE" and shell.get(setting, value) != value:
            yield f"{setting} of the shell wins over that of {f'.env.{name}' if setting in own else '.env'}"


def shared_uploads(folder: Path, name: str, shell: Mapping[str, str]) -> Iterator[Fault]:
    """Find OSS triggers of a stage that OSS would refuse beside those of another one, were both deployed.

    Stages without a bucket in their settings are passed over.
    """
    ours = _uploads(folder, name, shell)
    for other in stages(folder):
        theirs = _uploads(folder, other, shell) if other != name else {}
        for path, trigger in ours.items():
            for that in theirs.values():
                if trigger.source_arn == that.source_arn and overlap(
                    trigger.trigger_config, that.trigger_config
                ):
                    text = f"wants uploads to {trigger.bucket} that a trigger of the stage {other} wants too"
                    yield Fault(path, f"{text}: OSS would refuse the second of them. {TELL_APART}")


def _uploads(folder: Path, name: str, shell: Mapping[str, str]) -> dict[str, Oss]:
    """Return the OSS triggers of a stage by their path in the descriptor."""
    with suppress(DescriptorError, Misconfigured):  # reported where that file is checked
        env = read_settings(folder, name, shell)
        path = stage_file(folder, name)
        if any(missing_settings(env, name, ("ALIBABA_CLOUD_ACCOUNT_ID", "UPLOADS_BUCKET"))):
            return {}
        return {
            f"resources.{resource}.props.triggers.{trigger.trigger_name}": trigger
            for resource, function in read_functions(path, env).items()
            for trigger in function.triggers
            if isinstance(trigger, Oss)
        }
    return {}
