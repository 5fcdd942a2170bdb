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


def left(invocation: Invocation) -> float:
    """Return the seconds that it had when it was made, to a second."""
    return round(invocation.deadline - time.monotonic() + MARGIN_SECONDS)


@pytest.mark.parametrize("timeout", [60, "60", 60.0])
def test_the_functions_timeout_sets_the_deadline_as_number_or_text(timeout: object) -> None:
    context = SimpleNamespace(request_id="1-2", function=SimpleNamespace(timeout=timeout))

    invocation = Invocation.of(context)

    assert left(invocation) == 60
    assert 0 < invocation.time_left < 60 - MARGIN_SECONDS + 0.001
    assert invocation.request_id == "1-2"


def test_a_context_without_timeout_leaves_it_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FC_TIMEOUT", "30")

    assert left(Invocation.of(SimpleNamespace(request_id="1-2"))) == 30


def test_outside_function_compute_there_is_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FC_TIMEOUT", "30")

    invocation = Invocation.of()

    assert invocation.deadline == math.inf
    assert invocation.time_left == math.inf


def test_every_call_outside_function_compute_gets_an_id_of_its_own() -> None:
    first, second = Invocation.of(), Invocation.of()

    assert first.request_id
    assert first.request_id != second.request_id


def test_a_timeout_shorter_than_the_margin_leaves_no_time() -> None:
    context = SimpleNamespace(request_id="1-2", function=SimpleNamespace(timeout=MARGIN_SECONDS / 2))

    assert Invocation.of(context).time_left <= 0


@pytest.mark.parametrize("timeout", ["soon", "", "nan", object()])
def test_a_timeout_that_cannot_be_read_stops_no_push(timeout: object) -> None:
    context = SimpleNamespace(request_id="1-2", function=SimpleNamespace(timeout=timeout))

    assert Invocation.of(context).time_left > 0


def test_the_contexts_keys_are_used() -> None:
    credentials = SimpleNamespace(access_key_id="", access_key_secret="", security_token="")

    assert Invocation.of(SimpleNamespace(credentials=credentials)).credentials.access_key_id == "id"


def test_without_a_key_no_invocation_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MPAAS_AK_ENV", "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("MPAAS_SK_ENV")

    with pytest.raises(Misconfigured):
        Invocation.of()


def test_nothing_printed_shows_a_key() -> None:
    assert "secret" not in repr(Invocation.of())


def context(**changes: Any) -> SimpleNamespace:
    """Return what the contexts of all runtimes have in common."""
    common: dict[str, Any] = {
        "region": "cn-hangzhou",
        "account_id": "1000",
        "function": function("push-prod"),
    }
    return SimpleNamespace(**common | changes)


def function(name: str, **more: Any) -> SimpleNamespace:
    return SimpleNamespace(name=name, handler="index.handler", memory=512, timeout="60", **more)


def test_the_sender_names_region_account_and_deployed_function() -> None:
    assert Invocation.of(context()).sender == "acs:fc:cn-hangzhou:1000:functions/push-prod"


def test_the_sender_is_the_same_in_both_shapes_of_the_context_and_in_every_version() -> None:
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
def test_others_name_a_function_as_it_names_itself(written: str, changes: dict[str, Any]) -> None:
    itself = Invocation.of(context(function=function("campaign_push"), **changes)).sender

    assert sibling_sender(Invocation.of(context()).sender, written) == itself


def test_what_the_context_does_not_tell_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FC_REGION", "cn-hangzhou")
    monkeypatch.setenv("FC_ACCOUNT_ID", "1000")
    monkeypatch.setenv("FC_FUNCTION_NAME", "push-prod")

    for bare in (SimpleNamespace(), SimpleNamespace(region="", account_id=None), None):
        assert Invocation.of(bare).sender == Invocation.of(context()).sender


def test_an_unknown_sender_is_the_same_every_time() -> None:
    assert Invocation.of().sender == Invocation.of(SimpleNamespace(region=None)).sender
