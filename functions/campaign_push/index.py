"""Campaigns: a task sends a piece of an audience; a file uploaded below `campaigns/` starts a campaign."""

from __future__ import annotations

import gc

gc.disable()  # collecting garbage during imports costs a tenth of a cold start

import json

from mpaas_push.campaign.function import handle

gc.freeze()
gc.enable()


def handler(event: bytes, context: object) -> str:
    """Run a task, or start the uploaded campaigns; return the result.

    Raises:
        CampaignError: a campaign cannot be started, or a piece was not finished: Function Compute repeats
            the event, and finally puts its record into the failed queue.
    """
    return json.dumps(handle(event, context))
