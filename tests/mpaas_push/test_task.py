from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpaas_push import InvalidMessage, PushMessage, Settings
from mpaas_push.task import PushTask, compact_json, pack_envelopes, tasks_of_record
from mpaas_push.triggers.record import QueueRecord, UnreadableElement
from tests.effort import peak_bytes
from tests.functions.http_stack import message
from tests.mpaas_push.planning import requests_of

APP = {"appId": "ONEX1", "workspaceId": "default"}
SETTINGS = Settings.from_env({"MPAAS_APP_ID": "ONEX1", "MPAAS_WORKSPACE_ID": "default"})


def tasks_in(body: Any, moment: float | None = None, settings: Settings = SETTINGS) -> list[PushTask]:
    text = body if isinstance(body, str) else json.dumps(body)
    return tasks_of_record(QueueRecord("mns:M1", text, text, moment), settings, "fc:here")


def task_from(body: Any, moment: float | None = None) -> PushTask:
    (task,) = tasks_in(body, moment)
    return task


def test_plain_message_has_the_scope_and_the_publication_time_of_its_record() -> None:
    task = task_from(message(), 1_700_000_000.5)

    assert (task.scope, task.attempt, task.derived) == ("fc:here:mns:M1", 1, False)
    assert task.first_moment == 1_700_000_000.5
    assert task.expires_at == 1_700_000_600.5


def test_message_of_unknown_age_counts_as_new() -> None:
    before = time.time()

    assert before <= task_from(message()).first_moment <= time.time()


def test_validity_of_a_timed_push_begins_when_mpaas_sends_it() -> None:
    in_an_hour = round((time.time() + 3600) * 1000)
    timed = message(strategyType=1, strategyContent={"fixedTime": in_an_hour})

    assert task_from(timed, 1_700_000_000.0).expires_at == math.inf


# --- The envelope ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "addressing", [{}, {"targets": None, "targetMsgkey": {"user-4711": "order-1"}}], ids=["targets", "ids"]
)
def test_envelope_restores_the_task_for_the_remaining_targets(addressing: dict[str, Any]) -> None:
    task = task_from(message(**addressing), 1_700_000_000.0)

    restored = task_from(compact_json(task.envelope({"user-4711": "order-1"}, 2)), 1_700_009_999.0)

    assert (restored.scope, restored.attempt, restored.first_moment) == (task.scope, 2, task.first_moment)
    assert isinstance(task.message, PushMessage)
    assert restored.message == task.message.model_copy(update={"tenant_id": ""})


@pytest.mark.parametrize(
    ("fields", "tenant_of_settings", "expected"),
    [({}, "", None), ({}, "T1", "T1"), ({"tenantId": "T2"}, "T1", "T2"), ({"tenantId": ""}, "T1", None)],
)
def test_retry_by_a_function_of_another_app_and_tenant_keeps_the_original_ones(
    fields: dict[str, str], tenant_of_settings: str, expected: str | None
) -> None:
    own = Settings(app_id="A", workspace_id="W", tenant_id=tenant_of_settings or None)
    other = Settings(app_id="other", workspace_id="other", tenant_id="other")
    (task,) = tasks_of_record(QueueRecord("mns:M1", message(**fields), ""), own, "fc:here")

    for form in (task.envelope({"user-1": None}, 2), task.message_for({"user-1": None}, with_ids=False)):
        (retry,) = tasks_of_record(QueueRecord("mns:M2", form, ""), other, "fc:there")
        assert isinstance(retry.message, PushMessage)
        (request,) = requests_of(retry.message, other, retry.scope)
        assert (request.parameters["AppId"], request.parameters["WorkspaceId"]) == ("A", "W")
        assert request.parameters.get("TenantId") == expected


def test_envelope_has_no_tenant_that_an_older_version_would_refuse() -> None:
    envelope = task_from(message()).envelope({"user-1": None}, 2)

    assert "tenantId" not in envelope["message"]
    assert envelope["pushRetry"]["noTenant"] is True


def test_each_envelope_in_an_entry_keeps_its_own_scope_and_first_moment() -> None:
    tasks = [
        PushTask(
            scope=f"elsewhere:{number}",
            original="",
            message=task_from(message()).message,
            first_moment=1_700_000_000.0 + number,
            payload=message(),
        )
        for number in range(3)
    ]
    entry = pack_envelopes(
        [compact_json(task.envelope({f"user-{n}": None}, n + 2)) for n, task in enumerate(tasks)]
    )

    restored = tasks_in(entry)

    assert [task.scope for task in restored] == [task.scope for task in tasks]
    assert [task.first_moment for task in restored] == [task.first_moment for task in tasks]
    assert [task.attempt for task in restored] == [2, 3, 4]
    assert [task.message.targets for task in restored if isinstance(task.message, PushMessage)] == [
        ("user-0",),
        ("user-1",),
        ("user-2",),
    ]
    assert [json.loads(task.original) for task in restored] == json.loads(entry)["messages"]


