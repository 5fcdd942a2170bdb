"""`report`: the results of a campaign as one CSV."""

from __future__ import annotations

import csv
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

from mpaas_push.campaign.errors import CampaignError
from mpaas_push.cli.campaign.api import ask, command
from mpaas_push.cli.campaign.files import oss_objects
from mpaas_push.settings import Settings

if TYPE_CHECKING:
    import argparse

__all__ = ["report"]

COLUMNS = ("target", "outcome", "resultCode", "text", "messageId", "offset")


@command
def report(options: argparse.Namespace) -> int:
    """Write the results to a file or to standard output; of a campaign that runs those there are so far."""
    from mpaas_push.campaign.results import result_lines

    shown = ask(options, "GET", f"/{options.id}")
    bucket, _, folder = shown["results"].removeprefix("oss://").partition("/")
    try:
        output = options.output.open("w", encoding="utf-8", newline="") if options.output else None
    except OSError as error:
        raise CampaignError(f"{options.output} cannot be written: {error.strerror}") from None
    number = 0
    with output or nullcontext(sys.stdout) as file, oss_objects(Settings.from_env()) as objects:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for line in result_lines(objects, bucket, folder):
            writer.writerow(line)
            number += 1
    print(f"{number:,} rows", file=sys.stderr)
    return 0
