from __future__ import annotations

import http.client
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.auth.credentials import StsTokenCredential
from aliyunsdkcore.client import AcsClient
from aliyunsdkmpaas.request.v20190821.PushSimpleRequest import PushSimpleRequest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpaas_local.api_signature import acs3_canonical_request, acs3_signature, sha256_hex
from mpaas_local.mpaas import (
    LOCAL_ACCESS_KEY_ID,
    LOCAL_ACCESS_KEY_SECRET,
    AccessKey,
    Behaviour,
    Sandbox,
)
from tests.mpaas_local.mpaas.calls import Reply, post, push, send, signed_query
from tests.waiting import eventually

if TYPE_CHECKING:
    from alibabacloud_mpaas20201028.client import Client
    from alibabacloud_mpaas20201028.models import PushSimpleRequest as NewRequest

TOKEN = "a-security-token/with+signs=="
STS_KEYS = {"sts-key-id": AccessKey("sts-key-secret", TOKEN)}
NEVER_SHOWN = (LOCAL_ACCESS_KEY_SECRET, TOKEN, "sts-key-secret")


def legacy_request(sandbox: Sandbox, version: str, body: dict[str, str]) -> PushSimpleRequest:
    request = PushSimpleRequest()
    request.set_endpoint(f"127.0.0.1:{sandbox.port}")
    request.set_version(version)
    for name, value in body.items():
        request.add_body_params(name, value)
    return request


def legacy_push(
    client: AcsClient, sandbox: Sandbox, version: str = "2020-10-28", **changes: str | None
) -> Any:
    return json.loads(client.do_action_with_exception(legacy_request(sandbox, version, push(**changes))))


def new_client(sandbox: Sandbox, key_id: str, secret: str, token: str | None = None) -> Client:
    from alibabacloud_mpaas20201028.client import Client  # local, here and below: it imports 500 modules
    from alibabacloud_tea_openapi.models import Config

    endpoint = f"127.0.0.1:{sandbox.port}"
    return Client(
        Config(
            access_key_id=key_id,
            access_key_secret=secret,
            security_token=token,
            endpoint=endpoint,
            protocol="http",
        )
    )


def new_request(**changes: Any) -> NewRequest:
    from alibabacloud_mpaas20201028.models import PushSimpleRequest as NewRequest

    return NewRequest(
        app_id="ONEX570DA89211721",
        workspace_id="test",
        task_name="order shipped",
        title="标题 a+b&c*~",
        content="Your order is on its way",
        delivery_type=3,
        expired_seconds=600,
        target_msgkey='{"user1":"message-of-the-new-client"}',
        **changes,
    )


def code_of(reply: Reply) -> tuple[int, str]:
    assert set(reply.json) == {"RequestId", "HostId", "Code", "Message", "Recommend"}
    assert reply.headers["x-acs-request-id"] == reply.json["RequestId"]
    return reply.status, reply.json["Code"]


def test_the_official_client_pushes_with_the_current_version(sandbox: Sandbox) -> None:
    client = AcsClient(LOCAL_ACCESS_KEY_ID, LOCAL_ACCESS_KEY_SECRET, "cn-hangzhou")

    response = legacy_push(client, sandbox)

    assert response["ResultCode"] == "OK"
    assert response["PushResult"] == {"Success": True, "ResultMsg": "SUCCESS", "Data": ""}
    (entry,) = sandbox.inbox()
    assert entry["requestId"] == response["RequestId"]
    assert entry["parameters"]["Title"] == "标题 a+b&c*~"
    assert (entry["version"], entry["signature"], entry["outcome"]) == ("2020-10-28", "rpc-v1", "accepted")


def test_the_official_client_pushes_with_the_legacy_version(sandbox: Sandbox) -> None:
    client = AcsClient(LOCAL_ACCESS_KEY_ID, LOCAL_ACCESS_KEY_SECRET, "cn-hangzhou")

    response = legacy_push(client, sandbox, "2019-08-21")

    assert set(response) == {"RequestId", "ResultCode", "ResultMessage"}
    assert response["ResultCode"] == "OK"
    assert sandbox.inbox()[0]["version"] == "2019-08-21"


