"""What the inbox must not keep: signatures, security tokens, secrets.

Texts and JSON documents go in; the same without them comes out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, unquote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SECRET_PARAMETERS = frozenset({"Signature", "SecurityToken", "AccessKeySecret", "BearerToken"})
"""Parameters whose value is neither stored nor shown, whoever sent it."""

REDACTED = "[redacted]"

_SHORTEST_SECRET = 8
"""Shorter words occur in honest texts; no real secret is as short."""


class Redactor:
    """Takes known secrets and tokens out of every text of a document, plain or encoded."""

    def __init__(self, secrets: Iterable[str]) -> None:
        written = {
            form
            for secret in secrets
            if len(secret) >= _SHORTEST_SECRET
            for form in (secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1])
        }
        self._written = sorted(written, key=len, reverse=True)

    def __call__(self, document: Any) -> Any:
        """The document without them; numbers and names of fields stay as they are."""
        if isinstance(document, str):
            for written in self._written:
                document = document.replace(written, REDACTED)
            return document
        if isinstance(document, dict):
            return {name: self(value) for name, value in document.items()}
        if isinstance(document, list):
            return [self(value) for value in document]
        return document


def redacted_form(form: str) -> str:
    """A raw query or form body without the values of secret parameters, however their names are encoded."""
    pieces = []
    for piece in form.split("&"):
        name, equals, _ = piece.partition("=")
        hide = equals and unquote_plus(name).strip() in SECRET_PARAMETERS
        pieces.append(f"{name}={REDACTED}" if hide else piece)
    return "&".join(pieces)


def without_secret_parameters(parameters: Mapping[str, str]) -> dict[str, str]:
    """The parameters but for the secret ones."""
    return {name: value for name, value in parameters.items() if name not in SECRET_PARAMETERS}
