"""The releases of a stage, recorded in the published versions of its functions.

Each deployment publishes a version of every function, with the `Release` as its description, and points the
alias `live` to it. If the cloud refuses a new version of an unchanged function, an alias `release-<time>` has
the description instead. A version has a function's code and configuration but not its triggers, so a rollback
deploys the release's commit (docs/decisions).
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from deploy.cloud import CONCURRENT, CloudRefused
from deploy.code import NOT_CODE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from deploy.cloud import Cloud

__all__ = [
    "ALIAS",
    "NO_GIT",
    "Release",
    "alias_descriptions",
    "begin_release",
    "commit_of",
    "fallback_release",
    "git",
    "live_release",
    "previous_release",
    "record_release",
    "releases",
]

ALIAS = "live"
"""The alias of the last deployed version."""
NO_GIT = 127
"""Exit code if git is not installed, as in shells."""
UNCHANGED = {304, 409, 412}
"""Statuses of a function that has not changed since its last version, unless the code is `CONCURRENT`."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One deployment.

    Attributes:
        commit: The deployed commit, with ``-dirty`` if files differed from it.
        layer: Version of the layer.
        at: Time in UTC, to the second.
    """

    commit: str
    layer: int
    at: datetime

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%dT%H:%M:%SZ} commit {self.commit} layer {self.layer}"

    @classmethod
    def parse(cls, text: str) -> Release | None:
        """Parse a description; return None if it is not that of a release."""
        match = _DESCRIPTION.fullmatch(text.strip())
        if match is None:
            return None
        at = datetime.strptime(match["at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
        return cls(commit=match["commit"], layer=int(match["layer"]), at=at)

    @property
    def is_committed(self) -> bool:
        """Whether everything that was deployed is in the commit."""
        return re.fullmatch("[0-9a-f]{7,40}", self.commit) is not None


_UNFINISHED = "unfinished deployment; a rollback returns to: "
_DESCRIPTION = re.compile(
    r"(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) commit (?P<commit>[\w-]+) layer (?P<layer>\d+)"
)


def commit_of(folder: Path, code: Iterable[str]) -> str:
    """Return the commit of a checkout; ``none`` outside git.

    It ends with ``-dirty`` if files in the folder differ from it, or are neither committed nor ignored, or if
    git ignores files of the functions, since those are deployed.

    Args:
        folder: The project's folder.
        code: The functions' folders, relative to it.
    """
    commit = git(folder, "rev-parse", "--verify", "--short=12", "HEAD").stdout.strip()
    if not commit:
        return "none"
    not_code = [f":(exclude,glob)**/{name}{rest}" for name in NOT_CODE for rest in ("", "/**")]
    ignored = ["ls-files", "--others", "--ignored", "--exclude-standard", "--", *code, *not_code]
    dirty = git(folder, "status", "--porcelain", "--", ".").stdout or git(folder, *ignored).stdout
    return f"{commit}-dirty" if dirty else commit


def git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git in a folder without checking its exit code, which is `NO_GIT` if git is not installed."""
    command = ["git", *arguments]
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, NO_GIT, "", "")


def begin_release(cloud: Cloud, functions: Sequence[str], rolled_back_to: Release | None) -> set[str]:
    """Mark the functions as being replaced: until `record_release`, none of their releases is live.

    Args:
        cloud: Function Compute.
        functions: The functions of the stage.
        rolled_back_to: The release that a rollback deploys again, to which another rollback then returns.

    Returns:
        The descriptions of the aliases, which are the same at the end unless another deployment has begun or
        ended in the meantime.

    Raises:
        CloudRefused: an alias cannot be changed.
    """
    aliases = _aliases(cloud, functions)
    descriptions = _descriptions(aliases)
    live = live_release(descriptions)
    if live is None:  # nothing is deployed, or a deployment is not finished
        return descriptions
    mark = f"{_UNFINISHED}{rolled_back_to or live}"
    for name, alias in aliases.items():
        cloud.update_alias(name, ALIAS, str(alias["versionId"]), mark)
    return {mark}


def record_release(cloud: Cloud, functions: Iterable[str], release: Release) -> None:
    """Publish a version of each function for the release, and point the alias to it.

    For an unchanged function, create an alias of the release instead of a version.

    Raises:
        CloudRefused: a version cannot be published, or an alias cannot be moved.
    """
    for name in functions:
        try:
            version = cloud.publish_version(name, str(release))
        except CloudRefused as error:
            versions = cloud.versions(name)
            if error.status not in UNCHANGED or error.code == CONCURRENT or not versions:
                raise
            version = str(versions[0]["versionId"])
            cloud.move_alias(name, f"release-{release.at:%Y%m%dT%H%M%SZ}", version, str(release))
        cloud.move_alias(name, ALIAS, version, str(release))


def releases(cloud: Cloud, functions: Iterable[str]) -> list[Release]:
    """Return the releases of these functions, latest first."""
    numbers: dict[str, int] = {}
    for name in functions:
        for version in cloud.versions(name):
            description, number = str(version.get("description")), int(version["versionId"])
            numbers[description] = min(number, numbers.get(description, number))
        for alias in cloud.aliases(name):
            numbers.setdefault(str(alias.get("description")), 0)
    published = [(release, number) for text, number in numbers.items() if (release := Release.parse(text))]
    # Order two releases of the same second by the number of their first version.
    published.sort(key=lambda pair: (pair[0].at, pair[1]), reverse=True)
    return [release for release, _ in published]


def alias_descriptions(cloud: Cloud, functions: Iterable[str]) -> set[str]:
    """Return the descriptions of the aliases: one if all functions are of one release.

    Functions without the alias, whose first deployment did not complete, are ignored.
    """
    return _descriptions(_aliases(cloud, functions))


def live_release(descriptions: set[str]) -> Release | None:
    """Return the release that the aliases with these descriptions point to; None if none, or several."""
    return Release.parse(next(iter(descriptions))) if len(descriptions) == 1 else None


def fallback_release(descriptions: set[str]) -> Release | None:
    """Return the release to which a rollback returns if the last deployment did not finish; else None."""
    for description in descriptions:
        if description.startswith(_UNFINISHED):
            return Release.parse(description.removeprefix(_UNFINISHED))
    return None


def _aliases(cloud: Cloud, functions: Iterable[str]) -> dict[str, dict[str, Any]]:
    return {name: alias for name in functions if (alias := cloud.alias(name, ALIAS))}


def _descriptions(aliases: Mapping[str, dict[str, Any]]) -> set[str]:
    return {str(alias.get("description")) for alias in aliases.values()}


def previous_release(history: Sequence[Release], live: Release) -> Release | None:
    """Return the release before the live one; None if there is none.

    A release that was rolled back is skipped: after A, B, a rollback to A, and C, the previous release is A.

    Args:
        history: All releases, latest first.
        live: The live one.
    """
    kept: list[Release] = []
    for release in reversed(history):
        same = [other.commit == release.commit and other.layer == release.layer for other in kept]
        kept = [*kept[: same.index(True)], release] if any(same) else [*kept, release]
        if release == live:
            break
    return kept[-2] if len(kept) > 1 else None