def test_the_official_client_recognises_a_wrong_secret(sandbox: Sandbox) -> None:
    client = AcsClient(LOCAL_ACCESS_KEY_ID, "wrong", "cn-hangzhou")

    with pytest.raises(ServerException) as raised:
        legacy_push(client, sandbox)

    # The SDK finds its own string to sign in the response and concludes that the secret is wrong.
    assert raised.value.error_code == "InvalidAccessKeySecret"
    assert raised.value.http_status == 400


def test_the_new_official_client_pushes(sandbox: Sandbox) -> None:
    client = new_client(sandbox, LOCAL_ACCESS_KEY_ID, LOCAL_ACCESS_KEY_SECRET)

    body = client.push_simple(
        new_request(
            third_channel_category={"hms": "9"},
            activity_event="update",
            activity_content_state={"a": 1, "b": {"c": "d"}},
            transparent_message_payload={"hms": {"k": "v"}},
            transparent_message_urgency="HIGH",
        )
    ).body

    assert (body.result_code, body.push_result.success) == ("OK", True)
    (entry,) = sandbox.inbox()
    assert (entry["signature"], entry["accessKeyId"]) == ("acs3", LOCAL_ACCESS_KEY_ID)
    assert entry["parameters"]["ActivityContentState.b.c"] == "d"
    assert entry["parameters"]["TransparentMessagePayload.hms.k"] == "v"
    assert entry["parameters"]["ThirdChannelCategory"] == '{"hms":"9"}'
    assert entry["notes"] == []


def test_the_new_official_client_reports_a_wrong_secret(sandbox: Sandbox) -> None:
    from alibabacloud_tea_openapi.exceptions import ClientException

    with pytest.raises(ClientException) as raised:
        new_client(sandbox, LOCAL_ACCESS_KEY_ID, "wrong").push_simple(new_request())

    assert raised.value.code == "SignatureDoesNotMatch"


def test_sts_keys_work_with_both_official_clients() -> None:
    with Sandbox(access_keys=STS_KEYS) as sandbox:
        credential = StsTokenCredential("sts-key-id", "sts-key-secret", TOKEN)
        legacy = AcsClient(region_id="cn-hangzhou", credential=credential)
        assert legacy_push(legacy, sandbox)["ResultCode"] == "OK"

        new = new_client(sandbox, "sts-key-id", "sts-key-secret", TOKEN)
        assert new.push_simple(new_request()).body.result_code == "OK"


def test_an_sts_key_without_its_token_is_refused_by_both_signatures() -> None:
    from alibabacloud_tea_openapi.exceptions import ClientException

    with Sandbox(access_keys=STS_KEYS) as sandbox:
        rpc = send(sandbox, key_id="sts-key-id", secret="sts-key-secret")
        assert code_of(rpc) == (400, "MissingSecurityToken")
        with pytest.raises(ClientException) as raised:
            new_client(sandbox, "sts-key-id", "sts-key-secret").push_simple(new_request())
        assert raised.value.code == "MissingSecurityToken"


def test_a_wrong_token_is_refused() -> None:
    with Sandbox(access_keys=STS_KEYS) as sandbox:
        reply = send(sandbox, key_id="sts-key-id", secret="sts-key-secret", SecurityToken="another")

        assert code_of(reply) == (400, "InvalidSecurityToken.MismatchWithAccessKey")


@pytest.mark.parametrize(
    ("expected", "system"),
    [
        ((404, "InvalidAccessKeyId.NotFound"), {"key_id": "unknown"}),
        ((400, "SignatureDoesNotMatch"), {"secret": "wrong"}),
        ((400, "InvalidTimeStamp.Format"), {"Timestamp": "2026-1-2T03:04:05Z"}),
        ((400, "InvalidTimeStamp.Format"), {"Timestamp": "now"}),
        ((400, "InvalidTimeStamp.Expired"), {"Timestamp": "2020-01-02T03:04:05Z"}),
        ((404, "InvalidApi.NotFound"), {"Action": "PushMultiple"}),
        ((400, "InvalidVersion"), {"Version": "2020-07-10"}),
        ((400, "InvalidSignatureMethod"), {"SignatureMethod": "HMAC-SHA256"}),
        ((400, "InvalidSignatureVersion"), {"SignatureVersion": "2.0"}),
        ((400, "MissingAction"), {"Action": None}),
        ((400, "MissingVersion"), {"Version": None}),
        ((400, "MissingAccessKeyId"), {"AccessKeyId": None}),
        ((400, "MissingSignatureMethod"), {"SignatureMethod": None}),
        ((400, "MissingSignatureVersion"), {"SignatureVersion": None}),
        ((400, "MissingSignatureNonce"), {"SignatureNonce": None}),
        ((400, "MissingTimestamp"), {"Timestamp": None}),
        ((400, "MissingSignature"), {"Signature": ""}),
    ],
)
def test_the_gateway_rejects_a_wrong_rpc_call(
    sandbox: Sandbox, expected: tuple[int, str], system: dict[str, str | None]
) -> None:
    reply = send(sandbox, None, **system)

    assert code_of(reply) == expected
    (entry,) = sandbox.inbox()
    assert (entry["outcome"], entry["answer"]["code"]) == ("rejected", expected[1])


