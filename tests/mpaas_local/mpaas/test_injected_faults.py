from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from mpaas_local.mpaas import LOCAL_ACCESS_KEY_ID, LOCAL_ACCESS_KEY_SECRET, Sandbox
from mpaas_local.mpaas.gateway_errors import HTTP_STATUS
from mpaas_local.mpaas.result_codes import RESULT_NAMES
from tests.mpaas_local.mpaas.calls import post, push, raw_push, send
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "pushsimple.md"


@pytest.fixture
def connection(sandbox: Sandbox) -> Iterator[socket.socket]:
    """A plain TCP connection to the sandbox."""
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=60) as connection:
        yield connection


def last_entry(sandbox: Sandbox) -> Any:
    return sandbox.inbox(limit=1)[0]


def outcome(sandbox: Sandbox) -> tuple[str, str]:
    entry = last_entry(sandbox)
    return entry["outcome"], entry["answer"]["connection"]


def test_result_codes_have_the_names_of_the_reference() -> None:
    page = REFERENCE.read_text("utf-8")
    documented = dict(re.findall(r"^\| (-1|\d{3,4}) \| ([A-Z_\d]+) \|", page, re.MULTILINE))
    documented |= dict(re.findall(r"\b(\d{4})\s([A-Z]+_[A-Z_]+)", page))
    names = ["ALREADY_EXIST", "NAME_NULL", "NAME_INVALID", "CONTENT_INVALID"]
    names += ["TITLE_INVALID", "DESC_INFO_INVALID", "URI_INVALID"]
    documented |= {str(code): f"TEMPLATE_{name}" for code, name in enumerate(names, 3036)}
    assert documented.pop("100") == "SUCCESS"

    assert documented == RESULT_NAMES


@pytest.mark.parametrize("code", sorted(RESULT_NAMES))
def test_every_result_code_can_be_ordered(sandbox: Sandbox, code: str) -> None:
    sandbox.order(kind="result", code=code)

    reply = send(sandbox)

    assert (reply.status, reply.json["ResultCode"]) == (200, code)
    assert reply.json["ResultMessage"] == RESULT_NAMES[code]
    assert reply.json["PushResult"]["Success"] is False
    assert last_entry(sandbox)["outcome"] == "refused"
    assert send(sandbox).json["ResultCode"] == "OK"


def test_an_ordered_result_can_hide_an_accepted_push(sandbox: Sandbox) -> None:
    sandbox.order(kind="result", code="9000", message="no cause known", accept=True)
    body = push()

    assert send(sandbox, body).json["ResultMessage"] == "no cause known"
    assert last_entry(sandbox)["outcome"] == "accepted"
    send(sandbox, body)
    assert last_entry(sandbox)["targets"][0]["repeated"] is True


def test_throttling_says_when_to_retry(sandbox: Sandbox) -> None:
    sandbox.order(kind="throttling", retryAfter=7)

    reply = send(sandbox)

    assert (reply.status, reply.json["Code"]) == (400, "Throttling.User")
    assert reply.headers["retry-after"] == reply.headers["x-acs-retry-after"] == "7"
    assert last_entry(sandbox)["outcome"] == "rejected"


def test_the_new_official_client_understands_the_throttling(sandbox: Sandbox) -> None:
    from alibabacloud_mpaas20201028.client import Client  # late: it imports 500 modules
    from alibabacloud_mpaas20201028.models import PushSimpleRequest
    from alibabacloud_tea_openapi.exceptions import ThrottlingException
    from alibabacloud_tea_openapi.models import Config

    sandbox.order(kind="throttling", retryAfter=7)
    client = Client(
        Config(
            access_key_id=LOCAL_ACCESS_KEY_ID,
            access_key_secret=LOCAL_ACCESS_KEY_SECRET,
            endpoint=f"127.0.0.1:{sandbox.port}",
            protocol="http",
        )
    )
    request = PushSimpleRequest(
        app_id="a",
        workspace_id="w",
        title="t",
        content="c",
        delivery_type=3,
        expired_seconds=60,
        target_msgkey="{}",
    )

    with pytest.raises(ThrottlingException) as raised:
        client.push_simple(request)

    assert raised.value.retry_after == 7


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [("internalError", 500, "InternalError"), ("serviceUnavailable", 503, "ServiceUnavailable")],
)
@pytest.mark.parametrize("accept", [False, True])
def test_server_errors_can_precede_or_follow_acceptance(
    sandbox: Sandbox, kind: str, status: int, code: str, accept: bool
) -> None:
    sandbox.order(kind=kind, accept=accept)

    reply = send(sandbox)

    assert (reply.status, reply.json["Code"]) == (status, code)
    assert last_entry(sandbox)["outcome"] == ("accepted" if accept else "rejected")
    assert last_entry(sandbox)["answer"]["httpStatus"] == status


