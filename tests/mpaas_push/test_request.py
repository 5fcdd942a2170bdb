from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from aliyunsdkcore.auth.composer import rpc_signature_composer
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.utils import parameter_helper
from aliyunsdkmpaas.request.v20190821.PushSimpleRequest import PushSimpleRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpaas_push import Credentials, InvalidMessage, PushMessage, Settings
from mpaas_push import request as request_module
from mpaas_push.message import PARAMETERS, PARAMETERS_2019
from mpaas_push.request import PushRequest, _encode, _sign
from tests.mpaas_push.message.examples import JSON_FIELDS, clock, everything, loop, minimal, with_targets
from tests.mpaas_push.planning import requests_of
from tests.servers import LOOPBACK, OK, Received, Server, reply
from tests.signature_vector import FORM, QUERY, SECRET, SIGNATURE

NONCE, TIME = "4f6cbb38bcbcf1a9ab9b2ac7a3f2bd15", "2026-11-23T07:30:00Z"
SETTINGS = Settings.from_env({"MPAAS_APP_ID": "ONEX1", "MPAAS_WORKSPACE_ID": "test"})
OLD_API = Settings.from_env(
    {"MPAAS_APP_ID": "ONEX1", "MPAAS_WORKSPACE_ID": "test", "MPAAS_API_VERSION": "2019-08-21"}
)
KEY = Credentials("LTAI-test-id", "test-secret")
TEMPORARY_KEY = Credentials("STS.test-id", "test-secret", "CAIS+token/with=signs&more")
AWKWARD = "标题 a+b&c=d*e~f%20 (\"'\\/) é 🚀\n\t "


@pytest.fixture
def fixed_nonce_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the same nonce and time in the SDK and in the library."""
    monkeypatch.setattr(parameter_helper, "get_uuid", lambda: NONCE)
    monkeypatch.setattr(request_module, "_nonce", lambda: NONCE)
    monkeypatch.setattr(parameter_helper, "get_iso_8061_date", lambda: TIME)
    monkeypatch.setattr(request_module, "_timestamp", lambda _: _encode(TIME))


def parse(message: dict[str, Any]) -> PushMessage:
    return PushMessage.parse(message, clock=clock)


def request_for(message: dict[str, Any], settings: Settings = SETTINGS) -> PushRequest:
    (request,) = requests_of(parse(message), settings, "scope")
    return request


def encoded(query: dict[str, str]) -> dict[str, str]:
    return {name: _encode(text) for name, text in query.items()}


def sent_by_the_sdk(parameters: dict[str, str], version: str, key: Credentials) -> Received:
    """Return the request that the official client sends."""
    request = PushSimpleRequest()
    request.set_version(version)
    for name, text in parameters.items():
        request.add_body_params(name, text)
    request.set_endpoint(LOOPBACK)
    with Server(reply(OK)) as server:
        if key.security_token:
            from aliyunsdkcore.auth.credentials import StsTokenCredential

            credential = StsTokenCredential(key.access_key_id, key.access_key_secret, key.security_token)
            client = AcsClient(region_id="cn-hangzhou", credential=credential, port=server.port)
        else:
            client = AcsClient(key.access_key_id, key.access_key_secret, "cn-hangzhou", port=server.port)
        client.do_action_with_exception(request)
        client.session.close()
        return server.request


@pytest.mark.usefixtures("fixed_nonce_and_time")
@pytest.mark.parametrize("key", [KEY, TEMPORARY_KEY], ids=["permanent", "sts"])
@pytest.mark.parametrize("version", ["2019-08-21", "2020-10-28"])
def test_request_equals_that_of_the_official_client(version: str, key: Credentials) -> None:
    message = everything() | {"title": AWKWARD, "extendedParams": {"k": AWKWARD}}
    settings = SETTINGS
    if version == "2019-08-21":
        settings = OLD_API
        message = {name: value for name, value in message.items() if name in PARAMETERS_2019}
    request = request_for(message, settings)

    official = sent_by_the_sdk(dict(request.parameters), version, key)
    signed = request.sign(key, settings)

    assert signed.body == official.body
    assert signed.path == official.path
    assert "&Signature=" in signed.path
    assert ("SecurityToken" in official.query) is (key is TEMPORARY_KEY)
    for name, text in signed.headers.items():
        if name != "User-Agent":
            assert official.headers[name.lower()] == text
    assert signed.headers["x-acs-version"] == version
    assert signed.headers["x-acs-action"] == "PushSimple"


def test_signature_matches_the_test_vector_of_the_reference() -> None:
    path, body = _sign(encoded(QUERY), FORM, SECRET)

    assert dict(parse_qsl(urlsplit(path).query))["Signature"] == SIGNATURE
    assert dict(parse_qsl(body.decode())) == FORM


names = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", min_size=1)
texts = st.text(st.characters(exclude_categories=["Cs"]))


@settings(deadline=None)
@given(st.dictionaries(names, texts), st.dictionaries(names, texts), texts)
def test_signature_of_any_text_equals_that_of_the_sdk(
    query: dict[str, str], fields: dict[str, str], secret: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parameter_helper, "get_uuid", lambda: NONCE)
        patch.setattr(parameter_helper, "get_iso_8061_date", lambda: TIME)
        computed = {
            "Format",
            "Signature",
            "Timestamp",
            "SignatureMethod",
            "SignatureType",
            "SignatureVersion",
        }
        computed |= {"SignatureNonce", "AccessKeyId"}
        query = {name: text for name, text in query.items() if name not in computed}
        fields = {name: text for name, text in fields.items() if name not in computed | query.keys()}
        signing = dict(query)
        url, _ = rpc_signature_composer.get_signed_url(signing, "id", secret, "JSON", "POST", fields)
    del signing["Signature"]

    path, _ = _sign(encoded(signing), fields, secret)

    assert path == url


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(texts, texts))
def test_any_target_is_written_as_compact_json(targets: dict[str, str]) -> None:
    request = replace(request_for(minimal()), targets=targets)

    text = json.dumps(targets, ensure_ascii=False, separators=(",", ":"))
    assert request.parameters["TargetMsgkey"] == text


def test_all_34_parameters_are_sent() -> None:
    message = everything()

    parameters = request_for(message).parameters

    wire_names = {name[0].upper() + name[1:] for name in PARAMETERS}
    assert len(wire_names) == 34
    assert parameters.keys() == wire_names
    for name in PARAMETERS:
        text = parameters[name[0].upper() + name[1:]]
        if name in JSON_FIELDS:
            assert json.loads(text) == message[name]
            assert text == json.dumps(message[name], ensure_ascii=False, separators=(",", ":"))
        else:
            assert text == str(message[name])


FLATTENED = ("ActivityContentState", "TransparentMessagePayload")
"""Parameters that the modern SDK flattens to `Name.key=value`, which makes every value text.

