"""Calls other functions, those of FC 3.0 and those of FC 2.0 services.

A name and a payload in, the function's response out. Each call uses its own connection. Redirects are not
followed and calls are not retried: a call whose response was lost may have been executed.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import ssl
import time
import uuid
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from mpaas_push import acs3
from mpaas_push.connection import connect, read_response, seconds_until, tls_context
from mpaas_push.errors import (
    NOT_REACHED,
    TASK_EXISTS,
    InvocationRefused,
    InvocationUnknown,
    Misconfigured,
    PushError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

    from mpaas_push.connection import HttpResponse
    from mpaas_push.credentials import Credentials
    from mpaas_push.settings import Settings

__all__ = [
    "ASYNC_BYTES",
    "LONGEST_DELAY",
    "NOT_REACHED",
    "TASK_EXISTS",
    "FunctionFailed",
    "Functions",
    "InvocationRefused",
    "InvocationResult",
    "InvocationUnknown",
]

ASYNC_BYTES = 128 * 1024
"""Longest payload of an asynchronous invocation (fc-runtime.md: Asynchronous invocation)."""
LONGEST_DELAY = 3600
"""Maximum of `x-fc-async-delay` in seconds (fc-runtime.md: Asynchronous invocation)."""
TIMEOUT_SECONDS = 60.0
SERVICE_PREFIX = "fc2:"
"""Prefix for a function of an FC 2.0 service, as in ``fc2:service/function``."""
RESPONSE_BYTES = 33 * 1024 * 1024
"""Longest response that is read: FC's limit of 32 MB, plus headers."""
_SERVICE = re.compile(r"[^/]+/[^/]+")


class InvocationResult(NamedTuple):
    """The result of a synchronous invocation, or of an asynchronous one that was accepted.

    Attributes:
        request_id: Function Compute's id of the invocation.
        payload: What the function returned; empty for an asynchronous invocation.
    """

    request_id: str
    payload: bytes = b""


class FunctionFailed(PushError):
    """The function was called and failed.

    Attributes:
        request_id: Id of the invocation.
        error_type: ``UnhandledInvocationError`` and the like (fc-runtime.md: Error semantics).
        payload: The runtime's description of the error, as JSON.
    """

    def __init__(self, function: str, request_id: str, error_type: str, payload: bytes) -> None:
        self.request_id, self.error_type, self.payload = request_id, error_type, payload
        super().__init__(f"{function} failed: {_describe(payload) or error_type} (request {request_id})")


