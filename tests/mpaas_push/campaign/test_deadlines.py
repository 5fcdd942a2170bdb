"""Services that never respond to a campaign: its invocation ends with an error that says so, not by a kill."""

from __future__ import annotations

import time

import pytest

from mpaas_push.campaign.errors import AudienceUnreadable
from mpaas_push.campaign.function import CampaignTools
from mpaas_push.campaign.tasks import PlanTask, TaskQueue
from mpaas_push.credentials import Credentials
from mpaas_push.functions import InvocationUnknown
from mpaas_push.invocation import Invocation
from mpaas_push.settings import Settings
from tests.servers import Server, hang

KEY = Credentials("deadline-key-id", "key-secret")
SOON = 0.5


def test_object_is_unreachable_when_the_deadline_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(hang) as server:
        monkeypatch.setenv("PUSH_OSS_ENDPOINT", server.url)
        invocation = Invocation(request_id="r", credentials=KEY, deadline=time.monotonic() + SOON)
        objects = CampaignTools(Settings(), invocation).objects
        for reason in ("Timeout", "no time is left"):
            with pytest.raises(AudienceUnreadable, match=reason) as error:
                objects.info("marketing", "users.csv")
            assert not error.value.is_final
        objects.close()

        assert server.connections == 1


def test_task_is_not_submitted_again_after_the_deadline() -> None:
    with Server(hang) as server:
        settings = Settings(fc_endpoint=server.url, campaign_function="campaign_push")
        invocation = Invocation(request_id="r", credentials=KEY, deadline=time.monotonic() + SOON)
        with pytest.raises(InvocationUnknown):
            TaskQueue(settings, invocation).submit(PlanTask(campaign="c", run="r", plan=1))

        assert len(server.requests) == 1
