"""Nothing that is printed, logged or raised contains a key, token, signature or complete target id."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlencode

import pydantic
import pytest
import trustme

from mpaas_push import (
    Credentials,
    InvalidMessage,
    Invocation,
    Misconfigured,
    Outcome,
    OutcomeKind,
    PushClient,
    PushMessage,
    Settings,
    retries,
)
from mpaas_push.json_text import UnreadableJson, read_json
from mpaas_push.message.reading import message_of, messages_of
from mpaas_push.outcome import verdict_of
from tests.mpaas_push.message.examples import minimal, with_targets
from tests.mpaas_push.planning import requests_of
from tests.mpaas_push.test_client_tls import presenting
from tests.servers import Exchange, Responder, Server, business, closed_port, gateway, hang, raw, reply, reset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY_ID, SECRET, TOKEN = "LTAI5tHiddenKeyId", "HiddenSecret/with+signs=", "CAIS/Hidden+token=&more%"
KEY = Credentials(KEY_ID, SECRET, TOKEN, "context.credentials")
TARGETS = (
    "device-0123456789abcdef0123456789abcdef",
    "用户 4711/é+ü",
    'user "quoted" \\ & <b>',
    "plain-user-4711",
)
LINES: list[str] = []


class RecordingHandler(logging.Handler):
    """Records everything that a handler could output of a record: text, arguments and extra fields."""

    def emit(self, record: logging.LogRecord) -> None:
        LINES.append(f"{self.format(record)} {record.__dict__!r} {record.__dict__!s}")
        LINES.append(json.dumps(record.__dict__, default=str))
        LINES.append(json.dumps(record.__dict__, default=str, ensure_ascii=False))


@pytest.fixture(autouse=True)
def record_logs() -> Iterator[None]:
    """Record the output of every logger at level DEBUG."""
    handler, root = RecordingHandler(logging.NOTSET), logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in list(root.manager.loggerDict))]
    levels = [(logger, logger.level) for logger in loggers]
    LINES.clear()
    root.addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    yield
    root.removeHandler(handler)
    for logger, level in levels:
        logger.setLevel(level)


@pytest.fixture(autouse=True)
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "sleep", lambda _: None)


def encodings_of(text: str) -> set[str]:
    """Return the text in every encoding in which it might appear."""
    encoded = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    encoded |= {encode(form) for form in encoded for encode in (quote, quote_plus)}
    encoded |= {quote(form, safe="") for form in encoded}
    encoded |= {json.dumps(form)[1:-1] for form in encoded} | {repr(form)[1:-1] for form in encoded}
    return encoded | {json.dumps(form)[1:-1] for form in encoded}


def assert_no_secret_in(texts: list[str], *others: str) -> None:
    for secret in (KEY_ID, SECRET, TOKEN, *TARGETS, *others):
        for form in encodings_of(secret):
            for text in texts:
                assert form not in text


def printed(*values: object) -> list[str]:
    """Return every printed form of the values, and the logged lines."""
    texts = [text for value in values for text in (repr(value), str(value), f"{value}", f"{[value]}")]
    return texts + [text.encode().decode() for text in texts] + LINES


def quoting(body_of: Callable[[Exchange], object], status: int = 400) -> Responder:
    """Respond with a part of the request."""
    return lambda exchange: reply(body_of(exchange), status)(exchange)


def string_to_sign(exchange: Exchange) -> str:
    canonical = urlencode(sorted((exchange.request.query | exchange.request.form).items()))
    return f"POST&%2F&{quote(canonical, safe='')}"


def refused(message: str) -> dict[str, Any]:
    return {"RequestId": "R-1", "ResultCode": "3028", "ResultMessage": message}


RESPONDERS: dict[str, tuple[Responder, OutcomeKind]] = {
    "accepted": (reply(), OutcomeKind.ACCEPTED),
    "refused": (business("3028"), OutcomeKind.REFUSED),
    "misconfigured": (gateway("Forbidden.RAM", 403), OutcomeKind.MISCONFIGURED),
    "throttled": (gateway("Throttling"), OutcomeKind.THROTTLED),
    "failed": (gateway("InternalError", 500), OutcomeKind.UNKNOWN),
    "reset": (reset, OutcomeKind.UNKNOWN),
    "no response": (hang, OutcomeKind.UNKNOWN),
    "truncated": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), OutcomeKind.UNKNOWN),
    "not HTTP": (raw(b"what?\r\n\r\n"), OutcomeKind.UNKNOWN),
    "bad headers": (
        lambda exchange: raw(b"HTTP/1.1 200 OK\r\n: odd\r\n" + exchange.request.path.encode() + b"\r\n\r\n")(
            exchange
        ),
        OutcomeKind.UNKNOWN,
    ),
    "redirect": (
        lambda exchange: reply(b"", 307, headers=[("Location", exchange.request.path)])(exchange),
        OutcomeKind.UNKNOWN,
    ),
    "quotes the complete request, not as JSON": (
        quoting(lambda exchange: exchange.request.path.encode() + exchange.request.body),
        OutcomeKind.UNKNOWN,
    ),
    "quotes the string to sign": (
        quoting(
            lambda exchange: {
                "Code": "SignatureDoesNotMatch",
                "Message": "Specified signature is not matched with our calculation. server string to sign is:"
                + string_to_sign(exchange),
            }
        ),
        OutcomeKind.MISCONFIGURED,
    ),
    "quotes the path": (
        quoting(lambda exchange: {"Code": "InvalidTitle", "Message": f"bad: {exchange.request.path}"}),
        OutcomeKind.REFUSED,
    ),
    "quotes targets": (
        quoting(lambda exchange: refused(f"not bound: {', '.join(exchange.request.targets)}"), 200),
        OutcomeKind.REFUSED,
    ),
    "quotes targets as JSON": (
        quoting(lambda exchange: refused(exchange.request.form["TargetMsgkey"]), 200),
        OutcomeKind.REFUSED,
    ),
    "quotes targets as ASCII JSON": (
        quoting(lambda exchange: refused(json.dumps(exchange.request.targets)), 200),
        OutcomeKind.REFUSED,
    ),
    "quotes the body": (
        quoting(lambda exchange: refused(exchange.request.body.decode().rpartition("TargetMsgkey=")[2]), 200),
        OutcomeKind.REFUSED,
    ),
}


def messages() -> list[PushMessage]:
    ids = {target: f"order-{index}-{target}" for index, target in enumerate(TARGETS)}
    return [PushMessage.parse(with_targets(*TARGETS)), PushMessage.parse(minimal() | {"targetMsgkey": ids})]


def send(env: dict[str, str], deadline: float = float("inf")) -> list[Outcome]:
    """Send two messages; return their outcomes after checking everything that can be printed."""
    invocation = Invocation(request_id="1-2", credentials=KEY, deadline=deadline)
    with PushClient.from_env(env) as client:
        outcomes = [
            outcome for part in client.send_all(messages(), invocation=invocation) for outcome in part
        ]
        assert_no_secret_in(printed(client, invocation, client.settings, *outcomes))
        for outcome in outcomes:
            assert_no_secret_in([str(outcome.result_message), str(outcome.result_code)])
    return outcomes


@pytest.mark.parametrize("case", RESPONDERS)
def test_no_response_reveals_a_secret(case: str) -> None:
    respond, kind = RESPONDERS[case]
    with Server(respond) as server:
        outcomes = send(server.env | {"PUSH_READ_TIMEOUT_SECONDS": "1", "PUSH_MAX_ATTEMPTS": "2"})

        assert [outcome.kind for outcome in outcomes] == [kind, kind]
        assert set(outcomes[0].targets) == set(TARGETS)
        for request in server.requests:
            assert request.query["AccessKeyId"] == KEY_ID
            assert request.query["SecurityToken"] == TOKEN
            assert_no_secret_in(LINES, request.query["Signature"])
    assert len([line for line in LINES if "mpaas_push" in line]) >= 2


def test_no_failed_connection_reveals_a_secret() -> None:
    other = presenting(trustme.CA().issue_cert("localhost"))
    settings = {"MPAAS_APP_ID": "A", "MPAAS_WORKSPACE_ID": "W", "PUSH_MAX_ATTEMPTS": "2"}
    with Server(tls=other, host="localhost") as server:
        for endpoint, kind in (
            (server.url, OutcomeKind.MISCONFIGURED),
            (f"http://127.0.0.1:{closed_port()}", OutcomeKind.THROTTLED),
            (f"https://localhost:{closed_port()}", OutcomeKind.THROTTLED),
            ("https://no-such-host.invalid", OutcomeKind.THROTTLED),
        ):
            outcomes = send(settings | {"MPAAS_ENDPOINT": endpoint})

            assert [outcome.kind for outcome in outcomes] == [kind, kind]


def test_unsent_message_reveals_no_secret() -> None:
    assert [outcome.result_code for outcome in send({}, time.monotonic())] == ["InvalidMessage"] * 2
    known = {"MPAAS_APP_ID": "A", "MPAAS_WORKSPACE_ID": "W"}
    assert [outcome.result_code for outcome in send(known, time.monotonic())] == ["NotSent"] * 2


def test_requests_and_verdicts_show_no_secret() -> None:
    settings = Settings.from_env({"MPAAS_APP_ID": "A", "MPAAS_WORKSPACE_ID": "W"})
    for message in messages():
        for request in requests_of(message, settings, "scope"):
            signed = request.sign(KEY, settings)
            assert_no_secret_in(printed(message, request, signed))
    verdict = verdict_of(200, {}, json.dumps(refused(" ".join(TARGETS))).encode())
    assert_no_secret_in(printed(verdict))


def invalid_messages() -> list[dict[str, Any]]:
    """Return messages that are invalid where targets belong or might be put by mistake."""
    first = TARGETS[0]
    return [
        *(minimal() | {"targetMsgkey": {target: ""}} for target in TARGETS),
        *(minimal() | {"targetMsgkey": {target: 7, "other": 8}} for target in TARGETS),
        *(minimal() | {"targetMsgkey": {target: "same", "other": "same"}} for target in TARGETS),
        minimal() | {"targetMsgkey": list(TARGETS)},
        minimal() | {"targetMsgkey": first},
        minimal() | {"targetMsgkey": json.dumps(dict.fromkeys(TARGETS, "")) + "x"},
        minimal() | {"targetMsgkey": f'{{"{first}": "1", "{first}": "2"}}'},
        with_targets(*TARGETS, *TARGETS),
        with_targets(*TARGETS) | {"targetMsgkey": dict.fromkeys(TARGETS, "same")},
        with_targets() | {"targets": [*TARGETS, 7]},
        with_targets() | {"targets": dict.fromkeys(TARGETS, "x")},
        with_targets() | {"targets": first},
        *(minimal() | {name: first} for name in minimal() if name not in {"taskName", "title", "content"}),
        minimal() | dict.fromkeys(TARGETS, 1),
        with_targets() | {"targets": [dict.fromkeys(TARGETS, "x")]},
        minimal() | {"targetMsgkey": {"other": dict.fromkeys(TARGETS, "x")}},
        minimal() | {"targetMsgkey": {"other": json.dumps(TARGETS), "another": list(TARGETS)}},
        *(minimal() | {name: dict.fromkeys(TARGETS, 7)} for name in MAPS),
        *(minimal() | {name: {target: {"k": float("nan")} for target in TARGETS}} for name in MAPS),
        *(minimal() | {name: {"hms": dict.fromkeys(TARGETS, "\ud800")}} for name in MAPS),
        *(minimal() | {name: f'{{"{first}": {{"{first}": 1, "{first}": 2}}}}'} for name in MAPS),
        *(minimal() | {name: f'{{"hms": {{"{first}": "\\ud800"}}}}'} for name in MAPS),
        minimal() | {"strategyType": 1, "strategyContent": dict.fromkeys(TARGETS, 1)},
        minimal() | {"title": "", "extendedParams": {target: [{target: 1}] for target in TARGETS}},
    ]


MAPS = (
    *("extendedParams", "imageUrls", "iconUrls", "thirdChannelCategory", "notifyLevel", "strategyContent"),
    *("smsTemplateParam", "activityContentState", "transparentMessagePayload"),
)


def invalid_payloads() -> list[Any]:
    """Return payloads that are invalid outside their messages."""
    first = TARGETS[0]
    return [
        {"messages": dict.fromkeys(TARGETS, minimal())},
        {"messages": [dict.fromkeys(TARGETS, minimal())]},
        {"messages": [minimal()], **dict.fromkeys(TARGETS, 1)},
        dict.fromkeys(TARGETS, minimal()),
        list(TARGETS),
        first,
    ]


@pytest.mark.parametrize("payload", invalid_payloads())
def test_errors_of_an_invalid_payload_show_no_target(payload: Any) -> None:
    for invalid in messages_of(payload, Settings()):
        assert isinstance(invalid, InvalidMessage)
        assert_no_secret_in(printed(invalid, *invalid.faults))


@pytest.mark.parametrize(
    "text",
    [
        '{"%s": 1, "%s": 2}',
        '{"data": {"%s": {"%s": 1}, "a": [{"%s": {}, "%s": 2}]}}',
        '{"messages": {"%s": {"x": 1, "x": 2}}, "%s": 1}',
        '{"targetMsgkey": {"%s": "a"}, "targetMsgkey": {"%s": "b"}}',
        '{"extendedParams": {"%s": 1, "%s": "\\ud800"}}',
        '[{"%s": [{"%s": "\\ud800"}]}]',
        '{"%s": NaN, "%s": 1e999}',
        '{"%s"; "%s"}',
    ],
)
def test_error_of_unreadable_json_shows_no_target(text: str) -> None:
    for target in TARGETS:
        with pytest.raises(UnreadableJson) as caught:
            read_json(text.replace("%s", target))
        assert_no_secret_in(printed(caught.value, *caught.value.paths))


@pytest.mark.parametrize("payload", invalid_messages())
def test_errors_of_an_invalid_message_show_no_target(payload: dict[str, Any]) -> None:
    invalid = message_of(payload, Settings(), "messages.3")

    assert isinstance(invalid, InvalidMessage)
    outcome = Outcome.invalid(invalid.faults, invalid.targets)
    assert_no_secret_in(printed(invalid, outcome, *invalid.faults))
    assert_no_secret_in([json.dumps(fault.as_json(), ensure_ascii=False) for fault in invalid.faults])
    try:
        message = PushMessage(**payload)
    except pydantic.ValidationError as error:
        assert_no_secret_in([repr(error), str(error)])
    else:  # only app and workspace are missing, and there are warnings
        advice = [json.dumps(warning.as_json(), ensure_ascii=False) for warning in message.advice()]
        assert advice
        assert_no_secret_in([repr(message), *advice])


@pytest.mark.parametrize(
    "env",
    [
        {"MPAAS_SK_ENV": SECRET},
        {"MPAAS_AK_ENV": KEY_ID},
        {"ALIBABA_CLOUD_ACCESS_KEY_SECRET": SECRET, "ALIBABA_CLOUD_SECURITY_TOKEN": TOKEN},
        {"MPAAS_AK_ENV": KEY_ID, "MPAAS_SK_ENV": f"{SECRET}é"},
        {},
    ],
)
def test_error_of_invalid_keys_shows_no_key(env: dict[str, str]) -> None:
    with pytest.raises(Misconfigured) as caught:
        Credentials.resolve(env=env)

    assert_no_secret_in(printed(caught.value))
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("name", Settings.variables())
def test_key_in_the_wrong_variable_is_not_shown(name: str) -> None:
    # Apps, workspaces and tenants may be any text and are shown: a key cannot be distinguished from them.
    try:
        settings = Settings.from_env({name: SECRET})
    except Misconfigured as error:
        assert_no_secret_in(printed(error))
    else:
        assert name in {"MPAAS_APP_ID", "MPAAS_WORKSPACE_ID", "MPAAS_TENANT_ID"}
        assert settings.defaults


def test_credentials_and_invocation_show_only_the_source_of_the_key() -> None:
    assert_no_secret_in(printed(KEY, Invocation(request_id="1-2", credentials=KEY)))
    assert repr(KEY) == "Credentials(source='context.credentials')"
