"""Deploys a stage, and compares the result in the cloud with the descriptor.

The layer is built and published, `s` deploys the functions, and the result is read back through the API.
Triggers that `s` skipped are deployed one by one; a remaining difference is an error. Each deployment is
recorded as a release.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from deploy.archive import crc64
from deploy.cloud import CloudRefused
from deploy.code import copy_for_upload
from deploy.layer import build
from deploy.plan import differences, print_differences
from deploy.releases import Release, alias_descriptions, begin_release, commit_of, record_release
from deploy.removal import delete_function, find_orphaned_functions, orphaned_functions
from mpaas_push.errors import PushError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deploy.cloud import Cloud
    from deploy.plan import Difference
    from deploy.serverless import Serverless
    from deploy.stage import Stage

__all__ = ["DeploymentFailed", "deploy", "find_layer"]

KEPT_LAYERS = 5
"""How many versions of the layer to keep, even if unused."""


class DeploymentFailed(PushError):
    """A step failed, or the cloud differs from the descriptor; the text says what to do."""


def deploy(
    stage: Stage, layer: int | None = None, *, package: Path | None = None, release: Release | None = None
) -> None:
    """Deploy a stage.

    Args:
        stage: The stage.
        layer: Version of the layer to use; by default the one with the content of this checkout, published if
            needed.
        package: A layer built earlier; by default the layer of this checkout is built.
        release: The release to record; by default this checkout's commit and the current time.

    Raises:
        BuildFailed: the layer could not be built.
        CloudRefused: Function Compute cannot be read.
        DeploymentFailed: the cloud differs from the descriptor.
    """
    cloud, serverless = stage.cloud(), stage.serverless()
    if layer is None:
        layer = _publish_layer(stage, package or build(stage.runtime), cloud, serverless)
    stage = stage.with_layer(stage.layer_arn(layer))
    plans = stage.plans()
    names = [plan.name for plan in plans]
    begun = begin_release(cloud, names, release)
    try:
        code, remaining = _deploy_functions(stage, cloud, serverless)
    except CloudRefused as error:
        raise DeploymentFailed(
            f"{error}. The deployed functions are live, but were not read back, and no release was recorded:"
            " run make deploy again"
        ) from None
    if remaining:
        differing = {difference.function for difference in remaining}
        live = [plan.name for plan in plans if plan.name not in differing]
        print(f"live as described: {', '.join(live) or 'nothing'}; not as described:")
        print_differences(remaining)
        raise DeploymentFailed(
            f"the cloud differs from {stage.descriptor.name}; s exited with {code}. Fix the errors that it"
            " reported above and run make deploy again; live functions stay live"
        )
    orphans_checked = _remove_orphaned_functions(stage, cloud)
    now = datetime.now(timezone.utc).replace(microsecond=0)
    code_folders = [function.code for function in stage.functions.values()]
    release = release or Release(commit=commit_of(stage.folder, code_folders), layer=layer, at=now)
    try:
        _check_no_concurrent_deployment(begun, alias_descriptions(cloud, names), stage)
        record_release(cloud, names, release)
    except CloudRefused as error:
        raise DeploymentFailed(
            f"{error}. All functions are live as described, but the release was not recorded:"
            " run make deploy again"
        ) from None
    _remove_old_layers(stage, cloud)
    note = f"; could not check for functions that {stage.descriptor.name} no longer has"
    print(f"deployed and read back: {release}" + ("" if orphans_checked else note))
    if not release.is_committed:
        print("note: not everything is committed, so make rollback cannot return to this release")


def _deploy_functions(stage: Stage, cloud: Cloud, serverless: Serverless) -> tuple[int, list[Difference]]:
    """Deploy functions and triggers; return the exit code of `s` and the remaining differences.

    If the component skips a new trigger, it then fails and does not deploy the functions after it
    (deploy-component.md: Deploying). So `s` runs again once the trigger exists.
    """
    folders = [function.code for function in stage.functions.values()]
    with copy_for_upload(stage.descriptor, folders, stage.runtime) as copy:
        for _ in range(2):
            code = serverless.deploy(copy, stage.env)
            before = list(differences(stage.plans(), cloud))
            remaining = _repair(before, stage, cloud, serverless) if before else []
            if not code or not remaining or len(remaining) == len(before):
                break
            print(f"s stopped early with exit code {code}; running it again")
    return code, remaining


def _remove_orphaned_functions(stage: Stage, cloud: Cloud) -> bool:
    """Delete the functions that the descriptor no longer has.

    Returns:
        Whether the key may list functions.

    Raises:
        DeploymentFailed: a function could not be deleted.
    """
    orphans = find_orphaned_functions(stage, cloud)
    for name in orphans or ():
        if error := delete_function(cloud, name):
            text = f"{stage.descriptor.name} no longer has {name}, but it is still live: {error}"
            raise DeploymentFailed(text)
        print(f"removed {name}, which {stage.descriptor.name} no longer has")
    return orphans is not None


def _check_no_concurrent_deployment(begun: set[str], now: set[str], stage: Stage) -> None:
    """Raise `DeploymentFailed` if another deployment may have replaced functions in the meantime."""
    if begun != now:
        raise DeploymentFailed(
            f"another deployment of {stage.name} ended while this one ran"
            f" ({', '.join(sorted(now)) or 'not recorded'}),"
            " and either may have replaced what the other deployed: no release was recorded."
            " make plan shows what differs from this checkout; run one deployment at a time"
        )


def find_layer(stage: Stage, cloud: Cloud, package: Path) -> int | None:
    """Return the latest version of the layer with the content of a package; None if there is none."""
    checksum = crc64(package.read_bytes())
    return next(
        (
            int(version["version"])
            for version in cloud.layer_versions(stage.layer)
            if version.get("codeChecksum") == checksum
        ),
        None,
    )


def _publish_layer(stage: Stage, package: Path, cloud: Cloud, serverless: Serverless) -> int:
    print(f"layer   {package.name} ({package.stat().st_size:,} bytes)")
    version = find_layer(stage, cloud, package)
    if version is None:
        code = serverless.publish_layer(stage.region, stage.layer, package, stage.runtime)
        version = find_layer(stage, cloud, package)
        if version is None:
            raise DeploymentFailed(
                f"the layer {stage.layer} was not published; s exited with {code}: see above"
            )
    print(f"        version {version} of {stage.layer}")
    return version


def _repair(
    differing: Sequence[Difference], stage: Stage, cloud: Cloud, serverless: Serverless
) -> list[Difference]:
    """Deploy skipped triggers of existing functions one by one; return the remaining differences."""
    _delete_undescribed_instances(differing, cloud)
    functions = {function.function_name: (name, function) for name, function in stage.functions.items()}
    missing = {difference.function for difference in differing if difference.what == "function"}
    trigger_differences = [
        difference for difference in differing if difference.trigger and difference.function not in missing
    ]
    if any(difference.change == "add" for difference in trigger_differences):
        _delete_orphaned_upload_triggers(stage, cloud)
    for name, trigger in dict.fromkeys(
        (difference.function, difference.trigger) for difference in trigger_differences if difference.trigger
    ):
        resource, function = functions[name]
        described = next(
            (declared for declared in function.triggers if declared.trigger_name == trigger), None
        )
        deployed = cloud.triggers(name).get(trigger)
        kind = described.trigger_type if described else None
        if deployed and (deployed["triggerType"] != kind or kind == "mns_topic"):
            # The descriptor does not have it, or the API or the component cannot change it.
            purpose = "to recreate it" if described else "which the descriptor does not have"
            print(f"removing the trigger {trigger} of {name}, {purpose}")
            cloud.delete_trigger(name, trigger)
        if described is not None:
            print(f"s did not deploy the trigger {trigger} of {name}; deploying it separately")
            serverless.deploy_trigger(resource, trigger, stage.env)
    return list(differences(stage.plans(), cloud))


def _delete_undescribed_instances(differing: Sequence[Difference], cloud: Cloud) -> None:
    """Stop keeping instances warm that the descriptor does not have; the component keeps them."""
    for difference in differing:
        if difference.change != "remove":
            continue
        if difference.what == "provisionConfig":
            cloud.delete_provision_config(difference.function)
            print(f"keeping no instance of {difference.function} warm, since the descriptor keeps none")
        elif difference.what == "scalingConfig":
            cloud.delete_scaling_config(difference.function)
            print(f"removing the scalingConfig of {difference.function}, which the descriptor lacks")


def _delete_orphaned_upload_triggers(stage: Stage, cloud: Cloud) -> None:
    """Delete the OSS triggers of orphaned functions, since OSS refuses a second one for the same uploads."""
    sources = {trigger.source_arn for trigger in stage.uploads}
    with suppress(CloudRefused):  # reported when those functions are deleted
        for name in orphaned_functions(stage, cloud):
            for trigger, deployed in cloud.triggers(name).items():
                if deployed["triggerType"] == "oss" and deployed.get("sourceArn") in sources:
                    cloud.delete_trigger(name, trigger)
                    print(f"removed the trigger {trigger} of {name}, whose uploads another function receives")


def _remove_old_layers(stage: Stage, cloud: Cloud) -> None:
    """Delete old versions of the layer that no function of the account uses.

    A layer has at most 100 versions (deploy-component.md).
    """
    try:
        used = {layer["arn"] for function in cloud.functions() for layer in function.get("layers", ())}
        for version in cloud.layer_versions(stage.layer)[KEPT_LAYERS:]:
            if version["layerVersionArn"] not in used:
                cloud.delete_layer_version(stage.layer, int(version["version"]))
                print(f"removed version {version['version']} of {stage.layer}")
    except CloudRefused as error:
        print(f"note: old versions of the layer were not deleted: {error}", file=sys.stderr)
