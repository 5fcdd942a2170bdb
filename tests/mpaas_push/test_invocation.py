from __future__ import annotations

import math
import time
from types import SimpleNamespace

import pytest

from mpaas_push import Invocation, Misconfigured
from mpaas_push.invocation import MARGIN_SECONDS


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPAAS_AK_ENV", "id")
    monkeypatch.setenv("MPAAS_SK_ENV", "secret")
    monkeypatch.delenv("FC_TIMEOUT", raising=False)


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
