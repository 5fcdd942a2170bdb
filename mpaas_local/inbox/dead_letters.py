"""What can be sent again of a dead letter: the text of a letter enters, the text of a message leaves."""

from __future__ import annotations

import json

__all__ = ["NotSendable", "message_in_letter"]


class NotSendable(Exception):
    """A letter holds no message that the queue function could send; the text says why and what to do."""


def message_in_letter(text: str) -> str:
    """Return the message for the targets that got nothing or, where a letter has none, its original.

    Raises:
        NotSendable: it is not a letter, or holds an event, or the beginning of its original only.
    """
    try:
        letter = json.loads(text)
    except ValueError:
        letter = None
    if not isinstance(letter, dict) or not ("message" in letter or "body" in letter):
        raise NotSendable("It is not a dead letter: it has neither a message nor a body.")
    if letter.get("message"):
        return json.dumps(letter["message"], ensure_ascii=False)
    if letter.get("cut"):
        raise NotSendable("It holds only the beginning of the message: send the original from its source.")
    body = letter.get("body")
    body = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    if _is_event(body):
        raise NotSendable("It holds an event, not a message: publish it again (POST /events).")
    return body


def _is_event(body: str) -> bool:
    try:
        value = json.loads(body)
    except ValueError:
        return False
    return isinstance(value, dict) and "specversion" in value
