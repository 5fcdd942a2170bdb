"""`start`: check here, ask the HTTP function, upload the audience, start.

In this order a start that is refused has changed nothing: above all not the file that a campaign is reading.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpaas_push.campaign.control import read_audience
from mpaas_push.campaign.errors import AudienceMissing, CampaignConflict
from mpaas_push.campaign.model import Campaign, read_document
from mpaas_push.campaign.objects import crc64_of
from mpaas_push.cli.call import NoResponse
from mpaas_push.cli.campaign.api import CampaignRefused, ask, command
from mpaas_push.cli.campaign.files import FileObjects, oss_objects
from mpaas_push.cli.campaign.progress import progress_bar
from mpaas_push.cli.campaign.steering import EXIT_CODES, follow, show
from mpaas_push.cli.inputs import read_input, settings_or_stand_ins

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from mpaas_push.settings import Settings

__all__ = ["start"]

NOT_FOUND = 404


@command
def start(options: argparse.Namespace) -> int:
    """Start a campaign, or find that it has begun, and follow it."""
    settings = settings_or_stand_ins()
    document = read_document(read_input(options.file))
    campaign = Campaign.parse(document, settings)
    if options.audience:
        read_audience(campaign, FileObjects(options.audience))
    known = _find(options, campaign)
    if known and (code := EXIT_CODES.get(known["state"])):
        show(known)
        if known["state"] == "cancelled":
            print("  a cancelled campaign cannot be started again: use another id")
        return code
    if options.audience:
        _upload(campaign, options.audience, settings, replaces=options.replace and not known)
    try:
        started = ask(options, "POST", "", document)
    except NoResponse as error:
        raise NoResponse(f"{error}: start it again, it stays the same campaign") from None
    print(f"campaign {started['campaign']} is {started['state']}")
    return EXIT_CODES.get(started["state"], 0) if options.no_wait else follow(options, started)


def _find(options: argparse.Namespace, campaign: Campaign) -> dict[str, Any] | None:
    """Return the campaign of this id, if there is one.

    Raises:
        CampaignConflict: it is another campaign.
    """
    try:
        known = ask(options, "GET", f"/{campaign.campaign}")
    except CampaignRefused as error:
        if error.status == NOT_FOUND:
            return None
        raise
    ours, theirs = campaign.as_json(), known["document"]
    names = [name for name in {**ours, **theirs} if name != "pace" and ours.get(name) != theirs.get(name)]
    if names:
        raise CampaignConflict(
            f"{campaign.campaign} is {known['state']} with another content (in {', '.join(names)}):"
            " use another id"
        )
    return known


def _upload(campaign: Campaign, file: Path, settings: Settings, *, replaces: bool) -> None:
    """Upload the audience, unless it is there already.

    Args:
        campaign: Names bucket and key.
        file: The audience.
        settings: The endpoint.
        replaces: Whether another content that is there may be replaced.

    Raises:
        CampaignConflict: there is another content, which some campaign may be reading.
    """
    audience, size = campaign.audience, file.stat().st_size
    bucket, key, name = audience.bucket, audience.key, f"oss://{audience.bucket}/{audience.key}"
    with oss_objects(settings) as objects:
        try:
            there = objects.info(bucket, key)
        except AudienceMissing:
            there = None
        if there and there.size == size and there.crc64 == crc64_of(file):
            print(f"{name} is this file already")
            return
        if there and not replaces:
            raise CampaignConflict(
                f"{name} has another content ({there.size:,} bytes), which a campaign may be reading. Nothing"
                " was uploaded: name another audience.key and id; or, if the campaign is new and no other one"
                " needs that content, use --replace"
            )
        with progress_bar("uploading", size) as update:
            objects.upload(bucket, key, file, lambda written, _: update(written), replaces=replaces)
    print(f"uploaded to {name}")
