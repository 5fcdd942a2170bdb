from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpaas_push import InvalidMessage, PushMessage, Settings
from mpaas_push.request import requests_of
from mpaas_push.task import PushTask, compact_json, pack_envelopes, tasks_of_record
from mpaas_push.triggers.record import QueueRecord, UnreadableElement
from tests.effort import peak_bytes
from tests.functions.http_stack import message

APP = {"appId": "ONEX1", "workspaceId": "default"}
SETTINGS = Settings.from_env({"MPAAS_APP_ID": "ONEX1", "MPAAS_WORKSPACE_ID": "default"})


def read(body: Any, moment: float | None = None, settings: Settings = SETTINGS) -> list[PushTask]:
    text = body if isinstance(body, str) else json.dumps(body)
    return tasks_of_record(QueueRecord("mns:M1", text, text, moment), settings, "fc:here")


def only(body: Any, moment: float | None = None) -> PushTask:
    (task,) = read(body, moment)
    return task


def test_a_plain_message_has_the_scope_of_sender_and_record_and_the_moment_of_its_publication() -> None:
    task = only(message(), 1_700_000_000.5)

    assert (task.scope, task.attempt, task.derived) == ("fc:here:mns:M1", 1, False)
    assert task.first_moment == 1_700_000_000.5
    assert task.expires_at == 1_700_000_600.5


def test_a_message_of_unknown_age_is_new() -> None:
    before = time.time()

    assert before <= only(message()).first_moment <= time.time()


def test_the_validity_of_a_timed_push_begins_when_mpaas_sends_it() -> None:
    in_an_hour = round((time.time() + 3600) * 1000)
    timed = message(strategyType=1, strategyContent={"fixedTime": in_an_hour})

    assert only(timed, 1_700_000_000.0).expires_at == math.inf


# --- The envelope ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "addressing", [{}, {"targets": None, "targetMsgkey": {"user-4711": "order-1"}}], ids=["targets", "ids"]
)
def test_an_envelope_brings_back_the_task_for_the_targets_that_are_left(addressing: dict[str, Any]) -> None:
    task = only(message(**addressing), 1_700_000_000.0)

    again = only(compact_json(task.envelope({"user-4711": "order-1"}, 2)), 1_700_009_999.0)

    assert (again.scope, again.attempt, again.first_moment) == (task.scope, 2, task.first_moment)
    assert isinstance(task.message, PushMessage)
    assert again.message == task.message.model_copy(update={"tenant_id": ""})


@pytest.mark.parametrize(
    ("given", "own", "then"),
    [({}, "", None), ({}, "T1", "T1"), ({"tenantId": "T2"}, "T1", "T2"), ({"tenantId": ""}, "T1", None)],
)
def test_a_retry_by_a_function_of_another_app_and_tenant_reaches_the_same_people(
    given: dict[str, str], own: str, then: str | None
) -> None:
    mine = Settings(app_id="A", workspace_id="W", tenant_id=own or None)
    others = Settings(app_id="other", workspace_id="other", tenant_id="other")
    (task,) = tasks_of_record(QueueRecord("mns:M1", message(**given), ""), mine, "fc:here")

    for form in (task.envelope({"user-1": None}, 2), task.message_for({"user-1": None}, with_ids=False)):
        (again,) = tasks_of_record(QueueRecord("mns:M2", form, ""), others, "fc:there")
        assert isinstance(again.message, PushMessage)
        (request,) = requests_of(again.message, others, again.scope)
        assert (request.parameters["AppId"], request.parameters["WorkspaceId"]) == ("A", "W")
        assert request.parameters.get("TenantId") == then


def test_what_an_older_version_reads_of_an_envelope_is_a_message_without_tenant() -> None:
    envelope = only(message()).envelope({"user-1": None}, 2)

    assert "tenantId" not in envelope["message"]
    assert envelope["pushRetry"]["noTenant"] is True


def test_many_envelopes_in_one_entry_come_back_each_with_its_own_scope_and_moment() -> None:
    tasks = [
        PushTask(
            scope=f"elsewhere:{number}",
            original="",
            message=only(message()).message,
            first_moment=1_700_000_000.0 + number,
            payload=message(),
        )
        for number in range(3)
    ]
    entry = pack_envelopes(
        [compact_json(task.envelope({f"user-{n}": None}, n + 2)) for n, task in enumerate(tasks)]
    )

    again = read(entry)

    assert [task.scope for task in again] == [task.scope for task in tasks]
    assert [task.first_moment for task in again] == [task.first_moment for task in tasks]
    assert [task.attempt for task in again] == [2, 3, 4]
    assert [task.message.targets for task in again if isinstance(task.message, PushMessage)] == [
        ("user-0",),
        ("user-1",),
        ("user-2",),
    ]
    assert [json.loads(task.original) for task in again] == json.loads(entry)["messages"]