STATUS_OTHER_THAN_400 = {
    **dict.fromkeys(["InvalidAccessKeyId.NotFound", "InvalidApi.NotFound", "InvalidProduct.NotFound"], 404),
    **dict.fromkeys(["Forbidden", "Forbidden.RAM", "Forbidden.RiskControl"], 403),
    "RequestEntityTooLarge": 413,
    "InternalError": 500,
    "ServiceUnavailable": 503,
}


@pytest.mark.parametrize("code", sorted(HTTP_STATUS))
def test_every_gateway_code_can_be_ordered(sandbox: Sandbox, code: str) -> None:
    sandbox.order(kind="gateway", code=code)

    reply = send(sandbox)

    assert (reply.status, reply.json["Code"]) == (STATUS_OTHER_THAN_400.get(code, 400), code)


def test_an_unknown_gateway_code_can_be_ordered_with_its_status(sandbox: Sandbox) -> None:
    sandbox.order(kind="gateway", code="Surprise.New", status=418, message="short and stout")

    reply = send(sandbox)

    assert (reply.status, reply.json["Code"], reply.json["Message"]) == (
        418,
        "Surprise.New",
        "short and stout",
    )


def test_a_delayed_response_is_late_but_complete(sandbox: Sandbox) -> None:
    sandbox.order(kind="delay", milliseconds=200)

    started = time.monotonic()
    reply = send(sandbox)

    assert time.monotonic() - started >= 0.2
    assert reply.json["ResultCode"] == "OK"


@pytest.mark.parametrize("accept", [True, False])
def test_a_push_can_be_accepted_although_the_client_disconnects_during_the_delay(
    sandbox: Sandbox, accept: bool
) -> None:
    sandbox.order(kind="delay", milliseconds=60_000, accept=accept)
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=0.2) as connection:
        connection.sendall(raw_push(push()))
        with pytest.raises(TimeoutError):
            connection.recv(1)

    eventually(sandbox.inbox)
    assert outcome(sandbox) == (("accepted", "kept") if accept else ("dropped", "left"))


def test_a_reset_before_reading_resets_the_connection_unread(
    sandbox: Sandbox, connection: socket.socket
) -> None:
    sandbox.order(kind="resetBeforeRead")
    connection.sendall(raw_push(push()))

    with pytest.raises(ConnectionResetError):
        connection.recv(1)

    assert outcome(sandbox) == ("dropped", "reset")
    assert last_entry(sandbox)["fault"]["kind"] == "resetBeforeRead"
    assert last_entry(sandbox)["parameters"] is None


def receive_response(connection: socket.socket) -> bytes:
    """One response, head and body."""
    received = b""
    while True:
        head, end, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if end and length and len(body) >= int(length[1]):
            return received
        received += connection.recv(65536)


def test_a_reset_before_reading_also_strikes_a_reused_connection(
    sandbox: Sandbox, connection: socket.socket
) -> None:
    connection.sendall(raw_push(push()))
    assert receive_response(connection).startswith(b"HTTP/1.1 200")
    sandbox.order(kind="resetBeforeRead")
    connection.sendall(raw_push(push()))

    with pytest.raises(ConnectionResetError):
        connection.recv(1)


def test_a_reset_before_reading_spares_the_sandbox_routes(sandbox: Sandbox) -> None:
    sandbox.order(kind="resetBeforeRead")

    for path in ("/faults", "/inbox", "/health"):
        assert post(sandbox, path, method="GET").status == 200
    assert post(sandbox, "/faults", b'{"kind":"internalError"}').status == 201
    assert len(sandbox.faults()) == 2


@pytest.mark.parametrize("accept", [True, False])
def test_a_reset_after_reading_loses_the_response(
    sandbox: Sandbox, connection: socket.socket, accept: bool
) -> None:
    sandbox.order(kind="resetAfterRead", accept=accept)
    connection.sendall(raw_push(push()))

    with pytest.raises(ConnectionResetError):
        connection.recv(1)

    assert outcome(sandbox) == ("accepted" if accept else "dropped", "reset")
    assert last_entry(sandbox)["targets"][0]["target"] == "user1"


@pytest.mark.parametrize("accept", [True, False])
def test_a_cut_body_is_shorter_than_its_content_length(sandbox: Sandbox, accept: bool) -> None:
    sandbox.order(kind="cutBody", accept=accept)

    with pytest.raises(http.client.IncompleteRead) as raised:
        send(sandbox)

    assert raised.value.partial.startswith(b'{"RequestId"')
    assert (raised.value.expected or 0) > 0
    assert outcome(sandbox) == ("accepted" if accept else "dropped", "cut")


@pytest.mark.parametrize("accept", [True, False])
def test_a_response_can_be_html(sandbox: Sandbox, accept: bool) -> None:
    sandbox.order(kind="notJson", status=502, accept=accept)

    reply = send(sandbox)

    assert (reply.status, reply.headers["content-type"]) == (502, "text/html; charset=utf-8")
    with pytest.raises(json.JSONDecodeError):
        _ = reply.json
    assert last_entry(sandbox)["outcome"] == ("accepted" if accept else "dropped")


