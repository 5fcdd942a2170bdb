"""`status`, `pause`, `resume`, `cancel`, and how a campaign is followed and shown."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from mpaas_push.cli.call import NoResponse, NotConnected
from mpaas_push.cli.campaign.api import (
    FAILED,
    NO_RESPONSE,
    UNFINISHED,
    CampaignUnavailable,
    request_campaign,
    with_exit_codes,
)
from mpaas_push.cli.campaign.progress import counted, duration, progress_bar

if TYPE_CHECKING:
    import argparse

__all__ = ["EXIT_CODES", "follow", "show", "steer"]

MIN_POLL_SECONDS, MAX_POLL_SECONDS = 1.0, 10.0
"""Shortest and longest time between two polls of a campaign."""
PATIENCE_SECONDS = 90.0
"""How long a campaign is followed without a response; redeploying a function takes less."""
UNAVAILABLE = (NoResponse, NotConnected, CampaignUnavailable)
"""Errors after which a campaign is polled again: the function may recover."""
STOPPED = {"done", "cancelled", "incomplete", "paused"}
"""States in which a campaign does not continue by itself."""
EXIT_CODES = {"cancelled": FAILED, "incomplete": FAILED, "paused": UNFINISHED}


@with_exit_codes
def steer(options: argparse.Namespace) -> int:
    """Show, pause, resume or cancel a campaign; a refused resume leaves the pace unchanged too."""
    if options.action == "status":
        campaign = request_campaign(options, "GET", f"/{options.id}")
    else:
        change = {"pace": options.pace} if hasattr(options, "pace") else None
        campaign = request_campaign(options, "POST", f"/{options.id}/{options.action}", change)
    if getattr(options, "follow", False):
        return follow(options, campaign)
    show(campaign)
    return 0


def follow(options: argparse.Namespace, campaign: dict[str, Any]) -> int:
    """Show the progress of a campaign until it stops, and return the exit code.

    Ctrl-C stops only the following, not the campaign.

    Args:
        options: With the `url` of the trigger.
        campaign: The HTTP function's latest response.
    """
    name = campaign["campaign"]
    hint = f"to follow it again: {_command('status', name)} --follow"
    try:
        with progress_bar(name, campaign["bytes"]) as update:
            while campaign["state"] not in STOPPED:
                time.sleep(_poll_seconds(campaign))
                campaign = _poll(options, name)
                update(campaign["bytesDone"], f"{name} {_state(campaign)}, {_progress(campaign)}")
    except KeyboardInterrupt:
        show(campaign)
        print(f"it continues; {hint}", file=sys.stderr)
        return UNFINISHED
    except UNAVAILABLE as error:
        show(campaign)
        print(f"error: {error}\nno response for {PATIENCE_SECONDS:.0f} s; {hint}", file=sys.stderr)
        return NO_RESPONSE
    show(campaign)
    return EXIT_CODES.get(campaign["state"], 0)


def show(campaign: dict[str, Any]) -> None:
    """Print state, counts and pace of a campaign, and the command that continues it if it has stopped."""
    counts = {name: number for name, number in campaign["counts"].items() if number}
    print(f"{campaign['campaign']}: {_state(campaign)}")
    print("  " + (", ".join(counted(number, name) for name, number in counts.items()) or "no rows yet"))
    percent = 100 * campaign["bytesDone"] // max(campaign["bytes"], 1)
    pace = f"{campaign['pace']:,} targets a second" if campaign["pace"] else "no limit"
    size = f"{percent}% of {campaign['bytes']:,} bytes"
    print(f"  {size}, {counted(campaign['requests'], 'requests')}, pace: {pace}{_time_left(campaign)}")
    if opens := campaign.get("opensAt"):
        print(f"  its window opens at {opens}")
    if stalled := campaign.get("piecesStalled"):
        verb = "waits" if stalled == 1 else "wait"
        takeover = f"which may replace a silent one at {campaign['stalledUntil']}"
        print(
            f"  {stalled:,} of {counted(campaign['pieces'], 'pieces')} {verb} for another worker, {takeover}"
        )
    if campaign.get("problem"):
        print(f"  {campaign['problem']}")
    if campaign.get("cancelling"):
        action = "cancel" if campaign["state"] == "incomplete" else "status"
        print(f"  the rest is not sent, but is still being counted: {_command(action, campaign['campaign'])}")
    elif campaign["state"] in {"paused", "incomplete"}:
        print(f"  to continue with the rest: {_command('resume', campaign['campaign'])}")


def _state(campaign: dict[str, Any]) -> str:
    """Return the state of a campaign; `cancelling` while a cancelled one is still being counted."""
    is_counted = not campaign.get("cancelling") or campaign["state"] == "incomplete"
    return str(campaign["state"]) if is_counted else "cancelling"


def _poll(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Return the campaign, retrying while the HTTP function is unavailable.

    Raises:
        CampaignRefused: the function refuses.
        NoResponse, NotConnected, CampaignUnavailable: it was unavailable for `PATIENCE_SECONDS`.
    """
    patient_until = time.monotonic() + PATIENCE_SECONDS
    wait = MIN_POLL_SECONDS
    while True:
        try:
            return request_campaign(options, "GET", f"/{name}")
        except UNAVAILABLE:
            if time.monotonic() + wait > patient_until:
                raise
        time.sleep(wait)
        wait = min(2 * wait, MAX_POLL_SECONDS)


def _poll_seconds(campaign: dict[str, Any]) -> float:
    """Return seconds until the next poll: a hundredth of the remaining time, within the two limits."""
    return min(max(MIN_POLL_SECONDS, (campaign["secondsLeft"] or 0) / 100), MAX_POLL_SECONDS)


def _command(action: str, name: str) -> str:
    """Return a command for a campaign, to be typed where this one was."""
    return f"{sys.orig_argv[0]} -m mpaas_push campaign {action} {name}"


def _progress(campaign: dict[str, Any]) -> str:
    return f"{counted(campaign['counts']['rows'], 'rows')}{_time_left(campaign)}"


def _time_left(campaign: dict[str, Any]) -> str:
    left = campaign["secondsLeft"]
    return "" if left is None or campaign["state"] in {"done", "cancelled"} else f", {duration(left)} left"
