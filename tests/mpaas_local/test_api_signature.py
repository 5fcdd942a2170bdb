from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from aliyunsdkcore.auth.composer import rpc_signature_composer
from hypothesis import given, settings
from hypothesis import strategies as st

from mpaas_local.api_signature import (
    percent_encode,
    read_acs3_authorization,
    rpc_signature,
    rpc_string_to_sign,
)
from tests.signature_vector import FORM, QUERY, SECRET, SIGNATURE

VECTOR = {**QUERY, **FORM}


def test_documented_vector_is_reproduced() -> None:
    assert rpc_signature("POST", VECTOR, SECRET) == SIGNATURE


def test_signature_itself_is_not_signed() -> None:
    assert rpc_string_to_sign("POST", {**VECTOR, "Signature": "x"}) == rpc_string_to_sign("POST", VECTOR)


def test_bytes_that_are_not_utf8_are_encoded_unchanged() -> None:
    assert percent_encode(b"a\xff".decode("utf-8", "surrogateescape")) == "a%FF"


def test_authorization_header_of_another_kind_is_not_read() -> None:
    assert read_acs3_authorization("acs id:signature") is None


@settings(deadline=None)
@given(
    body=st.dictionaries(st.text(min_size=1), st.text()),
    secret=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1),
)
def test_signature_of_any_text_equals_that_of_the_official_sdk(body: dict[str, str], secret: str) -> None:
    query = {"Version": "2020-10-28", "Action": "PushSimple", "RegionId": "cn-hangzhou"}
    body = {name: value for name, value in body.items() if name not in VECTOR and name != "Signature"}

    url, text = rpc_signature_composer.get_signed_url(query, "testid", secret, "JSON", "POST", body)

    sent = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    assert rpc_string_to_sign("POST", {**sent, **body}) == text
    assert rpc_signature("POST", {**sent, **body}, secret) == sent["Signature"]
