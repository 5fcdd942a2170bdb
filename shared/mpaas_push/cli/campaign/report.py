"""`report`: the results of a campaign as one CSV."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

from mpaas_push.campaign.errors import CampaignError
from mpaas_push.cli.campaign.api import request_campaign, with_exit_codes
from mpaas_push.cli.campaign.files import oss_objects
from mpaas_push.cli.campaign.progress import counted
from mpaas_push.settings import Settings

if TYPE_CHECKING:
    import argparse

__all__ = ["report"]


@with_exit_codes
def report(options: argparse.Namespace) -> int:
    """Write the results to a file or to standard output; while the campaign runs, the results so far."""
    from mpaas_push.campaign.report import write_report
    from mpaas_push.campaign.results import result_lines

    campaign = request_campaign(options, "GET", f"/{options.id}")
    bucket, _, folder = campaign["results"].removeprefix("oss://").partition("/")
    try:
        output = options.output.open("w", encoding="utf-8", newline="") if options.output else None
    except OSError as error:
        raise CampaignError(f"{options.output} cannot be written: {error.strerror}") from None
    with output or nullcontext(sys.stdout) as file, oss_objects(Settings.from_env()) as objects:
        rows = write_report(file, result_lines(objects, bucket, folder))
    print(counted(rows, "rows"), file=sys.stderr)
    return 0
