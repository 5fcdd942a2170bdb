"""Placeholders: `{column}` in any text of a message is replaced by the row's value.

A template is JSON; `{{column}}` writes the braces themselves. Braces around anything but a column's name,
as in JSON within a text, stay unchanged.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["MissingValue", "columns_of", "has_stray_brace", "render"]

_NAME = r"[^\W\d][\w.-]*(?: [\w.-]+)*"
_PLACEHOLDER = re.compile(r"\{\{(" + _NAME + r")\}\}|\{(" + _NAME + r")\}")


class MissingValue(LookupError):
    """A row has no value for a placeholder.

    Attributes:
        column: The column that the placeholder names.
    """

    def __init__(self, column: str) -> None:
        self.column = column
        super().__init__(column)


def columns_of(template: Any) -> frozenset[str]:
    """Return the columns that the placeholders of a template name."""
    return frozenset(
        match[2] for text in _texts(template) for match in _PLACEHOLDER.finditer(text) if match[2]
    )


def render(template: Any, row: Mapping[str, str]) -> Any:
    """Return a template with the values of a row in place of its placeholders.

    Args:
        template: JSON. Keys of objects stay unchanged.
        row: The row's values by column.

    Raises:
        MissingValue: the column of a placeholder is absent or empty.
    """

    def replacement(match: re.Match[str]) -> str:
        if match[1]:
            return "{" + match[1] + "}"
        if not (text := row.get(match[2])):
            raise MissingValue(match[2])
        return text

    if isinstance(template, str):
        return _PLACEHOLDER.sub(replacement, template) if "{" in template else template
    if isinstance(template, dict):
        return {name: render(value, row) for name, value in template.items()}
    if isinstance(template, list):
        return [render(item, row) for item in template]
    return template


def has_stray_brace(template: Any) -> bool:
    """Return whether a text of a template has a brace that belongs neither to a placeholder nor to JSON.

    It is sent unchanged, and may be a mistyped placeholder.
    """
    return any(_is_stray(text) for text in _texts(template))


def _is_stray(text: str) -> bool:
    rest = _PLACEHOLDER.sub("1", text)
    if "{" not in rest and "}" not in rest:
        return False
    with suppress(ValueError, RecursionError):
        return not json.loads(rest)  # an empty object is a placeholder without a name
    return True


def _texts(template: Any) -> Iterator[str]:
    if isinstance(template, str):
        yield template
    elif isinstance(template, (dict, list)):
        for child in template.values() if isinstance(template, dict) else template:
            yield from _texts(child)
