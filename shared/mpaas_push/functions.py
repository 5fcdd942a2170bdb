"""Calling other functions: of FC 3.0, or of a service of FC 2.0, each through its official SDK.

A name and a payload go in, what the function answered comes out. Nothing is ever sent twice: both SDKs are
kept from trying again, because a call whose answer was lost may have been made.
"""

from __future__ import annotations

import io
import json
import logging
import math
import os
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mpaas_push.errors import Misconfigured, PushError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mpaas_push.credentials import Credentials
    from mpaas_push.settings import Settings

__all__ = [
    "ASYNC_BYTES",
    "NOT_REACHED",
    "FunctionFailed",
    "Functions",
    "InvocationRefused",
    "InvocationUnknown",
    "Invoked",
]

ASYNC_BYTES = 128 * 1024
"""Longest payload of an asynchronous invocation (fc-runtime.md: Asynchronous invocation)."""
TIMEOUT_SECONDS = 60.0
SERVICE_PREFIX = "fc2:"
"""Names a function of a service of FC 2.0, as in ``fc2:service/function``."""
TOO_MANY_REQUESTS, FIRST_SERVER_ERROR = 429, 500
NOT_REACHED = "NotReached"
"""Code of a call for which no connection was made."""


@dataclass(frozen=True)
class Invoked:
    """An invocation that was made, or accepted.

    Attributes:
        request_id: Function Compute's id of it.
        payload: What the function returned; empty when nobody waits for it.
    """

    request_id: str
    payload: bytes = b""


class FunctionFailed(PushError):
    """The function was called and failed.

    Attributes:
        request_id: Of the invocation.
        error_type: ``UnhandledInvocationError`` and the like (fc-runtime.md: Error semantics).
        payload: The error as the runtime describes it, JSON.
    """

    def __init__(self, function: str, request_id: str, error_type: str, payload: bytes) -> None:
        self.request_id, self.error_type, self.payload = request_id, error_type, payload
        super().__init__(f"{function} failed: {_described(payload) or error_type} (request {request_id})")


class InvocationRefused(PushError):
    """Function Compute did not make the call.

    Attributes:
        status: HTTP status; 0 without an answer.
        code: ``FunctionNotFound``, ``AccessDenied``, ``ResourceExhausted``, ``AsyncTaskAlreadyExists``, …, or
            `NOT_REACHED`.
        request_id: Of the refusal, if it has one.
    """

    def __init__(self, function: str, status: int, code: str, request_id: str = "", *, why: str = "") -> None:
        self.status, self.code, self.request_id = status, code, request_id
        super().__init__(f"{function} was not called: {why or f'{status} {code}'}")

    @property
    def may_be_tried_again(self) -> bool:
        """Whether it was refused for load or by a failing platform, or there was no way to it."""
        busy = self.status == TOO_MANY_REQUESTS or self.status >= FIRST_SERVER_ERROR
        return busy or self.code == NOT_REACHED


class InvocationUnknown(PushError):
    """No answer came: the function may have been called or not."""

    def __init__(self, function: str, why: str) -> None:
        super().__init__(f"nobody knows whether {function} was called: {why}")


class _Sdk(Protocol):
    def call(
        self, name: str, payload: bytes, headers: Mapping[str, str], seconds: tuple[float, float]
    ) -> Invoked:
        """Call a function; `seconds` are for the connection and for the answer."""