def test_what_was_within_the_limit_of_objects_is_so_in_an_entry_with_others() -> None:
    items: list[Any] = [{} for _ in range(100)]
    tasks = [only(json.dumps(message(extendedParams={"items": items}))) for _ in range(40)]
    entry = pack_envelopes([compact_json(task.envelope({"user-1": None}, 2)) for task in tasks])

    assert all(isinstance(task.message, PushMessage) for task in [*tasks, *read(entry)])


def test_one_bad_envelope_in_an_entry_harms_no_other() -> None:
    good = only(message()).envelope({"user-1": None}, 2)
    bad = [{"pushRetry": {}, "message": {"titel": "x"}}, "text", None, {"pushRetry": 1}]

    tasks = read({"pushRetry": {"count": 5}, "messages": [good, *bad]})

    assert [isinstance(task.message, InvalidMessage) for task in tasks] == [False, True, True, True, True]
    assert len({task.scope for task in tasks}) == 5


def test_what_the_version_before_wrote_is_read() -> None:
    old = {"pushRetry": {"attempt": 3, "scope": "mns:M0", "derived": True}, "message": message()}

    task = only(old, 1_700_000_000.0)

    assert (task.scope, task.attempt, task.derived) == ("mns:M0", 3, True)
    assert task.first_moment == 1_700_000_000.0


def test_what_a_newer_version_adds_is_ignored() -> None:
    envelope = only(message()).envelope({"user-1": None}, 2)
    newer = {**envelope, "signature": "x", "pushRetry": {**envelope["pushRetry"], "priority": 1}}

    assert only(newer).message == only(envelope).message


@pytest.mark.parametrize("moment", [None, "soon", True, -1, math.inf, math.nan, 10**400, 1e300, [], {}])
def test_a_moment_that_somebody_made_up_makes_no_push_last_longer(moment: Any) -> None:
    made_up = {"pushRetry": {"attempt": 2, "scope": "s", "firstMoment": moment}, "message": message()}
    before = time.time()

    (task,) = tasks_of_record(QueueRecord("mns:M1", made_up, ""), SETTINGS, "fc:here")

    assert before <= task.first_moment <= time.time()


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)
    | st.dictionaries(
        st.sampled_from(["pushRetry", "message", "messages"]),
        st.recursive(
            st.none() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(["attempt", "scope", "firstMoment", "derived", "pushRetry", "message"]),
                    inner,
                )
            ),
        ),
    )
)
def test_no_body_raises(body: Any) -> None:
    for task in tasks_of_record(QueueRecord("mns:M1", body, "original"), SETTINGS, "fc:here"):
        assert isinstance(task.message, (InvalidMessage, PushMessage))
        assert task.attempt >= 1


@pytest.mark.parametrize("change", [{"title": "caf\ufffd"}, {"targets": ["us\ufffder"]}])
def test_a_character_that_was_lost_on_the_way_to_the_queue_is_a_fault(change: dict[str, Any]) -> None:
    assert "holds U+FFFD" in str(only(message(**change)).message)


def test_what_could_not_be_read_is_a_task_that_says_so() -> None:
    (task,) = tasks_of_record(UnreadableElement("not a message", {"what": "ever"}), SETTINGS, "fc:here")

    assert task.scope.startswith("fc:here:sha256:")
    assert json.loads(task.original) == {"what": "ever"}
    assert str(task.message) == "not a message"


# --- What is left of a message -----------------------------------------------------------------------


def test_the_app_of_the_settings_travels_with_a_message_that_names_none() -> None:
    settings = Settings.from_env(
        {"MPAAS_APP_ID": "ONEX1", "MPAAS_WORKSPACE_ID": "default", "MPAAS_TENANT_ID": "TENANT1"}
    )
    (plain, named) = (
        read(body, settings=settings)[0] for body in (message(appId=None), message(appId="ONEX2"))
    )

    assert plain.message_for({"user-1": "id"}, with_ids=False) == message(
        appId="ONEX1", workspaceId="default", tenantId="TENANT1", targets=["user-1"]
    )
    assert named.message_for({"user-1": "id"}, with_ids=False)["appId"] == "ONEX2"


def test_of_an_invalid_message_only_its_text_is_kept() -> None:
    """A batch of 32 MB may hold nothing else; read as JSON, it would take more memory than an instance has."""
    body = json.dumps({"nope": [{"a": {}}] * 1000})

    def read() -> list[PushTask]:
        return [
            task
            for index in range(20)
            for task in tasks_of_record(QueueRecord(f"M{index}", body, body), SETTINGS)
        ]

    assert peak_bytes(read, limit := 5 * 20 * len(body)) <= limit
