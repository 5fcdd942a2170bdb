from __future__ import annotations

from dataclasses import dataclass

import pytest

from mpaas_push import Credentials, Misconfigured

OWN = {"MPAAS_AK_ENV": "own-id", "MPAAS_SK_ENV": "own-secret"}
PLATFORM = {
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "platform-id",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "platform-secret",
    "ALIBABA_CLOUD_SECURITY_TOKEN": "platform-token",
}


@dataclass
class ContextCredentials:
    access_key_id: str | None = "context-id"
    access_key_secret: str | None = "context-secret"
    security_token: str | None = "context-token"


@dataclass
class Context310:
    """The context of Function Compute up to Python 3.10."""

    credentials: ContextCredentials


class Context312:
    """The context on Python 3.12, which has no credentials."""

    request_id = "1-2"


def parts(credentials: Credentials) -> tuple[str, str, str | None, str]:
    return (
        credentials.access_key_id,
        credentials.access_key_secret,
        credentials.security_token,
        credentials.source,
    )


def test_own_variables_come_before_the_context() -> None:
    credentials = Credentials.resolve(Context310(ContextCredentials()), OWN | PLATFORM)

    assert parts(credentials) == ("own-id", "own-secret", None, "MPAAS_AK_ENV")


def test_context_comes_before_the_platforms_variables() -> None:
    credentials = Credentials.resolve(Context310(ContextCredentials()), PLATFORM)

    assert parts(credentials) == ("context-id", "context-secret", "context-token", "context.credentials")


@pytest.mark.parametrize("context", [None, Context312(), Context310(ContextCredentials("", "", ""))])
def test_platforms_variables_come_last(context: object) -> None:
    credentials = Credentials.resolve(context, PLATFORM)

    assert parts(credentials) == (
        "platform-id",
        "platform-secret",
        "platform-token",
        "ALIBABA_CLOUD_ACCESS_KEY_ID",
    )


def test_permanent_key_has_no_token() -> None:
    without_token = {name: value for name, value in PLATFORM.items() if "TOKEN" not in name}

    assert Credentials.resolve(env=without_token).security_token is None
    assert Credentials.resolve(env=PLATFORM | {"ALIBABA_CLOUD_SECURITY_TOKEN": ""}).security_token is None


def test_platforms_token_is_not_mixed_with_own_keys() -> None:
    assert Credentials.resolve(env=OWN | PLATFORM).security_token is None


@pytest.mark.parametrize("empty", ["", None])
def test_empty_values_count_as_missing(empty: str | None) -> None:
    context = Context310(ContextCredentials(empty, empty, empty))

    credentials = Credentials.resolve(context, PLATFORM | {"MPAAS_AK_ENV": "", "MPAAS_SK_ENV": ""})

    assert credentials.access_key_id == "platform-id"


@pytest.mark.parametrize(
    ("env", "missing"),
    [
        ({"MPAAS_AK_ENV": "id"}, "MPAAS_SK_ENV"),
        ({"MPAAS_SK_ENV": "secret"}, "MPAAS_AK_ENV"),
        ({"MPAAS_AK_ENV": "id", "MPAAS_SK_ENV": ""}, "MPAAS_SK_ENV"),
        ({"ALIBABA_CLOUD_ACCESS_KEY_ID": "id"}, "ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
        ({"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret"}, "ALIBABA_CLOUD_ACCESS_KEY_ID"),
    ],
)
def test_incomplete_pair_names_the_missing_variable(env: dict[str, str], missing: str) -> None:
    with pytest.raises(Misconfigured, match=f"^{missing} is missing") as caught:
        Credentials.resolve(env=env)

    assert caught.value.setting == missing


def test_incomplete_pair_is_an_error_even_if_another_source_is_complete() -> None:
    with pytest.raises(Misconfigured, match="^MPAAS_SK_ENV is missing"):
        Credentials.resolve(Context310(ContextCredentials()), PLATFORM | {"MPAAS_AK_ENV": "id"})


def test_incomplete_pair_in_the_context_is_named() -> None:
    with pytest.raises(Misconfigured, match=r"^context\.credentials\.access_key_secret is missing"):
        Credentials.resolve(Context310(ContextCredentials(access_key_secret="")), PLATFORM)


@pytest.mark.parametrize("context", [None, Context312(), Context310(ContextCredentials(None, None, None))])
def test_error_of_a_missing_key_says_what_to_do(context: object) -> None:
    with pytest.raises(
        Misconfigured, match="or MPAAS_AK_ENV and MPAAS_SK_ENV; a deployed function needs a RAM role"
    ):
        Credentials.resolve(context, {"ALIBABA_CLOUD_SECURITY_TOKEN": "token alone"})


def test_keys_are_read_again_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*OWN, *PLATFORM):
        monkeypatch.delenv(name, raising=False)
    for rotation in ("first", "second"):
        for name, value in PLATFORM.items():
            monkeypatch.setenv(name, f"{value}-{rotation}")

        credentials = Credentials.resolve(Context312())

        assert credentials.access_key_secret == f"platform-secret-{rotation}"
        assert credentials.security_token == f"platform-token-{rotation}"


def test_printed_credentials_show_no_key() -> None:
    credentials = Credentials.resolve(env=PLATFORM)

    for text in (repr(credentials), str(credentials), f"{credentials}"):
        assert "platform" not in text
        assert "ALIBABA_CLOUD_ACCESS_KEY_ID" in text


def test_error_of_an_incomplete_pair_shows_no_key() -> None:
    with pytest.raises(Misconfigured) as caught:
        Credentials.resolve(env={"MPAAS_SK_ENV": "hush-hush"})

    assert "hush" not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize("name", OWN)
def test_key_that_is_not_text_is_refused_by_name(name: str) -> None:
    with pytest.raises(Misconfigured, match=name) as caught:
        Credentials.resolve(env=OWN | {name: "hush\udcff"})

    assert "hush" not in f"{caught.value!r}"


@pytest.mark.parametrize("text", ["key\n", " key", "key\r\n", "ke\ny", "\u200bkey", "ke\ufeffy"])
@pytest.mark.parametrize("name", ["MPAAS_AK_ENV", "MPAAS_SK_ENV"])
def test_key_copied_with_blanks_or_line_ends_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(Misconfigured, match=f"{name}: .*remove it") as caught:
        Credentials.resolve(env={"MPAAS_AK_ENV": "id", "MPAAS_SK_ENV": "secret"} | {name: text})

    assert caught.value.setting == name
