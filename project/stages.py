"""The stages of a project, the settings of each, and conflicts between stages.

A stage's settings come from `.env`, `.env.<stage>` and the shell; later ones override earlier ones. An empty
value in `.env.<stage>` unsets the one in `.env`.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from mpaas_push.errors import Fault, Misconfigured
from project.descriptor import Descriptor, DescriptorError, descriptor_files, read_functions
from project.env_file import REQUIRED_SETTINGS, read_env
from project.triggers import Oss
from project.wiring import overlap

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "EXAMPLE",
    "SEPARATE_UPLOADS",
    "missing_settings",
    "name_faults",
    "overridden_settings",
    "read_settings",
    "settings_files",
    "shared_uploads",
    "stage_file",
    "stage_of",
    "stages",
]

EXAMPLE = "s.sources.yaml"
"""The overlay with message sources that need an instance: an example to copy from, not a stage."""
SEPARATE_UPLOADS = "Give each stage its own bucket (UPLOADS_BUCKET in .env.<stage>) or prefix"
"""How to resolve that two stages match the same uploads."""
_FIRST = "dev"
"""The stage of `s.yaml` itself."""


def stages(folder: Path) -> Sequence[str]:
    """Return the stages of a project; `validate` reports files whose names are not valid stage names."""
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
        raise Misconfigured(f"there is no stage {name}; the stages are {known}{hint}")
    return folder / ("s.yaml" if name == _FIRST else f"s.{name}.yaml")


def stage_of(descriptor: Path) -> str:
    """Return the stage of a descriptor, from its file name."""
    return _FIRST if descriptor.name == "s.yaml" else descriptor.name[len("s.") : -len(".yaml")]


def name_faults(descriptor: Path, env: Mapping[str, str]) -> Iterator[Fault]:
    """Find a descriptor whose `vars.stage` differs from its file name.

    Otherwise a copied descriptor would deploy or remove the functions of another stage.

    Raises:
        DescriptorError: the file cannot be read.
    """
    name, described = stage_of(descriptor), Descriptor(descriptor).stage(env)
    if name == _FIRST and descriptor.name != "s.yaml":
        yield Fault("", f"the stage {_FIRST} is s.yaml itself: rename this file, or move its content there")
    elif "." in name:
        yield Fault(
            "",
            f"a stage name must not contain a dot: rename the file, such as s.{name.replace('.', '-')}.yaml",
        )
    elif described and described != name:
        yield Fault(
            "vars.stage", f"is {described}, but {descriptor.name} is the stage {name}: make them equal"
        )


def settings_files(folder: Path, name: str) -> list[Path]:
    """Return the settings files of a stage that exist; later ones override earlier ones."""
    return [file for file in (folder / ".env", folder / f".env.{name}") if file.is_file()]


def read_settings(folder: Path, name: str, shell: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a stage, with its name as `STAGE`.

    Raises:
        Misconfigured: a file cannot be read, or names another stage.
    """
    settings: dict[str, str] = {}
    for file in settings_files(folder, name):
        file_settings = read_env(file)
        if (named := file_settings.pop("STAGE", "") or name) != name:
            raise Misconfigured(
                f"STAGE is {named} in {file.name}, but the requested stage is {name}: remove the"
                f" line; `make … STAGE={name}` selects the stage"
            )
        settings |= file_settings
    settings = {name: value for name, value in settings.items() if value}
    return settings | dict(shell) | {"STAGE": name}


def missing_settings(
    env: Mapping[str, str], stage: str, names: Collection[str] = tuple(REQUIRED_SETTINGS)
) -> Iterator[Fault]:
    """Find required settings of a stage that are missing or malformed."""
    for name, (pattern, what) in REQUIRED_SETTINGS.items():
        if name in names and not re.fullmatch(pattern, env.get(name, "")):
            problem = f"is {env[name]!r}" if env.get(name) else "is not set"
            yield Fault(name, f"{problem}: put {what} into .env.{stage} or .env")


def overridden_settings(folder: Path, name: str, shell: Mapping[str, str]) -> Iterator[str]:
    """Describe the settings of a stage's files that the shell overrides with another value."""
    stage_settings = read_env(folder / f".env.{name}")
    for setting, value in (read_env(folder / ".env") | stage_settings).items():
        if setting != "STAGE" and shell.get(setting, value) != value:
            file = f".env.{name}" if setting in stage_settings else ".env"
            yield f"the shell overrides {setting} of {file}"


def shared_uploads(folder: Path, name: str, shell: Mapping[str, str]) -> Iterator[Fault]:
    """Find OSS triggers of a stage that OSS would refuse if another stage were deployed as well.

    Stages without a bucket in their settings are skipped.
    """
    ours = _uploads(folder, name, shell)
    for other in stages(folder):
        theirs = _uploads(folder, other, shell) if other != name else {}
        for path, trigger in ours.items():
            for other_trigger in theirs.values():
                if trigger.source_arn == other_trigger.source_arn and overlap(
                    trigger.trigger_config, other_trigger.trigger_config
                ):
                    text = f"a trigger of the stage {other} matches the same uploads to {trigger.bucket}"
                    yield Fault(path, f"{text}: OSS would refuse the second one. {SEPARATE_UPLOADS}")


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