def test_object_limit_applies_to_each_message_of_an_entry() -> None:
    items: list[Any] = [{} for _ in range(100)]
    tasks = [task_from(json.dumps(message(extendedParams={"items": items}))) for _ in range(40)]
    entry = pack_envelopes([compact_json(task.envelope({"user-1": None}, 2)) for task in tasks])

    assert all(isinstance(task.message, PushMessage) for task in [*tasks, *tasks_in(entry)])


def test_invalid_envelopes_do_not_affect_the_others_of_an_entry() -> None:
    valid = task_from(message()).envelope({"user-1": None}, 2)
    invalid = [{"pushRetry": {}, "message": {"titel": "x"}}, "text", None, {"pushRetry": 1}]

    tasks = tasks_in({"pushRetry": {"count": 5}, "messages": [valid, *invalid]})

    assert [isinstance(task.message, InvalidMessage) for task in tasks] == [False, True, True, True, True]
    assert len({task.scope for task in tasks}) == 5


def test_envelope_of_the_previous_version_is_read() -> None:
    old = {"pushRetry": {"attempt": 3, "scope": "mns:M0", "derived": True}, "message": message()}

    task = task_from(old, 1_700_000_000.0)

    assert (task.scope, task.attempt, task.derived) == ("mns:M0", 3, True)
    assert task.first_moment == 1_700_000_000.0


def test_fields_added_by_a_newer_version_are_ignored() -> None:
    envelope = task_from(message()).envelope({"user-1": None}, 2)
    newer = {**envelope, "signature": "x", "pushRetry": {**envelope["pushRetry"], "priority": 1}}

    assert task_from(newer).message == task_from(envelope).message


@pytest.mark.parametrize("moment", [None, "soon", True, -1, math.inf, math.nan, 10**400, 1e300, [], {}])
def test_invalid_first_moment_does_not_extend_the_validity(moment: Any) -> None:
    envelope = {"pushRetry": {"attempt": 2, "scope": "s", "firstMoment": moment}, "message": message()}
    before = time.time()

    (task,) = tasks_of_record(QueueRecord("mns:M1", envelope, ""), SETTINGS, "fc:here")

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
def test_any_body_becomes_tasks(body: Any) -> None:
    for task in tasks_of_record(QueueRecord("mns:M1", body, "original"), SETTINGS, "fc:here"):
        assert isinstance(task.message, (InvalidMessage, PushMessage))
        assert task.attempt >= 1


@pytest.mark.parametrize("change", [{"title": "caf\ufffd"}, {"targets": ["us\ufffder"]}])
def test_replacement_character_of_a_lost_character_is_a_fault(change: dict[str, Any]) -> None:
    assert "contains U+FFFD" in str(task_from(message(**change)).message)


def test_unreadable_element_becomes_an_invalid_task() -> None:
    (task,) = tasks_of_record(UnreadableElement("not a message", {"what": "ever"}), SETTINGS, "fc:here")

    assert task.scope.startswith("fc:here:sha256:")
    assert json.loads(task.original) == {"what": "ever"}
    assert str(task.message) == "not a message"


# --- Messages for the queues -------------------------------------------------------------------------


def test_message_without_an_app_is_queued_with_that_of_the_settings() -> None:
    settings = Settings.from_env(
        {"MPAAS_APP_ID": "ONEX1", "MPAAS_WORKSPACE_ID": "default", "MPAAS_TENANT_ID": "TENANT1"}
    )
    (plain, named) = (
        tasks_in(body, settings=settings)[0] for body in (message(appId=None), message(appId="ONEX2"))
    )

    assert plain.message_for({"user-1": "id"}, with_ids=False) == message(
        appId="ONEX1", workspaceId="default", tenantId="TENANT1", targets=["user-1"]
    )
    assert named.message_for({"user-1": "id"}, with_ids=False)["appId"] == "ONEX2"


def test_invalid_message_is_kept_only_as_text() -> None:
    """A 32 MB batch of invalid messages would exceed an instance's memory if they were kept as JSON."""
    body = json.dumps({"nope": [{"a": {}}] * 1000})

    def read_all() -> list[PushTask]:
        return [
            task
            for index in range(20)
            for task in tasks_of_record(QueueRecord(f"M{index}", body, body), SETTINGS)
        ]

    assert peak_bytes(read_all, limit := 5 * 20 * len(body)) <= limit
