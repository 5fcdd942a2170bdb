"""Removes functions from the cloud: those of a whole stage, and those that its descriptor no longer has."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from deploy.cloud import CloudRefused
from deploy.plan import Difference
from deploy.releases import alias_descriptions, fallback_release, live_release

if TYPE_CHECKING:
    from deploy.cloud import Cloud
    from deploy.stage import Stage

__all__ = [
    "delete_function",
    "find_orphaned_functions",
    "make_deletable",
    "orphaned_functions",
    "removals",
]


def orphaned_functions(stage: Stage, cloud: Cloud) -> list[str]:
    """Return the functions that were deployed for a stage and that its descriptor no longer has.

    Their names are of the stage, and they have its role or, if they have a separate role, a release.

    Raises:
        CloudRefused: the key may not list functions.
    """
    described = {function.function_name: function.role for function in stage.functions.values()}
    stage_name = re.compile(rf"mpaas-[\w-]+-push-{re.escape(stage.name)}")
    roles = {str(function["functionName"]): function.get("role") for function in cloud.functions()}
    return sorted(
        name
        for name, role in roles.items()
        if name not in described
        and stage_name.fullmatch(name)
        and (role in described.values() or _has_release(cloud, name))
    )


def _has_release(cloud: Cloud, name: str) -> bool:
    descriptions = alias_descriptions(cloud, [name])
    return (live_release(descriptions) or fallback_release(descriptions)) is not None


def removals(stage: Stage, cloud: Cloud) -> list[Difference]:
    """Return the removals of a deployment: functions that the descriptor no longer has.

    Raises:
        CloudRefused: the key may not list functions.
    """
    return [
        Difference(function=name, what="function", change="remove", before=", ".join(cloud.triggers(name)))
        for name in orphaned_functions(stage, cloud)
    ]


def make_deletable(cloud: Cloud, name: str) -> None:
    """Delete the aliases, versions and warm instances that prevent the deletion of a function."""
    for alias in cloud.aliases(name):
        cloud.delete_alias(name, str(alias["aliasName"]))
    for version in cloud.versions(name):
        cloud.delete_version(name, str(version["versionId"]))
    if cloud.provision_config(name):
        cloud.delete_provision_config(name)
    if cloud.scaling_config(name):
        cloud.delete_scaling_config(name)


def find_orphaned_functions(stage: Stage, cloud: Cloud) -> list[str] | None:
    """Return `orphaned_functions`; if the key may not list functions, print a note and return None."""
    try:
        return orphaned_functions(stage, cloud)
    except CloudRefused as error:
        functions = f"functions that {stage.descriptor.name} no longer has"
        print(f"note: could not check for {functions}: {error}", file=sys.stderr)
        return None


def delete_function(cloud: Cloud, name: str) -> CloudRefused | None:
    """Delete a function with its triggers, versions and aliases; return the error if the deletion failed.

    `s` does not delete functions that left the descriptor, and they would keep pushing.
    """
    try:
        for trigger in cloud.triggers(name):
            cloud.delete_trigger(name, trigger)
        make_deletable(cloud, name)
        cloud.delete_function(name)
    except CloudRefused as error:
        return error
    return None
