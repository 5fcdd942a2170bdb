"""`call [METHOD] PATH`: send a request to the HTTP function, signed if its trigger requires that."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mpaas_push.cli.inputs import read_input
from mpaas_push.connection import connect, read_response, seconds_until, tls_context
from mpaas_push.credentials import Credentials
from mpaas_push.errors import Misconfigured, PushError
from mpaas_push.functions import RESPONSE_BYTES
from mpaas_push.http_trigger_auth import signature_headers
from mpaas_push.settings import Settings, is_loopback

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from urllib.parse import SplitResult

    from mpaas_push.connection import HttpResponse

__all__ = ["UNKNOWN", "NoResponse", "NotConnected", "add_to", "request_function"]

UNKNOWN = 4
"""Exit code if a request was sent but got no response: it may have been processed."""
TIMEOUT_SECONDS = 65.0
"""Longer than the functions' own timeout, 60 s."""


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = subparsers.add_parser(
        "call",
        help="send a request to the HTTP function",
        description="Send a request to the HTTP function and print the response: status on standard error,"
        " body on standard output. The request is signed with your AccessKey (authType: function), unless the"
        " address is loopback or --header sets Authorization (authType: jwt). Exit codes: 0 status below 400;"
        " 1 another status, or not sent; 4 no response: it may have been processed.",
    )
    command.add_argument("method", metavar="METHOD", nargs="?", help="default: GET, or POST with --data")
    command.add_argument("path", metavar="PATH", help="such as /v1/health or /v1/pushes?dryRun=true")
    command.add_argument("--url", metavar="URL", help="of the HTTP trigger; PUSH_HTTP_URL by default")
    command.add_argument("--data", metavar="FILE", help="the JSON to send; - for standard input")
    command.add_argument(
        "--header",
        metavar="NAME:VALUE",
        action="append",
        default=[],
        help="such as 'Idempotency-Key: 4711'; repeatable",
    )
    command.set_defaults(run=_call)


class NoResponse(PushError):
    """The request was sent and may have been processed."""


class NotConnected(Misconfigured):
    """No connection could be opened: the request was not sent."""


def request_function(
    url: str | None, method: str, path: str, body: bytes, headers: Mapping[str, str]
) -> HttpResponse:
    """Send a request to the HTTP function, signed unless its address is loopback.

    Args:
        url: URL of the trigger; `PUSH_HTTP_URL` by default.
        method: In upper case.
        path: With the query, if any.
        body: Empty for none.
        headers: By name in lower case; with ``authorization`` among them the request is not signed.

    Raises:
        Misconfigured: it was not sent; `NotConnected` if no connection could be opened.
        NoResponse: it was sent, and may have been processed.
    """
    base = _trigger_url(url)
    if not path.startswith("/"):
        raise Misconfigured(f"PATH must start with /: {path}")
    address = urlsplit(base + path)
    signature: Mapping[str, str] = {}
    if "authorization" not in headers and not is_loopback(address.hostname or ""):
        signature = signature_headers(method, base + path, Credentials.resolve())
    return _exchange(method, address, {"accept": "application/json, */*", **signature, **headers}, body)


def _call(options: argparse.Namespace) -> int:
    body = b"" if options.data is None else read_input(options.data)
    method = str(options.method or ("GET" if options.data is None else "POST")).upper()
    headers = {} if options.data is None else {"content-type": "application/json"}
    headers |= dict(map(_header, options.header))
    try:
        response = request_function(options.url, method, options.path, body, headers)
    except NoResponse as error:
        print(f"error: {error}", file=sys.stderr)
        return UNKNOWN
    request_id = response.headers.get("x-fc-request-id")
    print(f"HTTP {response.status}" + (f", request {request_id}" if request_id else ""), file=sys.stderr)
    sys.stdout.write(response.body.decode(errors="replace") + ("\n" if response.body else ""))
    return 0 if response.status < 400 else 1


def _trigger_url(option: str | None) -> str:
    url = (option or os.environ.get("PUSH_HTTP_URL") or "").rstrip("/")
    if not url:
        raise Misconfigured(
            "no address: pass --url or set PUSH_HTTP_URL to the HTTP trigger's public address",
            setting="PUSH_HTTP_URL",
        )
    try:
        address = urlsplit(url)
        is_valid = address.scheme in {"https", "http"} and address.hostname and address.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or "@" in url or "?" in url or "#" in url:
        raise Misconfigured(
            "the address must be https://HOST, the HTTP trigger's public address",
            setting="PUSH_HTTP_URL",
        )
    if address.scheme == "http" and not is_loopback(address.hostname or ""):
        raise Misconfigured(
            "the address must be https: plain http is allowed for loopback addresses only",
            setting="PUSH_HTTP_URL",
        )
    return url


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (colon and name.strip() and text.isascii() and text.isprintable()):
        raise Misconfigured("--header must be NAME:VALUE in printable ASCII")
    return name.strip().lower(), value.strip()


def _exchange(method: str, url: SplitResult, headers: dict[str, str], body: bytes) -> HttpResponse:
    """Send a request on a new connection and return the response.

    Raises:
        NotConnected: no connection could be opened.
        Misconfigured: path or method cannot be sent.
        NoResponse: it was sent.
    """
    settings = Settings.from_env()
    tls = tls_context(settings.ca_bundle) if url.scheme == "https" else None
    target = url._replace(scheme="", netloc="").geturl()
    lines = [f"{method} {target} HTTP/1.1", f"host: {url.netloc}", f"content-length: {len(body)}"]
    lines += [*(f"{name}: {value}" for name, value in headers.items()), "connection: close"]
    if not all(line.isascii() and line.isprintable() for line in lines) or " " in method + target:
        raise Misconfigured("method and path must be ASCII without spaces; percent-encode other characters")
    until = time.monotonic() + TIMEOUT_SECONDS
    try:
        port = url.port or (443 if tls else 80)
        connection = connect(
            url.hostname or "", port, tls, min(until, time.monotonic() + settings.connect_timeout)
        )
    except OSError as error:
        raise NotConnected(f"no connection to {url.hostname} ({type(error).__name__})") from None
    with connection:
        try:
            connection.settimeout(seconds_until(until))
            connection.sendall("\r\n".join([*lines, "", ""]).encode("ascii") + body)
            return read_response(connection, lambda: seconds_until(until), RESPONSE_BYTES)
        except OSError as error:
            raise NoResponse(f"no response ({type(error).__name__}); it may have been processed") from None
