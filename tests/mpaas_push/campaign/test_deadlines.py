"""Services that never respond to a campaign: its invocation ends with an error that says so, not by a kill."""

from __future__ import annotations

import time

import pytest

from mpaas_push.campaign.errors import AudienceUnreadable
from mpaas_push.campaign.function import CampaignTools
from mpaas_push.campaign.tasks import PlanTask, TaskQueue
from mpaas_push.credentials import Credentials
from mpaas_push.functions import InvocationRefused, InvocationUnknown
from mpaas_push.invocation import Invocation
from mpaas_push.settings import Settings
from tests.servers import Server, hang

KEY = Credentials("deadline-key-id", "key-secret")
SOON, LATE = 2.0, 10.0
"""Seconds to the deadline, and what only an attempt that ignores it would need."""


@pytest.fixture
def invocation() -> Invocation:
    return Invocation(request_id="r", credentials=KEY, deadline=time.monotonic() + SOON)


def test_object_is_unreachable_when_the_deadline_comes(
    invocation: Invocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(hang) as server:
        monkeypatch.setenv("PUSH_OSS_ENDPOINT", server.url)
        objects = CampaignTools(Settings(), invocation).objects
        with pytest.raises(AudienceUnreadable) as error:
            objects.info("marketing", "users.csv")
        while invocation.time_left > 0:
            time.sleep(0.05)
        with pytest.raises(AudienceUnreadable, match="no time is left"):
            objects.info("marketing", "users.csv")
        objects.close()

        assert not error.value.is_final
        assert server.connections <= 1
        assert invocation.time_left > SOON - LATE


def test_task_is_not_submitted_again_after_the_deadline(invocation: Invocation) -> None:
    with Server(hang) as server:
        settings = Settings(fc_endpoint=server.url, campaign_function="campaign_push")
        with pytest.raises((InvocationUnknown, InvocationRefused)):
            TaskQueue.of(settings, invocation).submit(PlanTask(campaign="c", run="r", plan=1))

        assert len(server.requests) <= 1
        assert invocation.time_left > SOON - LATE