def test_any_method_but_post_is_refused(sandbox: Sandbox) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert code_of(post(sandbox, "/", method=method)) == (400, "UnsupportedHTTPMethod")


def test_system_parameters_may_be_in_the_body(sandbox: Sandbox) -> None:
    body = push()

    reply = post(sandbox, "/", urlencode({**signed_query(body), **body}).encode())

    assert reply.json["ResultCode"] == "OK"
    assert "Signature" not in sandbox.inbox()[0]["parameters"]


def test_a_changed_parameter_breaks_the_signature(sandbox: Sandbox) -> None:
    body = push()
    path = "/?" + urlencode(signed_query(body))

    reply = post(sandbox, path, urlencode({**body, "Title": "another"}).encode())

    assert code_of(reply) == (400, "SignatureDoesNotMatch")


def test_a_nonce_works_once(sandbox: Sandbox) -> None:
    nonce = f"nonce-{time.time_ns()}"

    assert send(sandbox, SignatureNonce=nonce).json["ResultCode"] == "OK"
    assert code_of(send(sandbox, SignatureNonce=nonce)) == (400, "SignatureNonceUsed")


def test_a_badly_signed_request_does_not_use_up_its_nonce(sandbox: Sandbox) -> None:
    nonce = f"nonce-{time.time_ns()}"

    assert code_of(send(sandbox, secret="wrong", SignatureNonce=nonce)) == (400, "SignatureDoesNotMatch")
    assert send(sandbox, SignatureNonce=nonce).json["ResultCode"] == "OK"


def test_a_timestamp_is_valid_for_15_minutes_in_both_directions() -> None:
    now = [time.time()]
    with Sandbox(clock=lambda: now[0]) as sandbox:
        sent_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now[0]))
        now[0] = float(int(now[0]))
        for offset, expected in ((900, 200), (901, 400), (-900, 200), (-901, 400)):
            moment, now[0] = now[0], now[0] + offset
            assert send(sandbox, Timestamp=sent_at).status == expected
            now[0] = moment


def acs3_headers(sandbox: Sandbox, body: bytes, **changes: str | None) -> dict[str, str]:
    """Headers of a valid ACS3 request, changed after signing."""
    headers = {
        "host": f"127.0.0.1:{sandbox.port}",
        "x-acs-action": "PushSimple",
        "x-acs-version": "2020-10-28",
        "x-acs-date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "x-acs-signature-nonce": str(time.time_ns()),
        "x-acs-content-sha256": sha256_hex(body),
    }
    canonical = acs3_canonical_request(
        "POST",
        "/",
        query=(),
        headers={name: (value,) for name, value in headers.items()},
        signed_headers=headers,
        content_sha256=headers["x-acs-content-sha256"],
    )
    signature = acs3_signature(canonical, LOCAL_ACCESS_KEY_SECRET)
    headers["authorization"] = (
        f"ACS3-HMAC-SHA256 Credential={LOCAL_ACCESS_KEY_ID},"
        f"SignedHeaders={';'.join(sorted(headers))},Signature={signature}"
    )
    changed = {**headers, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return {name: value for name, value in changed.items() if value is not None}


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        ((400, "MissingTimestamp"), {"x_acs_date": None}),
        ((400, "MissingSignatureNonce"), {"x_acs_signature_nonce": None}),
        ((400, "MissingContentSha256"), {"x_acs_content_sha256": None}),
        ((400, "MissingAction"), {"x_acs_action": None}),
        ((400, "MissingVersion"), {"x_acs_version": None}),
        ((400, "InvalidTimeStamp.Format"), {"x_acs_date": "yesterday"}),
        ((400, "SignatureDoesNotMatch"), {"x_acs_signature_nonce": "another"}),
        ((400, "SignatureDoesNotMatch"), {"x_acs_content_sha256": sha256_hex(b"another body")}),
        ((400, "IncompleteSignature"), {"x_acs_security_token": "not signed"}),
        ((400, "IncompleteSignature"), {"authorization": "ACS3-HMAC-SHA256 nonsense"}),
    ],
)
def test_the_gateway_rejects_a_wrong_acs3_call(
    sandbox: Sandbox, expected: tuple[int, str], changes: dict[str, str | None]
) -> None:
    body = urlencode(push()).encode()

    assert code_of(post(sandbox, "/", body, headers=acs3_headers(sandbox, body, **changes))) == expected


