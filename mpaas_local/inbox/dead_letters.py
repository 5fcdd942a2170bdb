"""Extracts the message to resend from a dead letter."""

from __future__ import annotations

import json

__all__ = ["NotSendable", "message_in_dead_letter"]


class NotSendable(Exception):
    """The dead letter has no message that the queue function can send; the text gives reason and remedy."""


def message_in_dead_letter(text: str) -> str:
    """Return the message for the targets that received nothing or, if there is none, the original body.

    Raises:
        NotSendable: it is not a dead letter, contains an event, or was truncated.
    """
    try:
        dead_letter = json.loads(text)
    except ValueError:
        dead_letter = None
    if not isinstance(dead_letter, dict) or not ("message" in dead_letter or "body" in dead_letter):
        raise NotSendable("This is not a dead letter: it has neither message nor body.")
    if dead_letter.get("message"):
        return json.dumps(dead_letter["message"], ensure_ascii=False)
    if dead_letter.get("cut"):
        raise NotSendable("This dead letter was truncated: send the original message from its source.")
    body = dead_letter.get("body")
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
