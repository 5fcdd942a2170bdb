from __future__ import annotations

import re
import string
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

from mpaas_push import Misconfigured, Settings
from mpaas_push.ledger.redis_client import RedisClient
from mpaas_push.message.constraints import Level
from mpaas_push.settings import ApiVersion, OnUnknown
from tests.effort import peak_bytes, steps

if TYPE_CHECKING:
    from pathlib import Path


def test_empty_environment_gives_the_documented_defaults() -> None:
    settings = Settings.from_env({})

    assert settings.region_id == "cn-hangzhou"
    assert settings.endpoint == "https://mpaas.cn-hangzhou.aliyuncs.com"
    assert settings.api_version is ApiVersion.V2020_10_28
    assert settings.on_unknown is OnUnknown.REPORT
    assert settings.log_level == "INFO"
    assert settings.constraint_levels == {}
    assert settings.defaults == {}
    assert settings.ca_bundle is None


def test_every_variable_is_read(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("")

    settings = Settings.from_env(
        {
            "MPAAS_APP_ID": "ONEX1",
            "MPAAS_WORKSPACE_ID": "test",
            "MPAAS_TENANT_ID": "LZFPEFIM",
            "MPAAS_REGION_ID": "ap-southeast-1",
            "MPAAS_ENDPOINT": "https://mpaas.example.com:8443",
            "MPAAS_API_VERSION": "2019-08-21",
            "PUSH_CONCURRENCY": "7",
            "PUSH_CONNECT_TIMEOUT_SECONDS": "1.5",
            "PUSH_READ_TIMEOUT_SECONDS": "20",
            "PUSH_MAX_ATTEMPTS": "1",
            "PUSH_ON_UNKNOWN": "retry",
            "PUSH_RULES": "unsure=error, expired-seconds-max=off",
            "PUSH_MAX_BODY_BYTES": "4096",
            "PUSH_LOG_LEVEL": "DEBUG",
            "ALIBABA_CLOUD_CA_BUNDLE": str(bundle),
        }
    )

    assert settings.tenant_id == "LZFPEFIM"
    assert settings.defaults == {"appId": "ONEX1", "workspaceId": "test"}  # this version has no tenants
    assert settings.region_id == "ap-southeast-1"
    assert settings.endpoint == "https://mpaas.example.com:8443"
    assert settings.api_version is ApiVersion.V2019_08_21
    assert (settings.concurrency, settings.connect_timeout, settings.read_timeout) == (7, 1.5, 20)
    assert (settings.max_attempts, settings.on_unknown) == (1, OnUnknown.RETRY)
    assert settings.constraint_levels["expired-seconds-max"] is Level.OFF
    assert set(settings.constraint_levels.values()) == {Level.OFF, Level.ERROR}
    assert (settings.max_body, settings.log_level, settings.ca_bundle) == (4096, "DEBUG", str(bundle))


def test_empty_value_counts_as_unset() -> None:
    unset = Settings.from_env({})

    assert {name for name in Settings.variables() if Settings.from_env({name: ""}) != unset} == set()


def test_other_variables_are_ignored() -> None:
    assert Settings.from_env({"PATH": "/bin", "endpoint": "ftp://x", "concurrency": "x"}) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("MPAAS_REGION_ID", "cn hangzhou", "must be a region such as cn-hangzhou"),
        ("MPAAS_ENDPOINT", "mpaas.cn-hangzhou.aliyuncs.com", "URL such as https://"),
        ("MPAAS_ENDPOINT", "ftp://mpaas.example.com", "URL such as https://"),
        ("MPAAS_ENDPOINT", "https://", "URL such as https://"),
        ("MPAAS_ENDPOINT", "https://mpaas.example.com/push", "scheme, host and port only"),
        ("MPAAS_ENDPOINT", "https://mpaas.example.com?x=1", "scheme, host and port only"),
        ("MPAAS_ENDPOINT", "https://mpaas.example.com#x", "scheme, host and port only"),
        ("MPAAS_ENDPOINT", "https://key:secret@mpaas.example.com", "scheme, host and port only"),
        ("MPAAS_ENDPOINT", "https://@mpaas.example.com", "scheme, host and port only"),
        ("MPAAS_ENDPOINT", "https://mpaas.example.com:99999", "65535"),
        ("MPAAS_ENDPOINT", "https://mpaas.example.com:0", "65535"),
        ("MPAAS_ENDPOINT", "https://mpaas.example.com:x", "port from 1 to 65535"),
        ("MPAAS_ENDPOINT", "https://mpaas.example.com ", "begins or ends with a space or a line break"),
        *(
            ("MPAAS_APP_ID", text, "has an invisible character (U+")
            for text in ("\u200bONEX", "ONEX\u200b", "O\u200bNEX", "\ufeffONEX", "ON\u00adEX", "ON\u3164EX")
        ),
        *(
            (variable, name, "or fc2:service/function for one of an FC 2.0 service")
            for variable in ("PUSH_WORKER_FUNCTION", "PUSH_CAMPAIGN_FUNCTION")
            for name in (
                *("fc2:noservice", "fc2:", "fc2:/function", "fc2:service/", "fc2:a/b/c", "fc2:a//b"),
                *(
                    "service/function",
                    "a:b",
                    "-worker",
                    "1st",
                    "$",
                    "a$",
                    "a b",
                    "acs:fc:::functions/a",
                    "x" * 129,
                ),
            )
        ),
        ("PUSH_MAX_MESSAGES", "0", "at least 1"),
        ("PUSH_MAX_TARGETS", "x", "must be a whole number"),
        ("PUSH_WORKER_TARGETS", "9" * 5000, "has too many digits"),
        ("PUSH_LATE", "never", "must be 'expire' or 'send'"),
        ("MPAAS_ENDPOINT", "https://mpaas..example.com", "URL such as https://"),
        ("MPAAS_ENDPOINT", "https://[::1", "URL"),
        ("MPAAS_API_VERSION", "2020-07-10", "must be '2019-08-21' or '2020-10-28'"),
        ("PUSH_CONCURRENCY", "many", "must be a whole number, at least 1 and at most 256"),
        ("PUSH_CONCURRENCY", "0", "at least 1"),
        ("PUSH_CONCURRENCY", "257", "at most 256"),
        ("PUSH_CONNECT_TIMEOUT_SECONDS", "0", "greater than 0"),
        ("PUSH_CONNECT_TIMEOUT_SECONDS", "5s", "must be a number"),
        ("PUSH_CONNECT_TIMEOUT_SECONDS", "nan", "at most 300"),
        ("PUSH_READ_TIMEOUT_SECONDS", "inf", "at most 300"),
        ("PUSH_READ_TIMEOUT_SECONDS", "-1", "greater than 0"),
        ("PUSH_MAX_ATTEMPTS", "0", "at least 1"),
        ("PUSH_ON_UNKNOWN", "ignore", "'report' or 'retry'"),
        ("PUSH_RULES", "unsure", "rule=level"),
        ("PUSH_RULES", "unsure=loud", "error, warning, off"),
        ("PUSH_RULES", "no-such-rule=off", "expired-seconds-max"),
        ("PUSH_MAX_BODY_BYTES", "0", "at least 1"),
        ("PUSH_RETRY_QUEUE", "my queue", "must be the name of a queue: 1 to 256 letters, digits and -"),
        ("PUSH_LOG_LEVEL", "verbose", "must be DEBUG, INFO, WARNING or ERROR"),
        ("ALIBABA_CLOUD_CA_BUNDLE", "/no/such/file.pem", "CA certificates in PEM form"),
    ],
)
def test_wrong_value_names_the_variable_and_what_it_may_hold(name: str, value: str, allowed: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Settings.from_env({name: value})

    assert caught.value.setting == name
    assert str(caught.value).startswith(f"{name}: ")
    assert allowed in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "worker",
        "_w",
        "mpaas-queue-push-dev",
        "service$worker",
        "fc2:service/worker",
        "fc2:service.LATEST/worker",
    ],
)
def test_function_names_of_both_generations_are_accepted(name: str) -> None:
    assert Settings.from_env({"PUSH_WORKER_FUNCTION": name}).worker_function == name
    assert Settings.from_env({"PUSH_CAMPAIGN_FUNCTION": name}).campaign_function == name


