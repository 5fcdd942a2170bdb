"""The environment variables of a deployment: read once, validated, documented.

`Settings` is their only table: a field's alias is the variable, its description the meaning. The README's
table and the operator's checks are generated from it.
"""

import os
import re
from enum import Enum
from functools import cache
from ipaddress import ip_address
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
)

from mpaas_push.credentials import stray_characters
from mpaas_push.errors import Misconfigured
from mpaas_push.message.constraints import Level, parse_levels

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

__all__ = ["ApiVersion", "IfDown", "Late", "OnUnknown", "Settings", "is_loopback"]


class ApiVersion(str, Enum):
    """Version of the mPaaS API that a request names."""

    V2019_08_21 = "2019-08-21"
    """The 13 parameters that `aliyun-python-sdk-mpaas` 1.0.0 supports."""
    V2020_10_28 = "2020-10-28"
    """All 34 parameters."""


class OnUnknown(str, Enum):
    """What to do with a request that was sent but got no verdict."""

    REPORT = "report"
    """Report `unknown`; never send it again automatically."""
    RETRY = "retry"
    """Send it again with the same message ids; a phone may show the push twice."""


class IfDown(str, Enum):
    """What to do with a push while the ledger cannot be reached."""

    SEND = "send"
    """Send it without the ledger and log an error: it may be sent twice."""
    FAIL = "fail"
    """Do not send it: its outcome is `throttled`."""


class Late(str, Enum):
    """What to do with a push whose validity ran out before it could be sent."""

    EXPIRE = "expire"
    """Give it up: its outcome is `refused`, with result code `Expired`."""
    SEND = "send"
    """Send it anyway, with its original validity."""


class _WrongValue(ValueError):
    """Names the allowed values of a variable. Only such errors are shown: others may quote a secret."""


def _split(text: str, allowed: str) -> "SplitResult":
    """Split a URL and check its port; errors do not quote it."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise _WrongValue(allowed) from None
    if port == 0:
        raise _WrongValue("must name a port from 1 to 65535")
    return url


def _validate_endpoint(text: str) -> str:
    url = _split(text, f"{_AN_ENDPOINT}, with a port from 1 to 65535 if any")
    if not url.hostname or url.scheme not in {"https", "http"}:
        raise _WrongValue(_AN_ENDPOINT)
    if "@" in url.netloc or url.path.strip("/") or url.query or url.fragment:
        raise _WrongValue("must contain scheme, host and port only")
    if not re.fullmatch(_HOST_AND_PORT, url.netloc):
        raise _WrongValue(f"{_AN_ENDPOINT}, with its host in ASCII")
    if url.scheme == "http" and not is_loopback(url.hostname):
        raise _WrongValue("must be https: plain http is allowed for loopback addresses only")
    return f"{url.scheme}://{url.netloc}"


_AN_ENDPOINT = "must be a URL such as https://mpaas.cn-hangzhou.aliyuncs.com"
# `urlsplit` ignores text after a bracketed host: it reads `[::1].example.com` as `::1`.
_HOST_AND_PORT = r"([A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?"


def is_loopback(host: str) -> bool:
    """Return whether a host is `localhost` or a loopback address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _validate_file(path: str) -> str:
    if not os.path.isfile(path):  # noqa: PTH113 - importing pathlib would slow down a cold start
        raise _WrongValue("must be the path of a readable file of CA certificates in PEM form")
    return path


def _validate_ledger_url(text: str) -> str:
    url = _split(text, f"{_A_LEDGER_URL}; {_ENCODING}")
    # A query or fragment could disable the verification of certificates.
    if url.scheme not in {"redis", "rediss"} or not url.hostname or url.query or url.fragment:
        raise _WrongValue(f"{_A_LEDGER_URL}, without a query; {_ENCODING}")
    user, _, address = url.netloc.rpartition("@")
    if re.search(_NOT_ENCODED, user):
        raise _WrongValue(f"{_A_LEDGER_URL}; {_ENCODING}")
    if not re.fullmatch(_HOST_AND_PORT, address):
        raise _WrongValue(f"{_A_LEDGER_URL}, with its host in ASCII; {_ENCODING}")
    if not re.fullmatch("(/[0-9]{0,4})?", url.path):
        raise _WrongValue(f"{_A_LEDGER_URL}, with nothing after the database number; {_ENCODING}")
    return url.geturl()  # with the scheme in lower case, as the client expects it


