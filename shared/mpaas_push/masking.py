"""Masks targets and secrets that a server quotes in its texts.

A server may quote them unchanged, percent-encoded or JSON-escaped, even several times over.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from mpaas_push.errors import mask_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["mask_text", "masks_of"]

SHORT_TARGET = 4
"""A target of at most this length may occur inside any word, so it is masked only as a whole word."""
ESCAPE_LEVELS = 4
"""Maximum levels of escaping: JSON in a form in a URL in JSON."""


def masks_of(targets: Iterable[str], secrets: Iterable[str | None] = ()) -> dict[str, str]:
    """Return the replacement of each target and each secret.

    Args:
        targets: Target ids, replaced by `mask_id`.
        secrets: AccessKey and token; None for a missing one.
    """
    masks = {target: mask_id(target) for target in targets}
    for secret in secrets:
        if secret:
            masks[secret] = "…"
    return masks


def mask_text(text: str, masks: Mapping[str, str]) -> str:
    """Return a text with targets and secrets replaced.

    Args:
        text: A server's text. If it contains one of them in escaped form, the entire text is unescaped.
        masks: The replacements (see `masks_of`).
    """
    text = _mask(text, masks)
    if not _ESCAPES.isdisjoint(text):
        for space in ("+", " "):  # `+` is a space in forms and itself elsewhere
            plain = text.replace("+", space)
            for _ in range(ESCAPE_LEVELS):
                masked = _mask(plain, masks)
                if masked != plain:
                    text = plain = masked
                plain = _unescape(plain)
    return text


def _mask(text: str, masks: Mapping[str, str]) -> str:
    present = [name for name in masks if name in text]
    if not present:
        return text
    # Longest first, since one may be the prefix of another.
    pattern = "|".join(map(_pattern, sorted(present, key=len, reverse=True)))
    return re.sub(pattern, lambda match: masks[match[0]], text)


def _pattern(name: str) -> str:
    escaped = re.escape(name)
    return escaped if len(name) > SHORT_TARGET else rf"(?<!\w){escaped}(?!\w)"


def _unescape(text: str) -> str:
    """Remove one level of percent-encoding and one of JSON escaping."""
    text = re.sub(_JSON_ESCAPE, _character, unquote(text))
    # Escaped surrogate pairs become their characters.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(match: re.Match[str]) -> str:
    escape = match[1]
    return chr(int(escape[1:], 16)) if len(escape) > 1 else _CONTROLS.get(escape, escape)


_ESCAPES = frozenset("%+\\")
_JSON_ESCAPE = r'\\(u[0-9A-Fa-f]{4}|["\\/bfnrt])'
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
