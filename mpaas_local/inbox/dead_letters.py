"""Extracts the message to resend from a dead letter."""

from __future__ import annotations

import json

__all__ = ["NotSendable", "message_in_letter"]


class NotSendable(Exception):
    """The dead letter has no message that the queue function can send; the text gives reason and remedy."""


def message_in_letter(text: str) -> str:
    """Return the message for the targets that received nothing or, if there is none, the original body.

    Raises:
        NotSendable: it is not a dead letter, contains an event, or was truncated.
    """
    try:
        letter = json.loads(text)
    except ValueError:
        letter = None
    if not isinstance(letter, dict) or not ("message" in letter or "body" in letter):
        raise NotSendable("This is not a dead letter: it has neither message nor body.")
    if letter.get("message"):
        return json.dumps(letter["message"], ensure_ascii=False)
    if letter.get("cut"):
        raise NotSendable("This dead letter was truncated: send the original message from its source.")
    body = letter.get("body")
    body = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    if _is_event(body):
        raise NotSendable(
            "This dead letter contains an event, not a message: publish the event again (POST /events)."
        )
    return body


def _is_event(body: str) -> bool:
    try:
        value = json.loads(body)
    except ValueError:
        return False
    return isinstance(value, dict) and "specversion" in value