class Functions:
    """The functions of an account and region. Thread-safe."""

    def __init__(
        self, settings: Settings, credentials: Credentials, *, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        """Create a client; connections open with calls.

        Args:
            settings: `PUSH_FC_ENDPOINT`, and the certificates to trust.
            credentials: The AccessKey, which requires `fc:InvokeFunction`.
            timeout: Longest duration of a call in seconds; the settings limit the time to connect.
        """
        self._settings = settings
        self._credentials = credentials
        self._timeout = timeout

    def invoke(self, function: str, payload: bytes) -> InvocationResult:
        """Call a function and wait for its result.

        Args:
            function: Its name, or ``fc2:service/function``.
            payload: The event, at most 32 MB.

        Raises:
            FunctionFailed: it was called and failed.
            InvocationRefused: it was not called.
            InvocationUnknown: sent, without a verdict.
            Misconfigured: no endpoint is known, or the name is invalid.
        """
        return self._call(function, payload, math.inf)

    def invoke_later(
        self,
        function: str,
        payload: bytes,
        *,
        task_id: str | None = None,
        delay: float = 0.0,
        deadline: float = math.inf,
    ) -> InvocationResult:
        """Hand an event to a function's asynchronous queue.

        Args:
            function: As in `invoke`.
            payload: The event, at most `ASYNC_BYTES`.
            task_id: A letter or underscore, then letters, digits, ``_`` and ``-``, at most 128 characters.
                A function in task mode accepts each id once.
            delay: Seconds until the function may be called, at most `LONGEST_DELAY`; only for FC 3.0.
            deadline: When to stop waiting, on the clock of `time.monotonic`.

        Raises:
            FunctionFailed: it was called at once and failed.
            InvocationRefused: it was not accepted; see `InvocationRefused.was_accepted_before`.
            InvocationUnknown: sent, without a verdict.
            Misconfigured: no endpoint is known, or the name is invalid.
        """
        return self._call(function, payload, deadline, asynchronous=True, task_id=task_id, delay=delay)

    def _call(
        self,
        function: str,
        payload: bytes,
        deadline: float,
        *,
        asynchronous: bool = False,
        task_id: str | None = None,
        delay: float = 0.0,
    ) -> InvocationResult:
        until = min(deadline, time.monotonic() + self._timeout)
        request = self._sign(function, payload, asynchronous=asynchronous, task_id=task_id, delay=delay)
        response = self._exchange(function, request, until)
        return _judge(function, response, asynchronous=asynchronous)

    def _sign(
        self, function: str, payload: bytes, *, asynchronous: bool, task_id: str | None, delay: float
    ) -> bytes:
        """Return a signed call as bytes on the wire."""
        if not function.startswith(SERVICE_PREFIX):
            headers = {"x-fc-invocation-type": "Async"} if asynchronous else {}
            headers |= {"x-fc-async-task-id": task_id} if task_id else {}
            headers |= {"x-fc-async-delay": str(math.ceil(delay))} if delay > 0 else {}
            path = f"/2023-03-30/functions/{quote(function, safe='~')}/invocations"
            return _serialize(function, path, self._sign_with_acs3(path, payload, headers), payload)
        name = function.removeprefix(SERVICE_PREFIX)
        if not _SERVICE.fullmatch(name):
            raise Misconfigured(f"{function} must have the form fc2:service/function")
        headers = {"x-fc-invocation-type": "Async"} if asynchronous else {}
        if task_id:
            headers |= {
                "x-fc-stateful-async-invocation-id": task_id,
                "x-fc-stateful-async-invocation-enable": "true",
            }
        service, _, name = name.partition("/")
        path = f"/2016-08-15/services/{service}/functions/{name}/invocations"
        return _serialize(function, quote(path), self._sign_for_fc2(path, headers), payload)

    def _sign_with_acs3(self, path: str, payload: bytes, extra: Mapping[str, str]) -> dict[str, str]:
        keys, body_hash = self._credentials, acs3.sha256_hex(payload)
        headers = {
            "host": self._address.netloc,
            "accept": "application/json",
            "content-type": "application/octet-stream",
            "x-acs-action": "InvokeFunction",
            "x-acs-version": "2023-03-30",
            "x-acs-date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "x-acs-signature-nonce": uuid.uuid4().hex,
            "x-acs-content-sha256": body_hash,
            **extra,
        }
        if keys.security_token:
            headers["x-acs-accesskey-id"] = keys.access_key_id
            headers["x-acs-security-token"] = keys.security_token
        canonical, names = acs3.canonical_request("POST", path, {}, headers, body_hash)
        return headers | {"authorization": acs3.authorization(canonical, names, keys)}

    def _sign_for_fc2(self, path: str, extra: Mapping[str, str]) -> dict[str, str]:
        import email.utils

        import fc2.auth  # most deployments have no FC 2.0 services

        fc2.auth.logging = _silent  # it logs the text to sign, which includes the security token
        keys = self._credentials
        headers = {
            "host": self._address.netloc,
            "date": email.utils.formatdate(usegmt=True),
            "content-type": "application/json",
            **extra,
        }
        if keys.security_token:
            headers["x-fc-security-token"] = keys.security_token
        signer = fc2.auth.Auth(keys.access_key_id, keys.access_key_secret)
        return headers | {"authorization": signer.sign_request("POST", path, headers)}

    def _exchange(self, function: str, request: bytes, until: float) -> HttpResponse:
        """Send a call on a new connection and read the response."""
        url, tls = self._address, self._tls
        try:
            connect_until = min(until, time.monotonic() + self._settings.connect_timeout)
            port = url.port or (443 if tls else 80)
            connection = connect(url.hostname or "", port, tls, connect_until)
        except OSError as error:
            raise InvocationRefused(
                function, 0, NOT_REACHED, reason=_describe_connection_failure(error)
            ) from None
        with connection:
            try:
                connection.settimeout(seconds_until(until))
                connection.sendall(request)
            except OSError as error:
                reason = f"not completely sent ({type(error).__name__})"
                raise InvocationRefused(function, 0, NOT_REACHED, reason=reason) from None
            try:
                return read_response(connection, lambda: seconds_until(until), RESPONSE_BYTES)
            except OSError as error:
                raise InvocationUnknown(function, f"no response ({type(error).__name__})") from None

    @cached_property
    def _address(self) -> SplitResult:
        return urlsplit(self.endpoint)

    @cached_property
    def _tls(self) -> ssl.SSLContext | None:
        return tls_context(self._settings.ca_bundle) if self._address.scheme == "https" else None

    @property
    def endpoint(self) -> str:
        """The endpoint of the functions: scheme, host and port.

        Raises:
            Misconfigured: it is not set and cannot be derived from account and region.
        """
        if self._settings.fc_endpoint:
            return self._settings.fc_endpoint
        account = os.environ.get("FC_ACCOUNT_ID") or os.environ.get("ALIBABA_CLOUD_ACCOUNT_ID")
        region = os.environ.get("FC_REGION") or os.environ.get("ALIBABA_CLOUD_REGION_ID")
        if not account or not region:
            raise Misconfigured(
                "PUSH_FC_ENDPOINT is not set and cannot be derived: set it, or ALIBABA_CLOUD_ACCOUNT_ID and"
                " ALIBABA_CLOUD_REGION_ID",
                setting="PUSH_FC_ENDPOINT",
            )
        return f"https://{account}.{region}.fc.aliyuncs.com"


_silent = logging.getLogger("mpaas_push.silent")
_silent.disabled = True


def _serialize(function: str, path: str, headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return a request as bytes on the wire.

    Raises:
        InvocationRefused: a header has characters that cannot be sent.
    """
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            reason = f"the {name} header has characters that cannot be sent"
            raise InvocationRefused(function, 0, NOT_REACHED, reason=reason)
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    lines += ["connection: close", f"content-length: {len(payload)}", "", ""]
    return "\r\n".join(lines).encode("ascii") + payload


def _judge(function: str, response: HttpResponse, *, asynchronous: bool) -> InvocationResult:
    """Return the result or raise; a response that is not clearly Function Compute's is unknown."""
    status, body = response.status, bytes(response.body)
    request_id = _identifier(response.headers.get("x-fc-request-id"))
    error_type = response.headers.get("x-fc-error-type")
    if status < 300:
        if error_type and request_id:
            raise FunctionFailed(function, request_id, _identifier(error_type), body)
        if request_id and status == (HTTPStatus.ACCEPTED if asynchronous else HTTPStatus.OK):
            return InvocationResult(request_id, body)
        raise InvocationUnknown(function, f"HTTP {status}, which is not a response from Function Compute")
    code = _error_code(body)
    if status < 500 or (status == HTTPStatus.SERVICE_UNAVAILABLE and code):
        raise InvocationRefused(function, status, code or f"HTTP{status}", request_id)
    raise InvocationUnknown(function, f"HTTP {status} {code}".rstrip())


def _describe_connection_failure(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate was refused ({error.verify_message}): "
            "check PUSH_FC_ENDPOINT and ALIBABA_CLOUD_CA_BUNDLE"
        )
    # The texts of network errors contain hosts and files; their class names do not.
    return f"no connection ({type(error).__name__})"


def _error_code(body: bytes) -> str:
    """Return the code of an API error, or an empty string.

    Each generation of the API has its own name for the field (fc-runtime.md: Error semantics).
    """
    try:
        error = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(error, dict):
        return ""
    codes = (error.get(field) for field in ("errorCode", "ErrorCode", "Code", "code"))
    return _identifier(next(filter(None, codes), ""))


def _identifier(text: Any) -> str:
    """Return a server's text if it is an identifier, which is safe to print; else an empty string."""
    return text if isinstance(text, str) and re.fullmatch(r"[\w.:-]{1,128}", text, re.ASCII) else ""


_LONGEST_MESSAGE = 300


def _describe(payload: bytes) -> str:
    """Return type and message of a function's error, truncated; empty if it cannot be read."""
    try:
        error = json.loads(payload)
        message = str(error.get("errorMessage", ""))
        cut = "…" if len(message) > _LONGEST_MESSAGE else ""
        return f"{error.get('errorType', 'error')}: {message[:_LONGEST_MESSAGE]}{cut}"
    except (ValueError, AttributeError, RecursionError):
        return ""
