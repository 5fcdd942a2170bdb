"""Redaction of signatures, security tokens and secrets in texts and JSON documents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, unquote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SECRET_PARAMETERS = frozenset({"Signature", "SecurityToken", "AccessKeySecret", "BearerToken"})
"""Parameters whose values are never stored or shown."""

REDACTED = "[redacted]"

_SHORTEST_SECRET = 8
"""Shorter strings may occur in ordinary text; no real secret is that short."""


class Redactor:
    """Removes known secrets and tokens, plain or encoded, from every string of a document."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {
            form
            for secret in secrets
            if len(secret) >= _SHORTEST_SECRET
            for form in (secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1])
        }
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, document: Any) -> Any:
        """Return the document without secrets; numbers and field names are unchanged."""
        if isinstance(document, str):
            for form in self._forms:
                document = document.replace(form, REDACTED)
            return document
        if isinstance(document, dict):
            return {name: self(value) for name, value in document.items()}
        if isinstance(document, list):
            return [self(value) for value in document]
        return document


def redacted_form(form: str) -> str:
    """A raw query or form body without the values of secret parameters, even with encoded names."""
    pairs = []
    for pair in form.split("&"):
        name, equals, _ = pair.partition("=")
        is_secret = equals and unquote_plus(name).strip() in SECRET_PARAMETERS
        pairs.append(f"{name}={REDACTED}" if is_secret else pair)
    return "&".join(pairs)


def without_secret_parameters(parameters: Mapping[str, str]) -> dict[str, str]:
    """The parameters without the secret ones."""
    return {name: value for name, value in parameters.items() if name not in SECRET_PARAMETERS}
