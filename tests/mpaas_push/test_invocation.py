from __future__ import annotations

import math
import time
from types import SimpleNamespace
from typing import Any

import pytest

from mpaas_push import Invocation, Misconfigured
from mpaas_push.invocation import MARGIN_SECONDS, sibling_sender


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPAAS_AK_ENV", "id")
    monkeypatch.setenv("MPAAS_SK_ENV", "secret")
    for name in ("FC_TIMEOUT", "FC_REGION", "FC_ACCOUNT_ID", "FC_FUNCTION_NAME"):
        monkeypatch.delenv(name, raising=False)


def total_seconds(invocation: Invocation) -> float:
    """Return the seconds from the invocation's creation to its deadline, rounded."""
    return round(invocation.deadline - time.monotonic() + MARGIN_SECONDS)


@pytest.mark.parametrize("timeout", [60, "60", 60.0])
def test_deadline_comes_from_the_functions_timeout_as_number_or_text(timeout: object) -> None:
    context = SimpleNamespace(request_id="1-2", function=SimpleNamespace(timeout=timeout))

    invocation = Invocation.of(context)

    assert total_seconds(invocation) == 60
    assert 0 < invocation.time_left < 60 - MARGIN_SECONDS + 0.001
    assert invocation.request_id == "1-2"


def test_deadline_comes_from_the_environment_if_the_context_has_no_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FC_TIMEOUT", "30")

    assert total_seconds(Invocation.of(SimpleNamespace(request_id="1-2"))) == 30


def test_invocation_outside_function_compute_has_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FC_TIMEOUT", "30")

    invocation = Invocation.of()

    assert invocation.deadline == math.inf
    assert invocation.time_left == math.inf


def test_every_call_outside_function_compute_gets_its_own_id() -> None:
    first, second = Invocation.of(), Invocation.of()

    assert first.request_id
    assert first.request_id != second.request_id


def test_timeout_shorter_than_the_margin_leaves_no_time() -> None:
    context = SimpleNamespace(request_id="1-2", function=SimpleNamespace(timeout=MARGIN_SECONDS / 2))

    assert Invocation.of(context).time_left <= 0


@pytest.mark.parametrize("timeout", ["soon", "", "nan", object()])
def test_unreadable_timeout_leaves_time_to_send(timeout: object) -> None:
    context = SimpleNamespace(request_id="1-2", function=SimpleNamespace(timeout=timeout))

    assert Invocation.of(context).time_left > 0


def test_environment_keys_are_used_if_the_contexts_are_empty() -> None:
    credentials = SimpleNamespace(access_key_id="", access_key_secret="", security_token="")

    assert Invocation.of(SimpleNamespace(credentials=credentials)).credentials.access_key_id == "id"


def test_invocation_without_a_key_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MPAAS_AK_ENV", "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("MPAAS_SK_ENV")

    with pytest.raises(Misconfigured):
        Invocation.of()


def test_repr_shows_no_key() -> None:
    assert "secret" not in repr(Invocation.of())


def context(**changes: Any) -> SimpleNamespace:
    """Return the attributes that the contexts of all runtimes share."""
    common: dict[str, Any] = {
        "region": "cn-hangzhou",
        "account_id": "1000",
        "function": function("push-prod"),
    }
    return SimpleNamespace(**common | changes)


def function(name: str, **attributes: Any) -> SimpleNamespace:
    return SimpleNamespace(name=name, handler="index.handler", memory=512, timeout="60", **attributes)


def test_sender_names_region_account_and_deployed_function() -> None:
    assert Invocation.of(context()).sender == "acs:fc:cn-hangzhou:1000:functions/push-prod"


def test_sender_is_the_same_with_every_runtime_and_function_version() -> None:
    up_to_310 = context(service=SimpleNamespace(name="", qualifier="LATEST", version_id="1"))
    on_312 = context(function=function("push-prod", qualifier="prod", version_id="7"))

    assert Invocation.of(up_to_310).sender == Invocation.of(on_312).sender


@pytest.mark.parametrize(
    "changes", [{"region": "cn-beijing"}, {"account_id": "2000"}, {"function": function("push-staging")}]
)
def test_another_region_account_or_stage_is_another_sender(changes: dict[str, Any]) -> None:
    assert Invocation.of(context(**changes)).sender != Invocation.of(context()).sender


def test_functions_of_the_same_name_in_two_services_of_fc_2_are_two_senders() -> None:
    dev, prod = (context(service=SimpleNamespace(name=name)) for name in ("push-dev", "push-prod"))

    assert Invocation.of(dev).sender == "acs:fc:cn-hangzhou:1000:functions/push-dev$push-prod"
    assert Invocation.of(dev).sender != Invocation.of(prod).sender


@pytest.mark.parametrize(
    ("written", "changes"),
    [
        ("campaign_push", {}),
        ("push-dev$campaign_push", {"service": SimpleNamespace(name="push-dev")}),
        ("fc2:push-dev/campaign_push", {"service": SimpleNamespace(name="push-dev")}),
        ("fc2:push-dev.LATEST/campaign_push", {"service": SimpleNamespace(name="push-dev")}),
    ],
)
def test_sibling_sender_equals_the_functions_own_sender(written: str, changes: dict[str, Any]) -> None:
    own_sender = Invocation.of(context(function=function("campaign_push"), **changes)).sender

    assert sibling_sender(Invocation.of(context()).sender, written) == own_sender


def test_sender_is_completed_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FC_REGION", "cn-hangzhou")
    monkeypatch.setenv("FC_ACCOUNT_ID", "1000")
    monkeypatch.setenv("FC_FUNCTION_NAME", "push-prod")

    for incomplete in (SimpleNamespace(), SimpleNamespace(region="", account_id=None), None):
        assert Invocation.of(incomplete).sender == Invocation.of(context()).sender


def test_unknown_sender_is_the_same_every_time() -> None:
    assert Invocation.of().sender == Invocation.of(SimpleNamespace(region=None)).sender
