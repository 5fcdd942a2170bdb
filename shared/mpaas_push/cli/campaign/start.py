"""`start`: check the campaign locally, look up its id, upload the audience, start.

In this order a refused start changes nothing, in particular not the file that a campaign is reading.
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
from mpaas_push.cli.campaign.api import FAILED, CampaignRefused, request_campaign, with_exit_codes
from mpaas_push.cli.campaign.files import FileObjects, oss_objects
from mpaas_push.cli.campaign.progress import progress_bar
from mpaas_push.cli.campaign.steering import EXIT_CODES, follow, show
from mpaas_push.cli.inputs import read_input, settings_with_placeholders
from mpaas_push.errors import Misconfigured

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from mpaas_push.campaign.model import Audience
    from mpaas_push.campaign.objects import ObjectInfo, OssObjects
    from mpaas_push.settings import Settings

__all__ = ["start"]


@with_exit_codes
def start(options: argparse.Namespace) -> int:
    """Start a campaign, unless it was started before, and follow it."""
    settings = settings_with_placeholders()
    document = read_document(read_input(options.file))
    campaign = _read(document, settings, options.audience)
    existing = _find(options, campaign)
    if existing and (existing["state"] == "cancelled" or existing.get("cancelling")):
        show(existing)
        print("  a cancelled campaign cannot be started again: use another id")
        return FAILED
    if options.audience:
        _upload(campaign, options, settings, is_new=existing is None)
    try:
        started = request_campaign(options, "POST", "", document)
    except NoResponse as error:
        raise NoResponse(f"{error}: start it again; it remains the same campaign") from None
    for warning in started.get("warnings", ()):  # absent from earlier versions of the function
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
        audience: The local file of its audience, if it is to be uploaded.

    Raises:
        InvalidCampaign: with the faults of the audience as well, whether it is local or in OSS.
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
    """Return the campaign as it was started before; None if its id is unused.

    Raises:
        CampaignConflict: it was started with other content.
    """
    try:
        existing = request_campaign(options, "GET", f"/{campaign.campaign}")
    except CampaignRefused as error:
        if error.kind == "unknown-campaign":
            return None
        raise
    ours, theirs = campaign.as_json(), existing["document"]
    names = [name for name in {**ours, **theirs} if name != "pace" and ours.get(name) != theirs.get(name)]
    if names:
        raise CampaignConflict(
            f"campaign {campaign.campaign} was started with other content (in {', '.join(names)}):"
            " give this one another id"
        )
    return existing


def _upload(campaign: Campaign, options: argparse.Namespace, settings: Settings, *, is_new: bool) -> None:
    """Upload the audience, unless OSS already has it.

    Args:
        campaign: Names bucket and key.
        options: With the `audience`, and whether it may `replace` other content.
        settings: The endpoint.
        is_new: Whether the campaign has not begun; the file of one that has is never replaced.

    Raises:
        CampaignConflict: the object has other content, which must not be replaced.
    """
    audience, file, size = campaign.audience, options.audience, options.audience.stat().st_size
    name = f"oss://{audience.bucket}/{audience.key}"
    with oss_objects(settings) as objects:
        existing = _info(objects, audience)
        if _is_same(existing, file):
            print(f"{name} already has this content")
            return
        if existing and not is_new:
            raise CampaignConflict(
                f"campaign {campaign.campaign} has begun, and {name} differs from {file}. Nothing was"
                " uploaded. For this file, use another id and audience.key; if it is the original, and the"
                " file in OSS was replaced, delete that one and start again"
            )
        if existing and not options.replace:
            raise CampaignConflict(
                f"{name} has other content ({existing.size:,} bytes), which a campaign may be reading."
                " Nothing was uploaded: name another audience.key, or use --replace if no campaign needs it"
            )
        try:
            with progress_bar("uploading", size) as update:
                objects.upload(
                    audience.bucket,
                    audience.key,
                    file,
                    lambda written, _: update(written),
                    replaces=existing is not None,
                )
        except AudienceUnreadable:  # another client may have uploaded the same file meanwhile
            if not _is_same(_info(objects, audience), file):
                raise
    print(f"uploaded to {name}")


def _is_same(info: ObjectInfo | None, file: Path) -> bool:
    """Return whether an object has the content of a file."""
    return info is not None and info.size == file.stat().st_size and info.crc64 == crc64_of(file)


def _info(objects: OssObjects, audience: Audience) -> ObjectInfo | None:
    """Return what OSS says of the object of an audience; None if it does not exist."""
    try:
        return objects.info(audience.bucket, audience.key)
    except AudienceMissing:
        return None