def test_dead_letter_queue_must_differ_from_the_retry_queue() -> None:
    with pytest.raises(Misconfigured) as caught:
        Settings.from_env({"PUSH_RETRY_QUEUE": "retries", "PUSH_DEAD_LETTER_QUEUE": "retries"})

    assert caught.value.setting == "PUSH_DEAD_LETTER_QUEUE"
    assert "PUSH_DEAD_LETTER_QUEUE: must differ from PUSH_RETRY_QUEUE" in str(caught.value)
    settings = Settings.from_env({"PUSH_RETRY_QUEUE": "retries", "PUSH_DEAD_LETTER_QUEUE": "dead"})
    assert (settings.retry_queue, settings.dead_letter_queue) == ("retries", "dead")


def test_all_invalid_values_are_named_in_one_error() -> None:
    with pytest.raises(Misconfigured, match=r"PUSH_CONCURRENCY: .*; PUSH_MAX_ATTEMPTS: "):
        Settings.from_env({"PUSH_CONCURRENCY": "x", "PUSH_MAX_ATTEMPTS": "y"})


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1",
        "http://127.0.0.1:8080",
        "http://127.8.9.10",
        "http://localhost:9",
        "http://LOCALHOST:9",
        "http://[::1]:8080",
        "https://localhost",
        "https://mpaas.example.com",
        "https://203.0.113.7",
        "HTTPS://mpaas.example.com/",
    ],
)
def test_http_is_accepted_for_loopback_and_https_for_every_host(endpoint: str) -> None:
    accepted = Settings.from_env({"MPAAS_ENDPOINT": endpoint}).endpoint

    assert accepted.lower() == endpoint.lower().rstrip("/")


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://mpaas.cn-hangzhou.aliyuncs.com",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://evil.example:80",
        "http://user@127.0.0.1",
        "http://127.0.0.1@evil.example",
        "http://127.0.0.1\\@evil.example",
        "http://evil.example#@127.0.0.1",
        "http://evil.example?@127.0.0.1",
        "http://127.0.0.1%00.evil.example",
        "http://127.0.0.1%2eevil.example",
        "http://127.0.0.1\t.evil.example",
        "http://0x7f.evil.example",
        "http://0.0.0.0",
        "http://10.0.0.1",
        "http://169.254.169.254",
        "http://128.0.0.1",
        "http://[::]",
        "http://[2001:db8::1]",
        "http://[::1].evil.example",
        "http://[::1",
        "http://ⓛocalhost",
        "http://localho\u017ft",
    ],
)
def test_http_to_another_machine_is_refused_in_every_disguise(endpoint: str) -> None:
    with pytest.raises(Misconfigured, match="MPAAS_ENDPOINT"):
        Settings.from_env({"MPAAS_ENDPOINT": endpoint})


