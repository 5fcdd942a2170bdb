"""Reads a request: query, headers, body. Unknown query parameters are refused by name."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mpaas_push import InvalidMessage, PushError
from mpaas_push.json_text import read_json
from mpaas_push.message.reading import messages_of, payloads_of
from mpaas_push.task import PushTask
from problem import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpaas_push import Settings
    from mpaas_push.triggers.http import HttpEvent

__all__ = [
    "check_no_query",
    "document_of",
    "idempotency_key",
    "is_dry_run",
    "json_of",
    "prefers_async",
    "report_after",
    "target_count",
    "tasks_of_body",
]

KEY_LENGTH = 255
_JSON = ("application/json",)
_YAML = ("application/yaml", "application/x-yaml", "text/yaml")
_DOCUMENT = (*_JSON, *_YAML)
"""Media types of a campaign; problems name the first two."""
_LONGEST_OFFSET = 15
"""Digits of a byte offset."""
_QUOTE_LENGTH = 80
"""Longest quote from a request, in characters."""


def is_dry_run(event: HttpEvent) -> bool:
    """Return whether this is a dry run; `dryRun` is the only query parameter.

    Raises:
        Problem: 400, another parameter, or a value that is neither true nor false.
    """
    text = _only_query(event, "dryRun", "false")
    if text not in {"true", "false"}:
        raise Problem(400, "bad-query", "dryRun must be true or false")
    return text == "true"


def check_no_query(event: HttpEvent) -> None:
    """Check the query of a route without parameters.

    Raises:
        Problem: 400, there is one.
    """
    for name in event.query_string_parameters:
        detail = f"unknown query parameter {_quote(name)}; this route has none"
        raise Problem(400, "bad-query", detail)


def report_after(event: HttpEvent) -> int:
    """Return the offset after which a part of a report begins, -1 for the first part.

    `after` is the only query parameter.

    Raises:
        Problem: 400, another parameter, or a value that is not an offset.
    """
    text = _only_query(event, "after", "-1")
    if text == "-1":
        return -1
    if not (text.isdecimal() and text.isascii() and len(text) <= _LONGEST_OFFSET):
        raise Problem(400, "bad-query", "after must be a byte offset, as in the Link of the previous part")
    return int(text)


def _only_query(event: HttpEvent, parameter: str, default: str) -> str:
    """Return the only query parameter of a route.

    Raises:
        Problem: 400, there is another one.
    """
    query = event.query_string_parameters
    for name in query.keys() - {parameter}:
        import difflib  # rarely needed

        nearest = difflib.get_close_matches(name.lower(), [parameter.lower()], 1, 0.5)
        hint = f"did you mean {parameter}?" if nearest else f"the only one is {parameter}"
        raise Problem(400, "bad-query", f"unknown query parameter {_quote(name)}; {hint}")
    return query.get(parameter, default)


def idempotency_key(event: HttpEvent) -> str | None:
    """Return the caller's Idempotency-Key, if there is one.

    Raises:
        Problem: 400, it is invalid.
    """
    key = event.headers.get("idempotency-key")
    if key is None:
        return None
    if not 0 < len(key) <= KEY_LENGTH or not key.isprintable() or key.isspace():
        raise Problem(400, "bad-key", f"Idempotency-Key must be 1 to {KEY_LENGTH} printable characters")
    return key


def prefers_async(event: HttpEvent) -> bool:
    """Return whether the caller prefers an asynchronous response (RFC 7240)."""
    # A preference may have parameters after a semicolon.
    preferences = (event.headers.get("prefer") or "").split(",")
    return "respond-async" in {preference.partition(";")[0].strip().lower() for preference in preferences}


def json_of(
    event: HttpEvent, settings: Settings, *, example: str = 'one message or {"messages": [...]}'
) -> Any:
    """Read the body as JSON.

    Args:
        event: The request.
        settings: Limits.
        example: What to send, for the problem of an empty body.

    Raises:
        Problem: 415 for another media type, charset or encoding; 413 for a body that is too long or has too
            many messages; 400 for a body that is not JSON in UTF-8.
    """
    return _parse_json(_read_body(event, settings, _JSON, example), settings)


def document_of(event: HttpEvent, settings: Settings) -> Any:
    """Read the body as the document of a campaign, JSON or YAML (RFC 9512).

    Raises:
        Problem: as in `json_of`.
        InvalidCampaign: the YAML cannot be read.
    """
    body = _read_body(event, settings, _DOCUMENT, "a campaign")
    if _media_type(event) not in _YAML:
        return _parse_json(body, settings)
    from mpaas_push.campaign.model import read_document

    return read_document(body)


def tasks_of_body(payload: Any, settings: Settings, scope: str) -> list[PushTask]:
    """Read the messages of a body; an invalid one is represented by its error.

    Args:
        payload: The body.
        settings: Defaults and limits.
        scope: Stays the same when the request is repeated; the index of each message is appended.

    Raises:
        Problem: 413, too many targets.
    """
    now = time.time()
    messages = messages_of(payload, settings)
    tasks = [
        PushTask(
            scope=f"{scope}:{index}",
            original="",  # this function writes no dead letters
            message=message,
            first_moment=now,
            payload=message_payload,
        )
        for index, (message, message_payload) in enumerate(zip(messages, payloads_of(payload), strict=True))
    ]
    _check_count("targets", target_count(tasks), settings.max_targets, "PUSH_MAX_TARGETS")
    return tasks


def target_count(tasks: Sequence[PushTask]) -> int:
    """Count the readable targets of all messages."""
    return sum(
        len(message.targets) if isinstance(message, InvalidMessage) else len(message.recipients)
        for message in (task.message for task in tasks)
    )


def _check_count(what: str, count: int, limit: int, setting: str) -> None:
    if count > limit:
        raise Problem(
            413,
            "too-large",
            f"the request has {count} {what}, at most {limit} are allowed ({setting}): send them in several"
            " requests, or put the messages into the queue of queue_push",
        )


def _read_body(event: HttpEvent, settings: Settings, allowed: Sequence[str], example: str) -> bytes:
    body = event.body_bytes
    if not body:
        raise Problem(400, "not-json", f"the body is empty: send {example}")
    _check_media_type(event, allowed)
    if len(body) > settings.max_body:
        raise Problem(
            413,
            "too-large",
            f"the body has {len(body)} bytes, at most {settings.max_body} are allowed (PUSH_MAX_BODY_BYTES): "
            "send the messages in several requests",
        )
    return body


def _parse_json(body: bytes, settings: Settings) -> Any:
    try:
        payload = read_json(body)
    except PushError as error:
        raise Problem(400, "not-json", str(error)) from None
    _check_count("messages", len(payloads_of(payload)), settings.max_messages, "PUSH_MAX_MESSAGES")
    return payload


def _media_type(event: HttpEvent) -> str:
    return (event.headers.get("content-type") or "").partition(";")[0].strip().lower()


def _check_media_type(event: HttpEvent, allowed: Sequence[str]) -> None:
    encoding = (event.headers.get("content-encoding") or "identity").strip().lower()
    if encoding != "identity":
        detail = f"Content-Encoding {_quote(encoding)} is not supported: send the body unencoded"
        raise Problem(415, "media-type", detail)
    media_type, allowed_types = _media_type(event), " or ".join(allowed[:2])
    if not media_type:
        raise Problem(415, "media-type", f"a body needs the header Content-Type: {allowed_types}")
    if media_type not in allowed and not media_type.endswith("+json"):
        raise Problem(415, "media-type", f"the body must be {allowed_types}, not {_quote(media_type)}")
    for parameter in event.headers["content-type"].split(";")[1:]:
        name, _, value = parameter.partition("=")
        charset = value.strip().strip("\"'").lower()
        if name.strip().lower() == "charset" and charset not in {"utf-8", "utf8"}:
            raise Problem(415, "media-type", f"the charset must be utf-8, not {_quote(charset)}")


def _quote(text: str) -> str:
    """Return text from a request, shortened and printable, for the response."""
    short = text if len(text) <= _QUOTE_LENGTH else f"{text[:_QUOTE_LENGTH]}…"
    return "".join(character if character.isprintable() else "?" for character in short)