class Functions:
    """The functions of an account and region. Safe under threads."""

    def __init__(
        self, settings: Settings, credentials: Credentials, *, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        """Open nothing yet.

        Args:
            settings: `PUSH_FC_ENDPOINT`, and the certificates to trust.
            credentials: The AccessKey; it needs `fc:InvokeFunction`.
            timeout: Seconds to wait for the answer of a function; a connection has the settings' own.
        """
        self._settings = settings
        self._credentials = credentials
        self._timeout = timeout

    def invoke(self, function: str, payload: bytes) -> Invoked:
        """Call a function and wait for what it returns.

        Args:
            function: Its name, or ``fc2:service/function``.
            payload: The event, at most 32 MB.

        Raises:
            FunctionFailed: it was called and failed.
            InvocationRefused: it was not called.
            InvocationUnknown: no answer came.
            Misconfigured: no endpoint is known, or the name is none.
        """
        return self._call(function, payload, {}, math.inf)

    def invoke_later(
        self, function: str, payload: bytes, *, task_id: str | None = None, deadline: float = math.inf
    ) -> Invoked:
        """Hand an event to a function's asynchronous queue.

        Args:
            function: As in `invoke`.
            payload: The event, at most `ASYNC_BYTES`.
            task_id: A letter or underscore, then letters, digits, ``_`` and ``-``, at most 128 characters.
                The same id is not accepted twice by a function in task mode.
            deadline: Until when to wait at the longest, on the clock of `time.monotonic`.

        Raises:
            InvocationRefused: it was not accepted; code ``AsyncTaskAlreadyExists`` says that it was before.
            InvocationUnknown: no answer came.
            Misconfigured: no endpoint is known, or the name is none.
        """
        return self._call(function, payload, {"invocation-type": "Async", "task-id": task_id or ""}, deadline)

    def _call(self, function: str, payload: bytes, asked: Mapping[str, str], deadline: float) -> Invoked:
        sdk: _Sdk
        if function.startswith(SERVICE_PREFIX):
            sdk, name = _ServiceSdk(self), function.removeprefix(SERVICE_PREFIX)
            if name.count("/") != 1 or name.startswith("/") or name.endswith("/"):
                raise Misconfigured(f"{function} must read fc2:service/function")
        else:
            sdk, name = _FunctionSdk(self), function
        # Only now: the first import of an SDK takes a part of the time that is left.
        seconds = min(self._timeout, deadline - time.monotonic())
        if seconds <= 0:
            raise InvocationRefused(name, 0, NOT_REACHED, why="no time was left")
        connect = min(self._settings.connect_timeout, seconds / 2)
        return sdk.call(name, payload, asked, (connect, seconds - connect))

    @property
    def endpoint(self) -> str:
        """Where the functions are called: scheme, host and port.

        Raises:
            Misconfigured: it is neither set nor known from account and region.
        """
        if self._settings.fc_endpoint:
            return self._settings.fc_endpoint
        account = os.environ.get("FC_ACCOUNT_ID") or os.environ.get("ALIBABA_CLOUD_ACCOUNT_ID")
        region = os.environ.get("FC_REGION") or os.environ.get("ALIBABA_CLOUD_REGION_ID")
        if not account or not region:
            raise Misconfigured(
                "PUSH_FC_ENDPOINT is not set, and neither are account and region to derive it from:"
                " ALIBABA_CLOUD_ACCOUNT_ID and ALIBABA_CLOUD_REGION_ID",
                setting="PUSH_FC_ENDPOINT",
            )
        return f"https://{account}.{region}.fc.aliyuncs.com"


class _FunctionSdk:
    """`alibabacloud-fc20230330`: a failed function is an answer with a header
    (fc-runtime.md: SDKs and API versions).
    """

    def __init__(self, functions: Functions) -> None:
        from alibabacloud_fc20230330.client import Client  # a third of a second
        from alibabacloud_tea_openapi.utils_models import Config

        # With DEBUG=sdk in the environment it would print keys and signature.
        logging.getLogger("darabonba-core").setLevel(logging.WARNING)
        scheme, _, host = functions.endpoint.partition("://")
        keys, settings = functions._credentials, functions._settings  # noqa: SLF001 - one thing in two classes
        self._client = Client(
            Config(
                access_key_id=keys.access_key_id,
                access_key_secret=keys.access_key_secret,
                security_token=keys.security_token,
                endpoint=host,
                protocol=scheme.upper(),
                ca=settings.ca_bundle,
            )
        )

    def call(
        self, name: str, payload: bytes, headers: Mapping[str, str], seconds: tuple[float, float]
    ) -> Invoked:
        from alibabacloud_fc20230330 import models
        from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
        from darabonba.runtime import RuntimeOptions

        request = models.InvokeFunctionRequest(body=io.BytesIO(payload))
        asked = models.InvokeFunctionHeaders(
            # Its connections outlive an invocation: on the way of one that rested, something may forget it.
            common_headers={"Connection": "close"},
            x_fc_invocation_type=headers.get("invocation-type"),
            x_fc_async_task_id=headers.get("task-id") or None,
        )
        connect, read = (math.ceil(each * 1000) for each in seconds)
        options = RuntimeOptions(connect_timeout=connect, read_timeout=read)
        try:
            # Without retry options it sends once.
            answer = self._client.invoke_function_with_options(name, request, asked, options)
        except AlibabaCloudException as error:
            raise InvocationRefused(
                name, error.status_code or 0, _code(error.data or {}), error.request_id or ""
            ) from None
        except Exception as error:  # noqa: BLE001 - it raises kinds of three packages for a broken connection
            raise _unanswered(name, error) from None
        found = {key.lower(): value for key, value in (answer.headers or {}).items()}
        body = answer.body.read() if answer.body is not None else b""
        return _judged(name, found, body)


class _ServiceSdk:
    """`aliyun-fc2`: a failed function is an exception, and so is an error without JSON
    (fc-runtime.md: SDKs and API versions).
    """

    def __init__(self, functions: Functions) -> None:
        import fc2.client  # a tenth of a second

        # It logs whole requests, keys and signature included, to the root logger, and tries a broken
        # connection five times. Both are names of its module.
        fc2.auth.logging = fc2.client.logging = _silent
        fc2.client.retries = 0
        keys, settings = functions._credentials, functions._settings  # noqa: SLF001 - one thing in two classes
        if settings.ca_bundle:
            os.environ["REQUESTS_CA_BUNDLE"] = settings.ca_bundle  # it has no other way to be told
        self._client: Any = fc2.client.Client(
            endpoint=functions.endpoint,
            accessKeyID=keys.access_key_id,
            accessKeySecret=keys.access_key_secret,
            securityToken=keys.security_token or "",
        )

    def call(
        self, name: str, payload: bytes, headers: Mapping[str, str], seconds: tuple[float, float]
    ) -> Invoked:
        from fc2.fc_exceptions import FcError

        service, _, function = name.partition("/")
        asked = {}
        if "invocation-type" in headers:
            asked["x-fc-invocation-type"] = headers["invocation-type"]
        if headers.get("task-id"):
            asked["x-fc-stateful-async-invocation-id"] = headers["task-id"]
            asked["x-fc-stateful-async-invocation-enable"] = "true"
        self._client.timeout = seconds
        try:
            answer = self._client.invoke_function(service, function, payload, asked)
        except FcError as error:
            raise _of_fc2(name, error) from None
        except Exception as error:  # noqa: BLE001 - requests, urllib3 and json each have their own
            raise _unanswered(name, error) from None
        return _judged(name, {key.lower(): value for key, value in answer.headers.items()}, answer.data)


_silent = logging.getLogger("mpaas_push.silent")
_silent.disabled = True


def _judged(name: str, headers: Mapping[str, str], body: bytes) -> Invoked:
    request_id = headers.get("x-fc-request-id", "")
    if error_type := headers.get("x-fc-error-type"):
        raise FunctionFailed(name, request_id, error_type, body)
    return Invoked(request_id, body)


def _unanswered(name: str, error: BaseException) -> PushError:
    """Tell a call that cannot have been made, for want of a connection, from one that may have been."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError  # both SDKs bring it

    wrapped = list(_wrapped(error))
    # The texts of network errors quote URLs and headers; their kind does not.
    kind = type(wrapped[-1]).__name__
    never = (ConnectTimeoutError, NewConnectionError, ssl.SSLCertVerificationError)
    if any(isinstance(each, never) for each in wrapped):
        return InvocationRefused(name, 0, NOT_REACHED, why=f"no connection ({kind})")
    return InvocationUnknown(name, f"no answer ({kind})")


def _wrapped(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was made of; each of the packages on the way has its own place for that."""
    following: BaseException | None = error
    seen: list[BaseException] = []
    while following is not None and following not in seen:
        seen.append(following)
        yield following
        places = [getattr(following, name, None) for name in ("inner_exception", "__context__", "reason")]
        following = next(
            (each for each in (*places, *following.args) if isinstance(each, BaseException)), None
        )


def _of_fc2(name: str, error: Any) -> PushError:
    """Tell a function's own error from the API's: the first is an answer with a status of success."""
    request_id = str(error.request_id or "")
    if error.status_code < 400:  # as HTTP has it
        return FunctionFailed(name, request_id, "UnhandledInvocationError", str(error.message).encode())
    try:
        described = json.loads(error.message)
    except ValueError:
        described = {}
    return InvocationRefused(name, int(error.status_code), _code(described), request_id)


def _code(described: Any) -> str:
    """Return the code of an API error; each generation of the API names the field its own way
    (fc-runtime.md: Error semantics).
    """
    fields = ("errorCode", "ErrorCode", "Code", "code")
    codes = [described.get(field) for field in fields] if isinstance(described, dict) else []
    return str(next(filter(None, codes), "Unknown"))


def _described(payload: bytes) -> str:
    """Return kind and text of a function's error, shortened."""
    try:
        error = json.loads(payload)
        return f"{error.get('errorType', 'error')}: {str(error.get('errorMessage', ''))[:300]}"
    except (ValueError, AttributeError):
        return ""