def test_a_fault_never_accepts_a_wrong_push(sandbox: Sandbox) -> None:
    sandbox.order(kind="resetAfterRead", accept=True)

    with pytest.raises(ConnectionResetError):
        send(sandbox, push(Title=""))

    assert outcome(sandbox) == ("refused", "reset")


def test_a_badly_signed_request_uses_up_no_fault(sandbox: Sandbox) -> None:
    sandbox.order(kind="internalError")

    assert send(sandbox, secret="wrong").json["Code"] == "SignatureDoesNotMatch"
    assert send(sandbox).json["Code"] == "InternalError"


def test_next_limits_the_number_of_strikes(sandbox: Sandbox) -> None:
    sandbox.order(kind="serviceUnavailable", next=2)

    assert [send(sandbox).status for _ in range(3)] == [503, 503, 200]
    assert sandbox.faults() == []


def test_faults_strike_oldest_order_first(sandbox: Sandbox) -> None:
    sandbox.order(kind="internalError")
    sandbox.order(kind="serviceUnavailable")

    assert [send(sandbox).status for _ in range(3)] == [500, 503, 200]


def test_a_rate_strikes_about_that_share_and_a_seed_repeats_it(sandbox: Sandbox) -> None:
    def statuses() -> list[int]:
        sandbox.clear()
        sandbox.order(kind="internalError", rate=0.3, seed=7)
        return [send(sandbox).status for _ in range(100)]

    first = statuses()
    assert 15 < first.count(500) < 45
    assert statuses() == first
    assert sandbox.faults()[0]["struck"] == first.count(500)


@pytest.mark.parametrize(
    "match",
    [{"target": "user2"}, {"taskName": "other"}, {"title": "other"}, {"target": "user2", "title": "other"}],
)
def test_an_order_strikes_only_matching_requests(sandbox: Sandbox, match: dict[str, str]) -> None:
    sandbox.order(kind="internalError", match=match)
    other = push(TargetMsgkey='{"user1":"a","user2":"b"}', TaskName="other", Title="other")

    assert send(sandbox).status == 200
    assert send(sandbox, other).status == 500


def test_cancelled_faults_do_not_strike(sandbox: Sandbox) -> None:
    assert post(sandbox, "/faults", b'{"kind":"internalError","next":5}').status == 201
    listed = post(sandbox, "/faults", method="GET").json["faults"]
    assert [(order["kind"], order["remaining"], order["struck"]) for order in listed] == [
        ("internalError", 5, 0)
    ]

    assert post(sandbox, "/faults", method="DELETE").json == {"deleted": 1}
    assert send(sandbox).status == 200


@pytest.mark.parametrize(
    ("order", "field", "message"),
    [
        ("{", None, "is not JSON: EOF"),
        ("[]", None, "must be an object"),
        ("{}", None, "'kind' is required"),
        ('{"kind":"flood"}', None, "'kind' must be one of 'result'"),
        ('{"kind":"delay"}', "milliseconds", "is required"),
        ('{"kind":"delay","milliseconds":-1}', "milliseconds", "must be at least 0"),
        ('{"kind":"result","code":8011}', "code", "must be text"),
        ('{"kind":"result","code":"OK"}', "code", "must match ^"),
        ('{"kind":"result","code":"100"}', None, "means success"),
        ('{"kind":"gateway","code":"Surprise"}', None, "give status"),
        ('{"kind":"throttling","accept":true}', "accept", "is not a field of this fault"),
        ('{"kind":"internalError","next":0}', "next", "must be at least 1"),
        ('{"kind":"internalError","next":true}', "next", "must be a whole number"),
        ('{"kind":"internalError","rate":1.5}', "rate", "must be at most 1"),
        ('{"kind":"internalError","next":1,"rate":0.5}', None, "either"),
        ('{"kind":"internalError","seed":1}', None, "seed requires rate"),
        ('{"kind":"internalError","match":{"user":"a"}}', "match.user", "is not a field of this fault"),
        ('{"kind":"resetBeforeRead","match":{"target":"a"}}', "match", "is not a field of this fault"),
    ],
)
def test_a_wrong_order_is_rejected_with_the_field_at_fault(
    sandbox: Sandbox, order: str, field: str | None, message: str
) -> None:
    reply = post(sandbox, "/faults", order.encode())

    assert (reply.status, reply.headers["content-type"]) == (422, "application/problem+json")
    (error,) = reply.json["errors"]
    assert error["field"] == field
    assert message in error["message"]
    assert sandbox.faults() == []


def test_a_wrong_order_in_python_raises_an_error(sandbox: Sandbox) -> None:
    with pytest.raises(ValidationError):
        sandbox.order(kind="delay")


def test_concurrent_clients_use_up_exactly_the_ordered_faults(sandbox: Sandbox) -> None:
    sandbox.order(kind="serviceUnavailable", next=7)
    statuses: list[int] = []

    def work() -> None:
        statuses.extend(send(sandbox).status for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (statuses.count(503), statuses.count(200)) == (7, 43)
    assert len(sandbox.inbox()) == 50