_A_LEDGER_URL = "must be a URL such as rediss://user:password@host:6379/0"
_ENCODING = (
    "in user and password, percent-encode `% : / ? # @ [ ]`, spaces and non-ASCII characters "
    "(`%40` for `@`, `%2F` for `/`, `%23` for `#`, `%25` for `%`)"
)
_NOT_ENCODED = r"%(?![0-9A-Fa-f]{2})|[^!-~]|[@\[\]]|:.*:"  # `urlsplit` ends the address at `/`, `?` and `#`


def _validate_function_name(text: str) -> str:
    if not re.fullmatch(_FUNCTION_NAME, text):
        raise _WrongValue(
            "must be the name of a function, such as mpaas-queue-push, or fc2:service/function for one of an "
            "FC 2.0 service; names have letters, digits, `_` and `-` and do not begin with a digit"
        )
    return text


# FC 3.0 calls a function of FC 2.0 `service$function` (fc-runtime.md: SDKs and API versions).
_FUNCTION_NAME = r"fc2:{0}(\.{0})?/{0}|{0}(\${0})?".format("[A-Za-z_][A-Za-z0-9_-]{0,127}")


def _parse_levels(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_levels(value)
    except ValueError as error:  # its texts are meant for users
        raise _WrongValue(str(error)) from None


def _check_dead_letter_queue(name: str | None, info: ValidationInfo) -> str | None:
    if name and name == info.data.get("retry_queue"):
        raise _WrongValue(
            "must differ from PUSH_RETRY_QUEUE: otherwise messages that were given up would be sent again"
        )
    return name


_OptionalEndpoint = Annotated[str | None, AfterValidator(lambda url: url and _validate_endpoint(url))]
_OptionalFunction = Annotated[str | None, AfterValidator(lambda name: name and _validate_function_name(name))]
_OptionalQueue = Annotated[str | None, Field(pattern="^[A-Za-z0-9][A-Za-z0-9-]{0,255}$")]


class Settings(BaseModel):
    """The settings of a deployment; each attribute is one environment variable.

    The constructor raises pydantic's ValidationError, `from_env` raises `Misconfigured`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    app_id: str | None = Field(
        None, alias="MPAAS_APP_ID", description="mPaaS app id for messages without one"
    )
    workspace_id: str | None = Field(
        None, alias="MPAAS_WORKSPACE_ID", description="workspace for messages without one"
    )
    tenant_id: str | None = Field(
        None, alias="MPAAS_TENANT_ID", description="tenant for messages without one; not sent when unset"
    )
    region_id: str = Field(
        "cn-hangzhou",
        alias="MPAAS_REGION_ID",
        description="region named in the request",
        pattern=r"^[a-z0-9-]+$",
    )
    endpoint: Annotated[str, AfterValidator(_validate_endpoint)] = Field(
        "https://mpaas.cn-hangzhou.aliyuncs.com",
        alias="MPAAS_ENDPOINT",
        description="where requests go: https, or http on loopback",
    )
    api_version: ApiVersion = Field(
        ApiVersion.V2020_10_28, alias="MPAAS_API_VERSION", description="version of the mPaaS API"
    )
    concurrency: int = Field(
        50, alias="PUSH_CONCURRENCY", description="concurrent requests in one invocation", ge=1, le=256
    )
    connect_timeout: float = Field(
        5.0, alias="PUSH_CONNECT_TIMEOUT_SECONDS", description="longest wait for a connection", gt=0, le=300
    )
    read_timeout: float = Field(
        10.0,
        alias="PUSH_READ_TIMEOUT_SECONDS",
        description="longest wait for data of a response",
        gt=0,
        le=300,
    )
    max_attempts: int = Field(
        4, alias="PUSH_MAX_ATTEMPTS", description="maximum number of attempts of one request", ge=1, le=20
    )
    on_unknown: OnUnknown = Field(
        OnUnknown.REPORT,
        alias="PUSH_ON_UNKNOWN",
        description="a request sent without verdict: report it, or retry it with the same message ids",
    )
    retry_queue: _OptionalQueue = Field(
        None,
        alias="PUSH_RETRY_QUEUE",
        description="MNS queue for messages of a batch that may be sent again later",
    )
    retry_limit: int = Field(
        10,
        alias="PUSH_RETRY_LIMIT",
        description="how often a message goes through the retry queue before it is given up",
        ge=0,
        le=100,
    )
    dead_letter_queue: Annotated[_OptionalQueue, AfterValidator(_check_dead_letter_queue)] = Field(
        None,
        alias="PUSH_DEAD_LETTER_QUEUE",
        description="MNS queue for messages of a batch that were given up, with the reason",
    )
    mns_endpoint: _OptionalEndpoint = Field(
        None,
        alias="PUSH_MNS_ENDPOINT",
        description="MNS endpoint of the two queues; by default that of the account and region",
    )
    fc_endpoint: _OptionalEndpoint = Field(
        None,
        alias="PUSH_FC_ENDPOINT",
        description="where other functions are called; by default that of the account and region",
    )
    worker_function: _OptionalFunction = Field(
        None,
        alias="PUSH_WORKER_FUNCTION",
        description="function that takes over asynchronous HTTP requests, such as `queue_push`",
    )
    worker_targets: int = Field(
        1000,
        alias="PUSH_WORKER_TARGETS",
        description="an HTTP request with more targets is always handed to that function",
        ge=1,
    )
    campaign_function: _OptionalFunction = Field(
        None,
        alias="PUSH_CAMPAIGN_FUNCTION",
        description="function that works on campaigns, a `campaign_push` in task mode",
    )
    pace: float | None = Field(
        None,
        alias="PUSH_PACE",
        description="maximum number of requests a second to mPaaS by all functions; only campaigns wait",
        gt=0,
        le=100000,
    )
    oss_endpoint: _OptionalEndpoint = Field(
        None,
        alias="PUSH_OSS_ENDPOINT",
        description="OSS endpoint of the campaigns' files; by default the internal one of the region",
    )
    ledger_url: Annotated[str | None, AfterValidator(lambda url: url and _validate_ledger_url(url))] = Field(
        None,
        alias="PUSH_LEDGER_URL",
        description="Redis or Tair that remembers what was sent: `redis://` or, with TLS, `rediss://`",
        repr=False,
    )
    ledger_if_down: IfDown = Field(
        IfDown.SEND,
        alias="PUSH_LEDGER_IF_DOWN",
        description="while the ledger cannot be reached: send without it, or fail (`throttled`)",
    )
    late: Late = Field(
        Late.EXPIRE,
        alias="PUSH_LATE",
        description="a push whose validity ran out while it waited: `expire` (given up) or `send`",
    )
    constraint_levels: Annotated[dict[str, Level], BeforeValidator(_parse_levels)] = Field(
        {},
        alias="PUSH_RULES",
        description="levels (`error`, `warning`, `off`) of message rules that are not officially documented, "
        "as in `unsure=error,expired-seconds-max=warning`",
    )
    max_body: int = Field(
        1048576,
        alias="PUSH_MAX_BODY_BYTES",
        description="largest HTTP request body that is accepted",
        ge=1,
        le=33554432,
    )
    max_messages: int = Field(
        10000,
        alias="PUSH_MAX_MESSAGES",
        description="maximum number of messages in one HTTP request",
        ge=1,
        le=1000000,
    )
    max_targets: int = Field(
        100000,
        alias="PUSH_MAX_TARGETS",
        description="maximum number of targets in one HTTP request, over all of its messages",
        ge=1,
        le=10000000,
    )
    log_level: str = Field(
        "INFO",
        alias="PUSH_LOG_LEVEL",
        description="DEBUG, INFO, WARNING or ERROR",
        pattern="^(DEBUG|INFO|WARNING|ERROR)$",
    )
    ca_bundle: Annotated[str | None, AfterValidator(lambda path: path and _validate_file(path))] = Field(
        None,
        alias="ALIBABA_CLOUD_CA_BUNDLE",
        description="file of the CA certificates to trust; the system's when unset",
    )

    @classmethod
    def from_env(cls, env: "Mapping[str, str] | None" = None) -> "Settings":
        """Read the settings from `env`, by default the process's environment; empty counts as unset.

        Raises:
            Misconfigured: a variable has an invalid value; the text names each such variable.
        """
        env = os.environ if env is None else env
        values = {name: env[name] for name in cls.variables() if env.get(name)}
        for name, value in values.items():
            if flaw := stray_characters(value):
                raise Misconfigured(f"{name}: {flaw}", setting=name)
            # `os.environ` decodes bytes that are not UTF-8 to unpaired surrogates, which cannot be sent.
            if value.encode(errors="ignore").decode() != value:
                raise Misconfigured(f"{name}: must be UTF-8 text", setting=name)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise _misconfigured(error) from None

    @classmethod
    @cache
    def variables(cls) -> "Mapping[str, tuple[str, str]]":
        """Return description and default of each variable, by name."""
        return MappingProxyType(
            {
                str(field.alias): (field.description or "", _as_text(field.default))
                for field in cls.model_fields.values()
            }
        )

    @property
    def defaults(self) -> dict[str, str]:
        """App, workspace and tenant of messages that name none, by documented parameter name."""
        values = {"appId": self.app_id, "workspaceId": self.workspace_id}
        if self.api_version is not ApiVersion.V2019_08_21:  # which has no tenants
            values["tenantId"] = self.tenant_id
        return {name: value for name, value in values.items() if value}


def _as_text(default: Any) -> str:
    if default is None or default == {}:
        return ""
    return str(default.value if isinstance(default, Enum) else default)


def _misconfigured(error: ValidationError) -> Misconfigured:
    from mpaas_push.model_faults import words_of  # only an invalid value needs it

    texts = []
    faults = error.errors(include_url=False)
    for fault in faults:
        name, cause = str(fault["loc"][0]), fault.get("ctx", {}).get("error")
        if fault["type"] == "value_error":
            text = str(cause) if isinstance(cause, _WrongValue) else "cannot be used"
        elif fault["type"] == "int_parsing_size":
            text = words_of(fault)
        else:
            text = _range_of(name) or _ALLOWED.get(name) or words_of(fault)
        texts.append(f"{name}: {text}")
    return Misconfigured("; ".join(texts), setting=str(faults[0]["loc"][0]))


def _range_of(name: str) -> str | None:
    """Return which numbers a variable may hold; None if it holds no number."""
    field = next(field for field in Settings.model_fields.values() if field.alias == name)
    limits = {
        kind: getattr(constraint, kind)
        for constraint in field.metadata
        for kind in ("ge", "gt", "le")
        if hasattr(constraint, kind)
    }
    if not limits:
        return None
    number = "a whole number" if field.annotation is int else "a number"
    words = {"ge": "at least", "gt": "greater than", "le": "at most"}
    return f"must be {number}, " + " and ".join(f"{words[kind]} {limit}" for kind, limit in limits.items())


_A_QUEUE = "must be the name of a queue: 1 to 256 letters, digits and -, the first one a letter or digit"
_ALLOWED = {
    "MPAAS_REGION_ID": "must be a region such as cn-hangzhou",
    "PUSH_RETRY_QUEUE": _A_QUEUE,
    "PUSH_DEAD_LETTER_QUEUE": _A_QUEUE,
    "PUSH_LOG_LEVEL": "must be DEBUG, INFO, WARNING or ERROR",
}
"""What variables with a pattern may hold."""