def test_an_acs3_nonce_works_once(sandbox: Sandbox) -> None:
    body = urlencode(push()).encode()
    headers = acs3_headers(sandbox, body)

    assert post(sandbox, "/", body, headers=headers).json["ResultCode"] == "OK"
    assert code_of(post(sandbox, "/", body, headers=headers)) == (400, "SignatureNonceUsed")


def test_a_refused_push_is_http_200_with_the_field_in_the_text(sandbox: Sandbox) -> None:
    reply = send(sandbox, push(ExpiredSeconds="604801"))

    assert reply.status == 200
    assert reply.json["ResultCode"] == "3026"
    assert "ExpiredSeconds" in reply.json["ResultMessage"]
    assert reply.json["PushResult"]["Success"] is False
    assert sandbox.inbox()[0]["outcome"] == "refused"


def test_a_refused_push_of_the_legacy_version_has_no_push_result(sandbox: Sandbox) -> None:
    reply = send(sandbox, push(Title=""), Version="2019-08-21")

    assert set(reply.json) == {"RequestId", "ResultCode", "ResultMessage"}


def test_a_scheduled_push_gets_a_task_id(sandbox: Sandbox) -> None:
    fixed_time = json.dumps({"fixedTime": int(time.time() + 3600) * 1000})

    reply = send(sandbox, push(StrategyType="1", StrategyContent=fixed_time))

    task_id = reply.json["PushResult"]["Data"]
    assert task_id
    assert sandbox.inbox()[0]["taskId"] == task_id


def test_the_success_code_can_be_100() -> None:
    with Sandbox(behaviour=Behaviour(success_code="100")) as sandbox:
        assert send(sandbox).json["ResultCode"] == "100"


def test_a_repeated_message_id_is_accepted_and_marked(sandbox: Sandbox) -> None:
    send(sandbox, push(TargetMsgkey='{"user1":"m1","user2":"m2"}'))
    reply = send(sandbox, push(TargetMsgkey='{"user1":"m1","user3":"m3"}'))

    assert reply.json["ResultCode"] == "OK"
    second, first = sandbox.inbox()
    assert [pair["repeated"] for pair in first["targets"]] == [False, False]
    assert second["targets"] == [
        {"target": "user1", "messageId": "m1", "repeated": True},
        {"target": "user3", "messageId": "m3", "repeated": False},
    ]


def test_only_accepted_pushes_of_the_same_workspace_mark_a_message_id_as_repeated(sandbox: Sandbox) -> None:
    same = '{"user1":"m1"}'
    send(sandbox, push(TargetMsgkey=same, Title=""))
    send(sandbox, push(TargetMsgkey=same, WorkspaceId="other"))
    send(sandbox, push(TargetMsgkey=same))

    assert [entry["targets"][0]["repeated"] for entry in sandbox.inbox()] == [False, False, False]


def test_a_repeated_message_id_can_be_refused() -> None:
    with Sandbox(behaviour=Behaviour(repeated_ids="refuse")) as sandbox:
        body = push()
        assert send(sandbox, body).json["ResultCode"] == "OK"
        assert send(sandbox, body).json["ResultCode"] == "3010"


