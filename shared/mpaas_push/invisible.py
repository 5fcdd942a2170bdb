"""Detects invisible characters in ids and settings, usually left there by copying."""

from __future__ import annotations

__all__ = ["invisible_character"]


def invisible_character(text: str) -> str | None:
    """Return the code point of the first invisible character, such as ``U+200B``; None if there is none.

    Invisible are control and format characters, spaces other than U+0020, and the few letters and marks that
    are rendered as nothing.
    """
    if text.isascii() and text.isprintable():
        return None
    return next((f"U+{ord(char):04X}" for char in text if not char.isprintable() or char in _BLANK), None)


_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    # Variation selectors.
    "\ufe00\ufe01\ufe02\ufe03\ufe04\ufe05\ufe06\ufe07\ufe08\ufe09\ufe0a\ufe0b\ufe0c\ufe0d\ufe0e\ufe0f"
)
"""Characters other than control and format characters that are rendered as nothing (Unicode:
Default_Ignorable, and the empty braille pattern)."""