@settings(deadline=None)
@given(st.text(string.ascii_letters + string.digits + ".:@/\\?#%[]-_ \t\n", max_size=30))
def test_any_endpoint_text_is_accepted_or_misconfigured(rest: str) -> None:
    for scheme in ("http://", "https://", ""):
        try:
            settings = Settings.from_env({"MPAAS_ENDPOINT": scheme + rest})
        except Misconfigured as error:
            assert error.setting == "MPAAS_ENDPOINT"  # noqa: PT017 - an error is acceptable here
        else:
            assert settings.endpoint.startswith(("https://", "http://127.", "http://localhost"))


VALUES = st.text(max_size=30) | st.from_regex(
    r"(rediss?|https?)://[a-z:@.%\[\]0-9]{0,20}(/[0-9?=&a-z]{0,8})?|-?[0-9.eE_]{1,12}|[a-z0-9-]{1,12}=[a-z]{0,7}",
    fullmatch=True,
)


@given(st.dictionaries(st.sampled_from(sorted(Settings.variables())), VALUES, min_size=1, max_size=4))
def test_value_of_any_variable_raises_nothing_but_misconfigured(env: dict[str, str]) -> None:
    with suppress(Misconfigured):
        Settings.from_env(env)


@pytest.mark.parametrize("variable", sorted(Settings.variables()))
def test_time_and_memory_grow_linearly_with_a_value(variable: str) -> None:
    def read(part: str, size: int) -> None:
        with suppress(Misconfigured):
            Settings.from_env({variable: part * (size // len(part))})

    read("a", 100)
    for part in ("a", "9", "a:b@", "https://[", "x=off,", "%00", "é"):
        half, whole = (partial(read, part, size) for size in (10_000, 20_000))
        assert peak_bytes(whole, limit := 60 * 20_000) <= limit
        assert steps(whole) <= 2.2 * steps(half) + 200


def test_settings_cannot_be_changed() -> None:
    settings = Settings()

    with pytest.raises(ValueError, match="frozen"):
        settings.concurrency = 1  # type: ignore[misc]  # frozen


def test_each_variable_is_described() -> None:
    variables = Settings.variables()

    assert variables["MPAAS_REGION_ID"][1] == "cn-hangzhou"
    assert variables["PUSH_ON_UNKNOWN"][1] == "report"
    assert variables["MPAAS_APP_ID"][1] == ""
    assert all(meaning for meaning, _ in variables.values())


def test_unpaired_surrogate_is_refused_by_name() -> None:
    with pytest.raises(Misconfigured, match="MPAAS_APP_ID"):
        Settings.from_env({"MPAAS_APP_ID": "ONEX\udcff"})


@pytest.mark.parametrize("value", [" 1", "1 ", "1\n", "\t1", "1\r\n", "a\nb", "a\x00b", "1\u00a0"])
def test_value_with_blanks_or_line_breaks_is_refused_by_name(value: str) -> None:
    for name in Settings.variables():
        with pytest.raises(Misconfigured, match="blank|line break") as caught:
            Settings.from_env({name: value})

        assert caught.value.setting == name


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:qzx/xzq@host:6379/0",
        "redis://user:qzx#xzq@host:6379/0",
        "redis://user:qzx?xzq@host:6379/0",
        "redis://user:qzx@xzq@host:6379/0",
        "redis://user:qzx:xzq@host:6379/0",
        "redis://user:qzx%xzq@host:6379/0",
        "redis://user:qzx[xzq@host:6379/0",
        "redis://user:qzx]xzq@host:6379/0",
        "redis://user:qzx\uff57xzq@host:6379/0",
        "redis://user:qzx\uff0fxzq@host:6379/0",
        "redis://user:qzx xzq@host:6379/0",
        "redis://user:qzxxzq@host:qzx/0",
        "redis://user:qzxxzq@ho\u2100st:6379/0",
        "redis://user:qzxxzq@[::1:6379/0",
        "redis://user:qzxxzq@[qzxxzq]:6379/0",
        "redis://host:qzxxzq",
        "qzxxzq",
    ],
)
def test_no_error_shows_the_password_of_a_ledger_url(url: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Settings.from_env({"PUSH_LEDGER_URL": url})

    text = str(caught.value)
    assert text.startswith("PUSH_LEDGER_URL: must")
    assert "percent-encode" in text
    assert "qzx" not in text
    assert "xzq" not in text


@pytest.mark.parametrize("scheme", ["REDIS", "Rediss"])
def test_scheme_of_a_ledger_url_is_case_insensitive(scheme: str) -> None:
    settings = Settings.from_env({"PUSH_LEDGER_URL": f"{scheme}://User:Pass@Host.example:6379/0"})

    assert settings.ledger_url == f"{scheme.lower()}://User:Pass@Host.example:6379/0"
    RedisClient(settings).close()


def test_ledger_url_with_an_encoded_password_is_accepted() -> None:
    url = "rediss://user:p%40ss%2F%3A%25w0rd-._~!$&'()*+,;=@host:6380/2"

    assert Settings.from_env({"PUSH_LEDGER_URL": url}).ledger_url == url


def test_password_requires_exactly_the_encoding_that_the_error_names() -> None:
    with pytest.raises(Misconfigured) as caught:
        Settings.from_env({"PUSH_LEDGER_URL": "redis://user:%@host"})
    named = re.search("percent-encode `([^`]+)`, spaces and non-ASCII characters", str(caught.value))
    assert named is not None

    for character in map(chr, range(32, 256)):
        password = encoded = f"a{character}b"
        if character in named[1] or not character.isascii() or not character.isprintable():
            with pytest.raises(Misconfigured):
                Settings.from_env({"PUSH_LEDGER_URL": f"redis://user:{password}@host"})
            encoded = quote(password, safe="")
        url = Settings.from_env({"PUSH_LEDGER_URL": f"redis://user:{encoded}@host"}).ledger_url
        assert Redis.from_url(str(url)).connection_pool.connection_kwargs["password"] == password


def test_text_of_an_unexpected_error_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise ValueError("the value was secret")

    monkeypatch.setattr("mpaas_push.settings.is_loopback", fail)

    with pytest.raises(Misconfigured, match="^MPAAS_ENDPOINT: cannot be used$"):
        Settings.from_env({"MPAAS_ENDPOINT": "http://host"})