def test_one_message_id_for_several_targets_can_be_accepted() -> None:
    body = push(TargetMsgkey='{"user1":"m","user2":"m"}')
    for behaviour, code in ((Behaviour(), "3010"), (Behaviour(same_ids="accept"), "OK")):
        with Sandbox(behaviour=behaviour) as sandbox:
            assert send(sandbox, body).json["ResultCode"] == code
            (entry,) = sandbox.inbox()
            assert entry["outcome"] == ("accepted" if code == "OK" else "refused")


def test_no_signature_token_or_secret_reaches_the_inbox(tmp_path: Any) -> None:
    keys = {**STS_KEYS, LOCAL_ACCESS_KEY_ID: AccessKey(LOCAL_ACCESS_KEY_SECRET)}
    signatures = []
    with Sandbox(store=tmp_path / "inbox.db", access_keys=keys) as sandbox:
        sts = {"key_id": "sts-key-id", "secret": "sts-key-secret", "SecurityToken": TOKEN}
        for system in (sts, {**sts, "secret": "wrong"}, {**sts, "Action": "Other"}):
            body = push(Content=f"the secret is {LOCAL_ACCESS_KEY_SECRET} or sts-key-secret")
            query = signed_query(body, **system)
            signatures.append(query["Signature"])
            post(sandbox, "/?" + urlencode(query), urlencode(body).encode())
            everything = urlencode({**query, **body}).replace("SecurityToken", "Security%54oken")
            post(sandbox, "/", everything.encode())
        new_client(sandbox, "sts-key-id", "sts-key-secret", TOKEN).push_simple(new_request())
        shown = json.dumps(sandbox.inbox())
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir()).decode("latin-1")

    assert len(json.loads(shown)) == 7
    for secret in (*NEVER_SHOWN, *signatures):
        for form in (secret, urlencode({"": secret})[1:]):
            assert form not in shown
            assert form not in files


def test_a_body_that_is_too_large_is_refused(sandbox: Sandbox) -> None:
    reply = post(sandbox, "/", b"a" * (1024 * 1024 + 1))

    assert code_of(reply) == (413, "RequestEntityTooLarge")


def test_a_body_that_is_not_utf8_is_refused_by_result_code(sandbox: Sandbox) -> None:
    body = {**push(), "Title": b"\xff".decode("utf-8", "surrogateescape")}
    form = urlencode(body, errors="surrogateescape").encode()

    reply = post(sandbox, "/?" + urlencode(signed_query(body)), form)

    assert reply.json["ResultCode"] == "3031"
    assert sandbox.inbox()[0]["parameters"]["Title"] == "\udcff"


def test_a_client_that_disconnects_during_its_request_is_recorded_as_dropped(sandbox: Sandbox) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=60)
    connection.putrequest("POST", "/")
    connection.putheader("Content-Length", "100")
    connection.endheaders(b"Title=half")
    connection.close()

    eventually(sandbox.inbox)
    (entry,) = sandbox.inbox()
    assert (entry["outcome"], entry["answer"]["connection"]) == ("dropped", "left")


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=300), kind=st.sampled_from(["", "text/plain", "application/json", "%%;=", "é"])
)
def test_no_body_crashes_the_sandbox(sandbox: Sandbox, body: bytes, kind: str) -> None:
    path = "/?" + urlencode({"Action": "PushSimple", "Version": "2020-10-28"})
    headers = {"Content-Type": kind} if kind else {}

    assert post(sandbox, path, body, headers=headers).status in {400, 404}
    assert sandbox.inbox(limit=1)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["Title", "TargetMsgkey", "ExtendedParams", "StrategyContent", "StrategyType", "X.y"])
        | st.text(max_size=5),
        st.text(st.characters(exclude_categories=[])) | st.sampled_from(["1", "2", '{"\\ud800":"\\udfff"}']),
    )
)
def test_no_signed_parameters_crash_the_sandbox(sandbox: Sandbox, changes: dict[str, str]) -> None:
    body = {
        name: value.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
        for name, value in {**push(), **changes}.items()
        if name not in signed_query({})
    }
    form = urlencode(body, errors="surrogateescape").encode()

    reply = post(sandbox, "/?" + urlencode(signed_query(body)), form)

    assert reply.status == 200, reply.body
    assert sandbox.inbox(limit=1)[0]["answer"]["code"] == reply.json["ResultCode"]
