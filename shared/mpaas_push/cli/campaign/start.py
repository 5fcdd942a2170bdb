"""`start`: check here, ask the HTTP function, upload the audience, start.

In this order a start that is refused has changed nothing: above all not the file that a campaign is reading.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mpaas_push.campaign.control import read_campaign
from mpaas_push.campaign.errors import AudienceMissing, AudienceUnreadable, CampaignConflict, InvalidCampaign
from mpaas_push.campaign.model import Campaign, read_document
from mpaas_push.campaign.objects import crc64_of
from mpaas_push.cli.call import NoResponse
from mpaas_push.cli.campaign.api import CANNOT, CampaignRefused, ask, command
from mpaas_push.cli.campaign.files import FileObjects, oss_objects
from mpaas_push.cli.campaign.progress import progress_bar
from mpaas_push.cli.campaign.steering import EXIT_CODES, follow, show
from mpaas_push.cli.inputs import read_input, settings_or_stand_ins
from mpaas_push.errors import Misconfigured

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from mpaas_push.campaign.model import Audience
    from mpaas_push.campaign.objects import ObjectInfo, OssObjects
    from mpaas_push.settings import Settings

__all__ = ["start"]


@command
def start(options: argparse.Namespace) -> int:
    """Start a campaign, or find that it has begun, and follow it."""
    settings = settings_or_stand_ins()
    document = read_document(read_input(options.file))
    campaign = _read(document, settings, options.audience)
    known = _find(options, campaign)
    if known and (known["state"] == "cancelled" or known.get("cancelling")):
        show(known)
        print("  a cancelled campaign cannot be started again: use another id")
        return CANNOT
    if options.audience:
        _upload(campaign, options, settings, is_new=known is None)
    try:
        started = ask(options, "POST", "", document)
    except NoResponse as error:
        raise NoResponse(f"{error}: start it again, it stays the same campaign") from None
    for warning in started.get("warnings", ()):  # a function of an earlier version has none
        print(f"warning: {warning['field']}: {warning['message']}", file=sys.stderr)
    print(f"campaign {started['campaign']} is {started['state']}")
    if options.no_wait and started["state"] not in EXIT_CODES:
        return 0
    return follow(options, started)


def _read(document: Any, settings: Settings, audience: Path | None) -> Campaign:
    """Read a campaign.

    Args:
        document: The campaign.
        settings: Defaults of the message.
        audience: Its audience on this machine, if it is to be uploaded.

    Raises:
        InvalidCampaign: with the faults of the audience, wherever that is.
    """
    if audience:
        return read_campaign(document, settings, FileObjects(audience)).campaign
    try:
        return Campaign.parse(document, settings)
    except InvalidCampaign:
        with suppress(Misconfigured), oss_objects(settings) as objects:
            read_campaign(document, settings, objects)
        raise


def _find(options: argparse.Namespace, campaign: Campaign) -> dict[str, Any] | None:
    """Return the campaign of this id, if there is one.

    Raises:
        CampaignConflict: it is another campaign.
    """
    try:
        known = ask(options, "GET", f"/{campaign.campaign}")
    except CampaignRefused as error:
        if error.kind == "unknown-campaign":
            return None
        raise
    ours, theirs = campaign.as_json(), known["document"]
    names = [name for name in {**ours, **theirs} if name != "pace" and ours.get(name) != theirs.get(name)]
    if names:
        raise CampaignConflict(
            f"campaign {campaign.campaign} was started with other content (in {', '.join(names)}):"
            " give this one another id"
        )
    return known


def _upload(campaign: Campaign, options: argparse.Namespace, settings: Settings, *, is_new: bool) -> None:
    """Upload the audience, unless it is there already.

    Args:
        campaign: Names bucket and key.
        options: With the `audience`, and whether it may `replace` other content.
        settings: The endpoint.
        is_new: Whether the campaign has not begun; of one that has nothing is replaced.

    Raises:
        CampaignConflict: there is other content that may not be replaced.
    """
    audience, file, size = campaign.audience, options.audience, options.audience.stat().st_size
    name = f"oss://{audience.bucket}/{audience.key}"
    with oss_objects(settings) as objects:
        there = _info(objects, audience)
        if _is_same(there, file):
            print(f"{name} is this file already")
            return
        if there and not is_new:
            raise CampaignConflict(
                f"campaign {campaign.campaign} was started with another file ({name} differs from {file}):"
                " give this one another id and audience.key. Nothing was uploaded"
            )
        if there and not options.replace:
            raise CampaignConflict(
                f"{name} has other content ({there.size:,} bytes), which a campaign may be reading."
                " Nothing was uploaded: name another audience.key, or use --replace if no campaign needs it"
            )
        try:
            with progress_bar("uploading", size) as update:
                objects.upload(
                    audience.bucket,
                    audience.key,
                    file,
                    lambda written, _: update(written),
                    replaces=there is not None,
                )
        except AudienceUnreadable:  # another client may have uploaded the same file meanwhile
            if not _is_same(_info(objects, audience), file):
                raise
    print(f"uploaded to {name}")


def _is_same(there: ObjectInfo | None, file: Path) -> bool:
    """Return whether an object has the content of a file."""
    return there is not None and there.size == file.stat().st_size and there.crc64 == crc64_of(file)


def _info(objects: OssObjects, audience: Audience) -> ObjectInfo | None:
    """Return what is known of the object of an audience; None if there is none."""
    try:
        return objects.info(audience.bucket, audience.key)
    except AudienceMissing:
        return None