The Java SDK sends JSON text, and so does the library (pushsimple.md: Version 2020-10-28).
"""


@pytest.mark.filterwarnings(r"ignore:datetime\.datetime\.utcnow\(\) is deprecated:DeprecationWarning")
def test_form_equals_that_of_the_modern_sdk_except_for_flattened_parameters() -> None:
    message = everything() | {"title": AWKWARD, "thirdChannelCategory": {"hms": "9", "vivo": "é"}}
    request = request_for(message)
    values = {name[0].upper() + name[1:]: value for name, value in message.items()}
    values |= {
        name: text
        for name, text in request.parameters.items()
        # The modern SDK accepts these two as maps and serializes them itself.
        if name not in {"ThirdChannelCategory", "NotifyLevel"} and isinstance(values[name], dict)
    }
    values |= {name: json.loads(request.parameters[name]) for name in FLATTENED}

    from alibabacloud_mpaas20201028.client import Client as ModernClient  # imported late: 500 modules
    from alibabacloud_mpaas20201028.models import PushSimpleRequest as ModernRequest
    from alibabacloud_tea_openapi.utils_models import Config

    with Server() as server:
        config = Config(
            access_key_id="id",
            access_key_secret="secret",
            endpoint=f"{LOOPBACK}:{server.port}",
            protocol="http",
        )
        ModernClient(config).push_simple(ModernRequest().from_map(values))
        official = server.request.form

    parameters = dict(request.parameters)
    assert {name: parameters[name] for name in parameters if name not in FLATTENED} == {
        name: text for name, text in official.items() if not name.startswith(FLATTENED)
    }
    # The one intended difference.
    assert parameters["ActivityContentState"] == '{"stops":3,"eta":{"minutes":12.5,"late":false}}'
    assert official["ActivityContentState.stops"] == "3"
    assert official["ActivityContentState.eta.late"] == "False"
    assert parameters["TransparentMessagePayload"] == '{"hms":{"sync":"orders"},"honor":{"sync":"orders"}}'
    assert official["TransparentMessagePayload.hms.sync"] == "orders"


def test_maps_are_sent_as_compact_json_with_unescaped_characters() -> None:
    parameters = request_for(
        minimal() | {"extendedParams": {"名": "é 🚀", "n": 1, "b": True, "z": None}}
    ).parameters

    assert parameters["ExtendedParams"] == '{"名":"é 🚀","n":1,"b":true,"z":null}'
    assert parameters["TargetMsgkey"] == '{"user-4711":"order-4711-1"}'


def test_unset_parameters_are_not_sent() -> None:
    assert request_for(minimal()).parameters == {
        "AppId": "ONEX1",
        "WorkspaceId": "test",
        "TaskName": "order-shipped",
        "Title": "Your order is on its way",
        "Content": "It will arrive tomorrow.",
        "DeliveryType": "3",
        "ExpiredSeconds": "600",
        "PushStyle": "0",
        "TargetMsgkey": '{"user-4711":"order-4711-1"}',
    }


def test_message_overrides_the_settings() -> None:
    settings = Settings.from_env(
        {"MPAAS_APP_ID": "ONEX1", "MPAAS_WORKSPACE_ID": "test", "MPAAS_TENANT_ID": "T1"}
    )

    parameters = request_for(minimal() | {"appId": "ONEX2", "tenantId": "T2"}, settings).parameters

    assert (parameters["AppId"], parameters["WorkspaceId"], parameters["TenantId"]) == ("ONEX2", "test", "T2")
    assert request_for(minimal(), settings).parameters["TenantId"] == "T1"


def test_message_without_app_or_workspace_is_refused_by_name() -> None:
    with pytest.raises(InvalidMessage) as caught:
        requests_of(parse(minimal()), Settings(), "scope")

    assert [fault.field for fault in caught.value.faults] == ["appId", "workspaceId"]
    assert "MPAAS_APP_ID" in str(caught.value)
    assert "MPAAS_WORKSPACE_ID" in str(caught.value)


@pytest.mark.parametrize(("number", "sizes"), [(1, [1]), (10, [10]), (11, [10, 1]), (35, [10, 10, 10, 5])])
def test_targets_are_split_into_requests_of_at_most_ten_in_order(number: int, sizes: list[int]) -> None:
    targets = [f"user-{index}" for index in range(number)]

    requests = requests_of(parse(with_targets(*targets)), SETTINGS, "scope")

    assert [len(request.targets) for request in requests] == sizes
    assert [target for request in requests for target in request.targets] == targets
    for request in requests:
        assert json.loads(request.parameters["TargetMsgkey"]) == request.targets
    assert len({message_id for request in requests for message_id in request.targets.values()}) == number


def test_requests_of_a_redelivered_event_are_the_same() -> None:
    targets = [f"user-{index}" for index in range(25)]

    first = requests_of(parse(with_targets(*targets)), SETTINGS, "queue/1", 2)

    assert first == requests_of(parse(with_targets(*targets)), SETTINGS, "queue/1", 2)
    assert first != requests_of(parse(with_targets(*targets)), SETTINGS, "queue/2", 2)
    assert first != requests_of(parse(with_targets(*targets)), SETTINGS, "queue/1", 3)


def test_every_attempt_has_its_own_signature() -> None:
    request = request_for(minimal())

    first, second = request.sign(KEY, SETTINGS), request.sign(KEY, SETTINGS)

    assert first.body == second.body
    assert _query(first.path)["SignatureNonce"] != _query(second.path)["SignatureNonce"]
    assert _query(first.path)["Signature"] != _query(second.path)["Signature"]


def _query(path: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(path).query, keep_blank_values=True))


def test_old_api_version_gets_its_13_parameters() -> None:
    message = {name: value for name, value in everything().items() if name in PARAMETERS_2019}

    request = request_for(message, OLD_API)

    assert {name[0].lower() + name[1:] for name in request.parameters} == PARAMETERS_2019
    assert _query(request.sign(KEY, OLD_API).path)["Version"] == "2019-08-21"


def test_old_api_version_refuses_newer_parameters_by_name() -> None:
    with pytest.raises(InvalidMessage) as caught:
        request_for(everything(), OLD_API)

    named = {fault.field for fault in caught.value.faults}
    assert named == set(PARAMETERS) - PARAMETERS_2019
    assert "2019-08-21" in str(caught.value)
    assert "MPAAS_API_VERSION=2020-10-28" in str(caught.value)


@pytest.mark.parametrize("name", sorted(set(PARAMETERS) - PARAMETERS_2019 - {"transparentMessageUrgency"}))
def test_each_newer_parameter_is_refused_by_the_old_api_version(name: str) -> None:
    extra = {name: everything()[name]}
    if name in {"strategyType", "strategyContent"}:
        extra = {"strategyType": 2, "strategyContent": loop()}
    if name == "smsStrategy":
        extra |= {other: value for other, value in everything().items() if other.startswith("sms")}

    with pytest.raises(InvalidMessage, match=rf"\b{name}: is not supported"):
        request_for(minimal() | extra, OLD_API)


def test_default_style_is_not_refused_by_the_old_api_version() -> None:
    assert "PushStyle" not in request_for(minimal() | {"pushStyle": 0}, OLD_API).parameters


def test_sms_parameters_are_sent_as_documented() -> None:
    parameters = request_for(
        minimal()
        | {
            "smsStrategy": 2,
            "smsSignName": "mPaaS test",
            "smsTemplateCode": "SMS_216070269",
            "smsTemplateParam": '{"code": 123456}',
        }
    ).parameters

    assert {name: text for name, text in parameters.items() if name.startswith("Sms")} == {
        "SmsStrategy": "2",
        "SmsSignName": "mPaaS test",
        "SmsTemplateCode": "SMS_216070269",
        "SmsTemplateParam": '{"code":123456}',
    }


@pytest.mark.parametrize("spelling", ["strategyContent", "StrategyContent"])
def test_strategy_content_has_the_fields_of_its_type_in_documented_order(spelling: str) -> None:
    message = minimal() | {"strategyType": 2, spelling: json.dumps(loop() | {"fixedTime": 1_893_456_000_000})}

    text = request_for(message).parameters["StrategyContent"]

    assert json.loads(text) == loop()
    assert list(json.loads(text)) == ["startTime", "endTime", "circleType", "circleValue", "time"]


def test_timed_push_sends_only_its_fixed_time() -> None:
    message = minimal() | {"strategyType": 1, "strategyContent": loop() | {"fixedTime": 1_893_456_000_000}}

    assert request_for(message).parameters["StrategyContent"] == '{"fixedTime":1893456000000}'


def test_immediate_push_sends_no_strategy_content() -> None:
    assert (
        "StrategyContent"
        not in request_for(minimal() | {"strategyType": 0, "strategyContent": loop()}).parameters
    )


def test_repr_shows_no_target_and_no_key() -> None:
    request = request_for(minimal())
    signed = request.sign(TEMPORARY_KEY, SETTINGS)

    texts = f"{request!r} {request} {signed!r} {signed}"

    for secret in ("user-4711", "order-4711-1", "test-id", "test-secret", "CAIS", "Signature"):
        assert secret not in texts
    assert str(request) == "PushSimple to us…(9)"


def fingerprint(payload: dict[str, Any], **env: str) -> str:
    defaults = {"MPAAS_APP_ID": "A", "MPAAS_WORKSPACE_ID": "W"}
    (request,) = requests_of(PushMessage.parse(payload), Settings.from_env(defaults | env), "scope")
    return request.fingerprint


def test_fingerprint_does_not_depend_on_json_format_targets_or_defaults() -> None:
    payload = minimal() | {"extendedParams": {"a": 1, "b": {"c": 2, "d": 3}}}

    assert {
        fingerprint(payload),
        fingerprint(dict(reversed(payload.items()))),
        fingerprint(payload | {"extendedParams": ' {"b": {"d": 3, "c": 2}, "a": 1}'}),
        fingerprint(payload | {"extendedParams": '{"a": 1.0, "b": {"c": 2e0, "d": 3.00}}'}),
        fingerprint(payload | {"targetMsgkey": {"another": "id"}, "appId": "B", "pushStyle": 0}),
        fingerprint(payload | {"tenantId": "T"}, MPAAS_TENANT_ID="T2"),
        fingerprint(payload, MPAAS_TENANT_ID="T"),
    } == {fingerprint(payload), fingerprint(payload, MPAAS_TENANT_ID="T")}


@pytest.mark.parametrize(
    "other",
    [{"title": "Another"}, {"expiredSeconds": 601}, {"extendedParams": {"a": "1"}}, {"tenantId": "T"}],
)
def test_different_messages_have_different_fingerprints(other: dict[str, Any]) -> None:
    payload = minimal() | {"extendedParams": {"a": 1}}

    assert fingerprint(payload | other) != fingerprint(payload)


def test_fingerprint_does_not_depend_on_the_remaining_validity() -> None:
    message = PushMessage.parse(minimal() | {"appId": "A", "workspaceId": "W"})

    (now,) = requests_of(message, Settings(), "scope")
    (later,) = requests_of(message, Settings(), "scope", first_moment=time.time() - 60)

    assert later.validity_left() < now.validity_left()
    assert later.fingerprint == now.fingerprint
