"""Strict reading of YAML: text in, plain JSON values out, as from `json_text`.

PyYAML parses, but its constructor is not used: it reads YAML 1.1, in which `22:22` is 1342, `1_000` is 1000,
`010` is 8 and `no` is false, keeps the last of duplicate keys, and expands ten lines of aliases to a billion
values. Here scalars follow the core schema of YAML 1.2, and a number that readers interpret differently stays
text.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING, Any

import yaml

from mpaas_push.errors import mask_id
from mpaas_push.json_text import MAX_DEPTH, is_encodable
from mpaas_push.paths import is_plain_name

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["read_yaml"]

_MAX_COPIES = 1000
"""Values that aliases may add, in addition to one per four characters of the text."""


def read_yaml(text: str, *, refuse_flag_words: bool = False) -> Any:
    """Read a document of plain values.

    Args:
        text: One document. Tags other than those of JSON's types are refused.
        refuse_flag_words: Refuse an unquoted `yes`, `no`, `on` or `off` as a value: it is a string in YAML
            1.2 and a boolean in YAML 1.1, so the author may mean either.

    Returns: The value, of dict, list, str, int, float, bool and None, without shared parts; None for an empty
        text. `007`, `1_000`, `22:22` and dates are strings.

    Raises: yaml.YAMLError: It is not such a document, has a duplicate key, NaN or Infinity, an unpaired
        surrogate, more than `MAX_DEPTH` levels, a key that is not a string, or aliases that add too many
        values. Time and memory are linear in the length of the text.
    """
    try:
        return _Reader(text, refuse_flag_words=refuse_flag_words).document()
    except yaml.MarkedYAMLError as error:  # its text quotes the document, on several lines
        raise _error_at(error.problem_mark or error.context_mark, error.problem or "is malformed") from None
    except yaml.reader.ReaderError as error:
        raise yaml.YAMLError(f"character {error.position + 1} is not allowed") from None


class _Reader:
    """Builds values from PyYAML's events."""

    def __init__(self, text: str, *, refuse_flag_words: bool) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._refuse_flag_words = refuse_flag_words
        self._anchors: dict[str, Any] = {}
        self._copies_left = _MAX_COPIES + len(text) // 4

    def document(self) -> Any:
        next(self._events)  # the start of the stream
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        value = self._value(next(self._events), 0)
        next(self._events)  # the end of the document
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise _error(event, "a second document is not supported")
        return value

    def _value(self, event: yaml.Event, depth: int, *, is_key: bool = False) -> Any:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise _error(event, f"there is no anchor &{event.anchor} above this alias")
            return self._copy(self._anchors[event.anchor], depth, event)
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, is_key=is_key)
        elif depth >= MAX_DEPTH:
            raise _error(event, f"more than {MAX_DEPTH} levels of maps and lists")
        elif isinstance(event, yaml.CollectionStartEvent) and event.tag not in _COLLECTION_TAGS:
            raise _error(event, f"the tag {event.tag} is not supported")
        elif isinstance(event, yaml.MappingStartEvent):
            value = self._map(depth)
        else:
            value = []
            while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                value.append(self._value(item, depth + 1))
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            self._anchors[event.anchor] = value
        return value

    def _map(self, depth: int) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
                event = next(self._events)
                value = self._value(event, depth + 1)
                for base in value if isinstance(value, list) else [value]:
                    if not isinstance(base, dict):
                        raise _error(event, "`<<` merges a map or a list of maps")
                    merged = base | merged
                continue
            key = self._value(event, depth + 1, is_key=True)
            if not isinstance(key, str):
                raise _error(event, "a key must be text: quote it")
            if key in entries:
                raise _error(event, f"duplicate key {key if is_plain_name(key) else mask_id(key)!r}")
            entries[key] = self._value(next(self._events), depth + 1)
        return {**merged, **entries} if merged else entries

    def _copy(self, value: Any, depth: int, event: yaml.Event) -> Any:
        self._copies_left -= 1
        if self._copies_left < 0:
            raise _error(event, "aliases expand to too many values: write some of them out")
        if isinstance(value, (dict, list)) and depth >= MAX_DEPTH:
            raise _error(event, f"more than {MAX_DEPTH} levels of maps and lists")
        if isinstance(value, dict):
            return {key: self._copy(child, depth + 1, event) for key, child in value.items()}
        if isinstance(value, list):
            return [self._copy(child, depth + 1, event) for child in value]
        return value

    def _scalar(self, event: yaml.ScalarEvent, *, is_key: bool) -> Any:
        text: str = event.value
        if not is_encodable(text):
            raise _error(event, "an unpaired surrogate is not a character")
        if event.tag in {"!", "tag:yaml.org,2002:str"} or (event.tag is None and not event.implicit[0]):
            return text
        if event.tag is not None:
            raise _error(event, f"the tag {event.tag} is not supported")
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if self._refuse_flag_words and not is_key and text.lower() in _FLAG_WORDS:
            raise _error(
                event, f"`{text}` is text here but a boolean in YAML 1.1: write '{text}', true or false"
            )
        try:
            if integer := _INTEGER.fullmatch(text):
                return int(text, 8 if integer[1] else 16 if integer[2] else 10)
            number = float(text) if _FLOAT.fullmatch(text) else None
        except ValueError:
            raise _error(event, "an integer has too many digits") from None
        if text in _NOT_FINITE or (number is not None and not isfinite(number)):
            raise _error(event, "NaN, Infinity and numbers that are too large are not allowed")
        return text if number is None else number


_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_COLLECTION_TAGS = {None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_FLAG_WORDS = {"yes", "no", "on", "off"}
# The core schema of YAML 1.2 (10.3.2) without leading zeros, which YAML 1.1 reads as octal.
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|(0o[0-7]+)|(0x[0-9a-fA-F]+)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = {f"{sign}.{name}" for sign in ("", "-", "+") for name in ("inf", "Inf", "INF")} | {
    ".nan",
    ".NaN",
    ".NAN",
}


def _error(event: yaml.Event, reason: str) -> yaml.YAMLError:
    return _error_at(event.start_mark, reason)


def _error_at(mark: Any, reason: str) -> yaml.YAMLError:
    return yaml.YAMLError(f"{reason} (line {mark.line + 1}, column {mark.column + 1})" if mark else reason)
