"""`status`, `pause`, `resume`, `cancel`, and how a campaign is followed and shown."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from mpaas_push.cli.call import NoResponse, NotConnected
from mpaas_push.cli.campaign.api import CANNOT, LEFT, NO_RESPONSE, CampaignUnavailable, ask, command
from mpaas_push.cli.campaign.progress import counted, duration, progress_bar

if TYPE_CHECKING:
    import argparse

__all__ = ["EXIT_CODES", "follow", "show", "steer"]

POLL_SECONDS, LONGEST_POLL_SECONDS = 1.0, 10.0
"""Between two looks at a campaign, at least and at most."""
PATIENCE_SECONDS = 90.0
"""For how long a campaign is followed without a response: a function that is redeployed takes less."""
ABSENT = (NoResponse, NotConnected, CampaignUnavailable)
"""Who follows a campaign waits for the function to come back."""
STOPPED = {"done", "cancelled", "incomplete", "paused"}
"""States in which a campaign does not go on by itself."""
EXIT_CODES = {"cancelled": CANNOT, "incomplete": CANNOT, "paused": LEFT}


@command
def steer(options: argparse.Namespace) -> int:
    """Show, pause, resume or cancel a campaign; the pace of a resume changes with it or not at all."""
    if options.action == "status":
        campaign = ask(options, "GET", f"/{options.id}")
    else:
        change = {"pace": options.pace} if hasattr(options, "pace") else None
        campaign = ask(options, "POST", f"/{options.id}/{options.action}", change)
    if getattr(options, "follow", False):
        return follow(options, campaign)
    show(campaign)
    return 0


def follow(options: argparse.Namespace, campaign: dict[str, Any]) -> int:
    """Show the progress of a campaign until it stops, and return the exit code; leaving it does not stop it.

    Args:
        options: With the `url` of the trigger.
        campaign: As the HTTP function showed it last.
    """
    name = campaign["campaign"]
    again = f"to follow it again: {_again('status', name)} --follow"
    try:
        with progress_bar(name, campaign["bytes"]) as update:
            while campaign["state"] not in STOPPED:
                time.sleep(_wait_for(campaign))
                campaign = _look_again(options, name)
                update(campaign["bytesDone"], f"{name} {_state(campaign)}, {_progress(campaign)}")
    except KeyboardInterrupt:
        show(campaign)
        print(f"it continues; {again}", file=sys.stderr)
        return LEFT
    except ABSENT as error:
        show(campaign)
        print(f"error: {error}\nno response for {PATIENCE_SECONDS:.0f} s; {again}", file=sys.stderr)
        return NO_RESPONSE
    show(campaign)
    return EXIT_CODES.get(campaign["state"], 0)


def show(campaign: dict[str, Any]) -> None:
    """Print state, counts and pace of a campaign, and what can be done if it does not continue."""
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
        until = f"their own has been silent, and others may take over at {campaign['stalledUntil']}"
        verb = "waits" if stalled == 1 else "wait"
        print(f"  {stalled:,} of {counted(campaign['pieces'], 'pieces')} {verb} for another worker: {until}")
    if campaign.get("problem"):
        print(f"  {campaign['problem']}")
    if campaign.get("cancelling"):
        action = "cancel" if campaign["state"] == "incomplete" else "status"
        print(f"  the rest is not sent, but is still being counted: {_again(action, campaign['campaign'])}")
    elif campaign["state"] in {"paused", "incomplete"}:
        print(f"  to continue with the rest: {_again('resume', campaign['campaign'])}")


def _state(campaign: dict[str, Any]) -> str:
    """Return the state of a campaign; of one that was cancelled and is still being counted, that it is."""
    is_counted = not campaign.get("cancelling") or campaign["state"] == "incomplete"
    return str(campaign["state"]) if is_counted else "cancelling"


def _look_again(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Ask for a campaign, again and again while the HTTP function does not respond.

    Raises:
        CampaignRefused: it refuses.
        NoResponse, NotConnected, CampaignUnavailable: it did not respond in `PATIENCE_SECONDS`.
    """
    patient_until = time.monotonic() + PATIENCE_SECONDS
    wait = POLL_SECONDS
    while True:
        try:
            return ask(options, "GET", f"/{name}")
        except ABSENT:
            if time.monotonic() + wait > patient_until:
                raise
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_POLL_SECONDS)


def _wait_for(campaign: dict[str, Any]) -> float:
    """Return seconds until the next look: a hundredth of the time that is left, within the two limits."""
    return min(max(POLL_SECONDS, (campaign["secondsLeft"] or 0) / 100), LONGEST_POLL_SECONDS)


def _again(action: str, name: str) -> str:
    """Return a command for a campaign as it can be typed where this one was."""
    return f"{sys.orig_argv[0]} -m mpaas_push campaign {action} {name}"


def _progress(campaign: dict[str, Any]) -> str:
    return f"{counted(campaign['counts']['rows'], 'rows')}{_time_left(campaign)}"


def _time_left(campaign: dict[str, Any]) -> str:
    left = campaign["secondsLeft"]
    return "" if left is None or campaign["state"] in {"done", "cancelled"} else f", {duration(left)} left"
