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
from mpaas_push.request import PushRequest, _encode, _sign, requests_of
from tests.mpaas_push.message.examples import JSON_FIELDS, clock, everything, loop, minimal, with_targets
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
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same nonce and time for the SDK and for us."""
    monkeypatch.setattr(parameter_helper, "get_uuid", lambda: NONCE)
    monkeypatch.setattr(request_module, "_nonce", lambda: NONCE)
    monkeypatch.setattr(parameter_helper, "get_iso_8061_date", lambda: TIME)
    monkeypatch.setattr(request_module, "_timestamp", lambda _: _encode(TIME))


def parsed(message: dict[str, Any]) -> PushMessage:
    return PushMessage.parse(message, clock=clock)


def only(message: dict[str, Any], settings: Settings = SETTINGS) -> PushRequest:
    (request,) = requests_of(parsed(message), settings, "scope")
    return request


def encoded(query: dict[str, str]) -> dict[str, str]:
    return {name: _encode(text) for name, text in query.items()}


def sent_by_the_sdk(parameters: dict[str, str], version: str, key: Credentials) -> Received:
    """Return what the official client puts on the wire."""
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


@pytest.mark.usefixtures("fixed")
@pytest.mark.parametrize("key", [KEY, TEMPORARY_KEY], ids=["permanent", "sts"])
@pytest.mark.parametrize("version", ["2019-08-21", "2020-10-28"])
def test_the_wire_holds_what_the_official_client_sends(version: str, key: Credentials) -> None:
    message = everything() | {"title": AWKWARD, "extendedParams": {"k": AWKWARD}}
    settings = SETTINGS
    if version == "2019-08-21":
        settings = OLD_API
        message = {name: value for name, value in message.items() if name in PARAMETERS_2019}
    request = only(message, settings)

    theirs = sent_by_the_sdk(dict(request.parameters), version, key)
    ours = request.sign(key, settings)

    assert ours.body == theirs.body
    assert ours.path == theirs.path
    assert "&Signature=" in ours.path
    assert ("SecurityToken" in theirs.query) is (key is TEMPORARY_KEY)
    for name, text in ours.headers.items():
        if name != "User-Agent":
            assert theirs.headers[name.lower()] == text
    assert ours.headers["x-acs-version"] == version
    assert ours.headers["x-acs-action"] == "PushSimple"


def test_the_test_vector_of_the_reference_is_met() -> None:
    path, body = _sign(encoded(QUERY), FORM, SECRET)

    assert dict(parse_qsl(urlsplit(path).query))["Signature"] == SIGNATURE
    assert dict(parse_qsl(body.decode())) == FORM


names = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", min_size=1)
texts = st.text(st.characters(exclude_categories=["Cs"]))


@settings(deadline=None)
@given(st.dictionaries(names, texts), st.dictionaries(names, texts), texts)
def test_any_text_is_signed_as_the_sdk_signs_it(
    query: dict[str, str], fields: dict[str, str], secret: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parameter_helper, "get_uuid", lambda: NONCE)
        patch.setattr(parameter_helper, "get_iso_8061_date", lambda: TIME)
        own = {"Format", "Signature", "Timestamp", "SignatureMethod", "SignatureType", "SignatureVersion"}
        own |= {"SignatureNonce", "AccessKeyId"}
        query = {name: text for name, text in query.items() if name not in own}
        fields = {name: text for name, text in fields.items() if name not in own | query.keys()}
        signing = dict(query)
        url, _ = rpc_signature_composer.get_signed_url(signing, "id", secret, "JSON", "POST", fields)
    del signing["Signature"]

    path, _ = _sign(encoded(signing), fields, secret)

    assert path == url


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(texts, texts))
def test_any_target_is_written_as_the_sdks_write_json(targets: dict[str, str]) -> None:
    request = replace(only(minimal()), targets=targets)

    written = json.dumps(targets, ensure_ascii=False, separators=(",", ":"))
    assert request.parameters["TargetMsgkey"] == written


def test_every_one_of_the_34_parameters_is_on_the_wire() -> None:
    message = everything()

    parameters = only(message).parameters

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
"""The modern SDK takes these two as objects and flattens them to `Name.key=value`, by which every value becomes
text; the Java SDK sends JSON text, and so do we (pushsimple.md: Version 2020-10-28)."""


@pytest.mark.filterwarnings(r"ignore:datetime\.datetime\.utcnow\(\) is deprecated:DeprecationWarning")
def test_the_modern_sdk_puts_the_same_form_on_the_wire() -> None:
    message = everything() | {"title": AWKWARD, "thirdChannelCategory": {"hms": "9", "vivo": "é"}}
    request = only(message)
    values = {name[0].upper() + name[1:]: value for name, value in message.items()}
    values |= {
        name: text
        for name, text in request.parameters.items()
        # The modern SDK takes these two as maps and writes their JSON itself.
        if name not in {"ThirdChannelCategory", "NotifyLevel"} and isinstance(values[name], dict)
    }
    values |= {name: json.loads(request.parameters[name]) for name in FLATTENED}

    from alibabacloud_mpaas20201028.client import Client as ModernClient  # late: it imports 500 modules
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
        theirs = server.request.form

    ours = dict(request.parameters)
    assert {name: ours[name] for name in ours if name not in FLATTENED} == {
        name: text for name, text in theirs.items() if not name.startswith(FLATTENED)
    }
    # The one difference, on purpose.
    assert ours["ActivityContentState"] == '{"stops":3,"eta":{"minutes":12.5,"late":false}}'
    assert theirs["ActivityContentState.stops"] == "3"
    assert theirs["ActivityContentState.eta.late"] == "False"
    assert ours["TransparentMessagePayload"] == '{"hms":{"sync":"orders"},"honor":{"sync":"orders"}}'
    assert theirs["TransparentMessagePayload.hms.sync"] == "orders"


def test_maps_are_compact_json_and_keep_their_characters() -> None:
    parameters = only(minimal() | {"extendedParams": {"名": "é 🚀", "n": 1, "b": True, "z": None}}).parameters

    assert parameters["ExtendedParams"] == '{"名":"é 🚀","n":1,"b":true,"z":null}'
    assert parameters["TargetMsgkey"] == '{"user-4711":"order-4711-1"}'


def test_what_a_message_leaves_out_is_not_sent() -> None:
    assert only(minimal()).parameters == {
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


def test_the_message_wins_over_the_settings() -> None:
    settings = Settings.from_env(
        {"MPAAS_APP_ID": "ONEX1", "MPAAS_WORKSPACE_ID": "test", "MPAAS_TENANT_ID": "T1"}
    )

    own = only(minimal() | {"appId": "ONEX2", "tenantId": "T2"}, settings).parameters

    assert (own["AppId"], own["WorkspaceId"], own["TenantId"]) == ("ONEX2", "test", "T2")
    assert only(minimal(), settings).parameters["TenantId"] == "T1"


def test_a_message_that_no_app_or_workspace_is_known_for_is_refused_by_name() -> None:
    with pytest.raises(InvalidMessage) as caught:
        requests_of(parsed(minimal()), Settings(), "scope")

    assert [fault.field for fault in caught.value.faults] == ["appId", "workspaceId"]
    assert "MPAAS_APP_ID" in str(caught.value)
    assert "MPAAS_WORKSPACE_ID" in str(caught.value)


@pytest.mark.parametrize(("number", "sizes"), [(1, [1]), (10, [10]), (11, [10, 1]), (35, [10, 10, 10, 5])])
def test_targets_are_cut_into_requests_of_at_most_ten_in_order(number: int, sizes: list[int]) -> None:
    targets = [f"user-{place}" for place in range(number)]

    requests = requests_of(parsed(with_targets(*targets)), SETTINGS, "scope")

    assert [len(request.targets) for request in requests] == sizes
    assert [target for request in requests for target in request.targets] == targets
    for request in requests:
        assert json.loads(request.parameters["TargetMsgkey"]) == request.targets
    assert len({message_id for request in requests for message_id in request.targets.values()}) == number


def test_a_request_is_the_same_whenever_its_event_comes_again() -> None:
    targets = [f"user-{place}" for place in range(25)]

    first = requests_of(parsed(with_targets(*targets)), SETTINGS, "queue/1", 2)

    assert first == requests_of(parsed(with_targets(*targets)), SETTINGS, "queue/1", 2)
    assert first != requests_of(parsed(with_targets(*targets)), SETTINGS, "queue/2", 2)
    assert first != requests_of(parsed(with_targets(*targets)), SETTINGS, "queue/1", 3)


def test_every_try_is_signed_anew() -> None:
    request = only(minimal())

    first, second = request.sign(KEY, SETTINGS), request.sign(KEY, SETTINGS)

    assert first.body == second.body
    assert _query(first.path)["SignatureNonce"] != _query(second.path)["SignatureNonce"]
    assert _query(first.path)["Signature"] != _query(second.path)["Signature"]


def _query(path: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(path).query, keep_blank_values=True))


def test_the_old_api_version_gets_its_13_parameters() -> None:
    message = {name: value for name, value in everything().items() if name in PARAMETERS_2019}

    request = only(message, OLD_API)

    assert {name[0].lower() + name[1:] for name in request.parameters} == PARAMETERS_2019
    assert _query(request.sign(KEY, OLD_API).path)["Version"] == "2019-08-21"


def test_the_old_api_version_refuses_newer_parameters_by_name() -> None:
    with pytest.raises(InvalidMessage) as caught:
        only(everything(), OLD_API)

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
        only(minimal() | extra, OLD_API)


def test_the_default_style_is_no_reason_to_refuse() -> None:
    assert "PushStyle" not in only(minimal() | {"pushStyle": 0}, OLD_API).parameters


def test_sms_parameters_are_sent_as_the_page_has_them() -> None:
    parameters = only(
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
def test_strategy_content_holds_what_its_type_uses_in_the_order_of_the_page(spelling: str) -> None:
    message = minimal() | {"strategyType": 2, spelling: json.dumps(loop() | {"fixedTime": 1_893_456_000_000})}

    text = only(message).parameters["StrategyContent"]

    assert json.loads(text) == loop()
    assert list(json.loads(text)) == ["startTime", "endTime", "circleType", "circleValue", "time"]


def test_a_timed_push_sends_its_time_alone() -> None:
    message = minimal() | {"strategyType": 1, "strategyContent": loop() | {"fixedTime": 1_893_456_000_000}}

    assert only(message).parameters["StrategyContent"] == '{"fixedTime":1893456000000}'


def test_an_immediate_push_sends_no_strategy_content() -> None:
    assert (
        "StrategyContent" not in only(minimal() | {"strategyType": 0, "strategyContent": loop()}).parameters
    )


def test_nothing_printed_shows_a_target_or_a_key() -> None:
    request = only(minimal())
    signed = request.sign(TEMPORARY_KEY, SETTINGS)

    texts = f"{request!r} {request} {signed!r} {signed}"

    for hidden in ("user-4711", "order-4711-1", "test-id", "test-secret", "CAIS", "Signature"):
        assert hidden not in texts
    assert str(request) == "PushSimple to us…(9)"


def fingerprint(payload: dict[str, Any], **env: str) -> str:
    defaults = {"MPAAS_APP_ID": "A", "MPAAS_WORKSPACE_ID": "W"}
    (request,) = requests_of(PushMessage.parse(payload), Settings.from_env(defaults | env), "scope")
    return request.fingerprint


def test_the_same_message_has_the_same_fingerprint_however_it_is_written_and_whoever_gets_it() -> None:
    written = minimal() | {"extendedParams": {"a": 1, "b": {"c": 2, "d": 3}}}

    assert {
        fingerprint(written),
        fingerprint(dict(reversed(written.items()))),
        fingerprint(written | {"extendedParams": ' {"b": {"d": 3, "c": 2}, "a": 1}'}),
        fingerprint(written | {"extendedParams": '{"a": 1.0, "b": {"c": 2e0, "d": 3.00}}'}),
        fingerprint(written | {"targetMsgkey": {"another": "id"}, "appId": "B", "pushStyle": 0}),
        fingerprint(written | {"tenantId": "T"}, MPAAS_TENANT_ID="T2"),
        fingerprint(written, MPAAS_TENANT_ID="T"),
    } == {fingerprint(written), fingerprint(written, MPAAS_TENANT_ID="T")}


@pytest.mark.parametrize(
    "other",
    [{"title": "Another"}, {"expiredSeconds": 601}, {"extendedParams": {"a": "1"}}, {"tenantId": "T"}],
)
def test_another_message_has_another_fingerprint(other: dict[str, Any]) -> None:
    written = minimal() | {"extendedParams": {"a": 1}}

    assert fingerprint(written | other) != fingerprint(written)


def test_a_fingerprint_does_not_depend_on_the_validity_that_is_left() -> None:
    message = PushMessage.parse(minimal() | {"appId": "A", "workspaceId": "W"})

    (now,) = requests_of(message, Settings(), "scope")
    (later,) = requests_of(message, Settings(), "scope", first_moment=time.time() - 60)

    assert later.validity_left() < now.validity_left()
    assert later.fingerprint == now.fingerprint
