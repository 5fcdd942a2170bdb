"""Texts of a server without what it may quote of a request: targets are masked, secrets cut out.

A server may quote them as they are, percent-encoded or as JSON writes them, one within the other.
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
"""A target of so many characters may be a part of any word; it is masked only where it stands alone."""
ESCAPE_LEVELS = 4
"""How many times a text is unescaped at the most: JSON in a form in a URL in JSON."""


def masks_of(targets: Iterable[str], secrets: Iterable[str | None] = ()) -> dict[str, str]:
    """Return what is shown in place of each target and each secret.

    Args:
        targets: Whole target ids; each becomes what `mask_id` makes of it.
        secrets: AccessKey and token; None stands for one that there is not.
    """
    return {target: mask_id(target) for target in targets} | dict.fromkeys(filter(None, secrets), "…")


def mask_text(text: str, masks: Mapping[str, str]) -> str:
    """Return a text with what is to be hidden replaced.

    Args:
        text: What a server said. Where it holds something of it in an escaped form, all of it is unescaped.
        masks: What is shown in place of what (see `masks_of`).
    """
    text = _mask(text, masks)
    if _MAY_BE_ESCAPED.search(text):
        for space in ("+", " "):  # forms write `+` for a space, others for itself
            plain = text.replace("+", space)
            for _ in range(ESCAPE_LEVELS):
                masked = _mask(plain, masks)
                if masked != plain:
                    text = plain = masked
                plain = _unescape(plain)
    return text


def _mask(text: str, masks: Mapping[str, str]) -> str:
    found = [name for name in masks if name in text]
    if not found:
        return text
    # Of two that begin alike the longer one is meant.
    pattern = "|".join(map(_pattern, sorted(found, key=len, reverse=True)))
    return re.sub(pattern, lambda match: masks[match[0]], text)


def _pattern(name: str) -> str:
    escaped = re.escape(name)
    return escaped if len(name) > SHORT_TARGET else rf"(?<!\w){escaped}(?!\w)"


def _unescape(text: str) -> str:
    """Take one level of percent-encoding and one of JSON off."""
    text = _JSON_ESCAPE.sub(_character, unquote(text))
    # Escaped pairs of surrogates become the characters that they stand for.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(match: re.Match[str]) -> str:
    escape = match[1]
    return chr(int(escape[1:], 16)) if len(escape) > 1 else _CONTROLS.get(escape, escape)


_MAY_BE_ESCAPED = re.compile(r"[%+\\]")
_JSON_ESCAPE = re.compile(r'\\(u[0-9A-Fa-f]{4}|["\\/bfnrt])')
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
