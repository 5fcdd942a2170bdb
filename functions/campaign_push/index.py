"""Campaigns: a task works on a piece of an audience, an uploaded file below `campaigns/` starts one."""

from __future__ import annotations

import gc

gc.disable()  # looking for garbage among modules costs a tenth of a cold start

import json

from mpaas_push.campaign.function import handle

gc.freeze()
gc.enable()


def handler(event: bytes, context: object) -> str:
    """Do a task, or start the campaigns that were uploaded; return the result.

    Raises:
        CampaignError: a campaign cannot be started, or a piece was not finished: Function Compute repeats
            the event, and then hands its record to the failed queue.
    """
    return json.dumps(handle(event, context))
