"""Strict reading of JSON: text or bytes enter, plain Python values leave.

The standard reader keeps the last of two equal keys, takes NaN and Infinity, turns 1e999 into infinity and
lets half a surrogate pair through. Each of these would change what is sent without a word (a target lost from
``targetMsgkey``) or fail much later, so each is an error here, and all errors are one type.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any, NoReturn

from mpaas_push.errors import PushError, mask_id

__all__ = [
    "MAX_DEPTH",
    "UnreadableJson",
    "WrittenFloat",
    "format_path",
    "is_encodable",
    "plain_json",
    "read_json",
    "written_json",
]

MAX_DEPTH = 64
"""Levels of objects and lists that a value may have; deeper ones can exhaust the stack of a reader."""

_LONGEST_SEGMENT = 64
_MOST_PATHS = 10


class UnreadableJson(PushError):
    """A text is not JSON, or is JSON that cannot be passed on unchanged.

    Attributes:
        reason: What is wrong, in one sentence without a value of the text.
        paths: Where, as far as known: dotted paths such as ``strategyContent.endTime``. Keys directly below
            ``targetMsgkey`` are target ids and stand there masked.
    """

    def __init__(self, reason: str, paths: tuple[str, ...] = ()) -> None:
        self.reason = reason
        self.paths = tuple(filter(None, paths))
        shown = ", ".join(f"`{path}`" for path in self.paths[:_MOST_PATHS])
        more = ", …" if len(self.paths) > _MOST_PATHS else ""
        super().__init__(f"{reason}: {shown}{more}" if shown else reason)


class WrittenFloat(float):
    """A number with a fraction or an exponent that keeps its digits: 19.90 is 19.9, and is written 19.90.

    It is infinite where no float is as large as what was written.

    Attributes:
        digits: The number as it was written.
    """

    __slots__ = ("digits",)

    def __init__(self, digits: str) -> None:
        self.digits = digits


def read_json(text: str | bytes | bytearray, *, within: str = "", keep_digits: bool = False) -> Any:
    """Read one JSON value.

    Args:
        text: JSON text; bytes are UTF-8. A byte order mark is skipped.
        within: Name of the field whose text this is. Paths in errors start with it.
        keep_digits: Return floats as `WrittenFloat`, for `written_json`; their range is not limited.

    Returns:
        The value made of dict, list, str, int, float, bool and None; floats are finite, texts can be encoded.

    Raises:
        UnreadableJson: Not UTF-8, not JSON, a key given twice, NaN or Infinity, a number out of range, half a
            surrogate pair, or more than `MAX_DEPTH` levels. Nothing else is raised, whatever the bytes are.
    """
    top = (within,) if within else ()
    try:
        text = _decoded(text)
        try:
            value = _value(text, _DIGITS_DECODER if keep_digits else _DECODER)
        except _GivenTwice:
            raise UnreadableJson(
                "every key may be given only once; given twice", _duplicate_paths(text, top)
            ) from None
    except json.JSONDecodeError as error:
        reason = f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise UnreadableJson(reason, top) from None
    except RecursionError:
        raise UnreadableJson(_TOO_DEEP, top) from None
    except ValueError:
        # Python refuses to read integers of some thousand digits.
        raise UnreadableJson(_TOO_LONG, top) from None
    # Depth and surrogates are rare and costly to see: look only where the text hints at them.
    if (len(text) > MAX_DEPTH and text.count("{") + text.count("[") > MAX_DEPTH) or (
        "\\" in text and "\\ud" in text.lower()
    ):
        plain_json(value, within=within)
    return value


def plain_json(value: Any, *, within: str = "") -> Any:
    """Return a deep copy of a value after making sure that it can be written as JSON.

    Args:
        value: Anything; tuples are taken as lists.
        within: Name of the field that holds the value. Paths in errors start with it.

    Raises:
        UnreadableJson: A value of another type, a key that is no text, NaN or Infinity, half a surrogate
            pair, an integer of thousands of digits, or more than `MAX_DEPTH` levels. The first such place is
            named.
    """
    return _copied(value, (within,) if within else ())


def written_json(value: Any) -> str:
    """Write a JSON value without spaces; a `WrittenFloat` keeps its digits."""
    if isinstance(value, dict):
        return (
            "{" + ",".join(f"{written_json(key)}:{written_json(below)}" for key, below in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ",".join(map(written_json, value)) + "]"
    return value.digits if isinstance(value, WrittenFloat) else json.dumps(value, ensure_ascii=False)


def format_path(path: tuple[Any, ...]) -> str:
    """Return a path as text: ``("targetMsgkey", "user-4711")`` becomes ``targetMsgkey.us…(9)``.

    Whatever lies directly below ``targetMsgkey`` is a target id and is masked; long keys are cut.
    """
    segments = []
    parent = ""
    for step in path:
        segment = str(step)
        if parent.lower() == "targetmsgkey":
            shown = mask_id(segment)
        elif len(segment) > _LONGEST_SEGMENT:
            shown = segment[:_LONGEST_SEGMENT] + "…"
        else:
            shown = segment
        # A path is printed and logged: half a surrogate pair could be neither.
        segments.append(shown.encode(errors="replace").decode())
        parent = segment
    return ".".join(segments)


_TOO_DEEP = f"more than {MAX_DEPTH} levels of objects and lists"
_TOO_LONG = "a whole number has too many digits"
# Far above any number of the API, and below the 4300 digits from which on Python refuses to write an integer.
_MAX_BITS = 14_000


class _GivenTwice(Exception):
    """An object has two equal keys."""


class _WithDuplicates(dict[str, Any]):
    """An object in whose text keys stood twice; knows which."""

    twice: tuple[str, ...]


def is_encodable(text: str) -> bool:
    """Return whether a text has bytes in UTF-8; half a surrogate pair has none."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _decoded(text: str | bytes | bytearray) -> str:
    try:
        if isinstance(text, str):
            if not text.isascii():
                text.encode()
        else:
            text = bytes(text).decode()
    except UnicodeDecodeError as error:
        raise UnreadableJson(f"not UTF-8 text: byte {error.start} cannot be read") from None
    except UnicodeEncodeError as error:
        raise UnreadableJson(f"half a surrogate pair is no character: character {error.start}") from None
    return text.removeprefix("\ufeff")


def _value(text: str, decoder: json.JSONDecoder) -> Any:
    # `decode` spends as long on white space around a short text as on the text: only where there is some.
    try:
        value, end = decoder.raw_decode(text)
    except json.JSONDecodeError:
        return decoder.decode(text)
    return value if end == len(text) else decoder.decode(text)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _GivenTwice
    return found


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = _WithDuplicates(pairs)
    counts: dict[str, int] = {}
    for key, _ in pairs:
        counts[key] = counts.get(key, 0) + 1
    found.twice = tuple(key for key, count in counts.items() if count > 1)
    return found


def _duplicate_paths(text: str, top: tuple[str, ...]) -> tuple[str, ...]:
    """Read the text again and return where keys stand twice, outermost first."""
    paths = []
    pending: list[tuple[tuple[Any, ...], Any]] = [(top, _MARKING_DECODER.decode(text))]
    for place, found in pending:  # grows while it is walked: no recursion, the depth is not checked yet
        if isinstance(found, _WithDuplicates):
            paths += [format_path((*place, key)) for key in found.twice]
        if isinstance(found, dict):
            pending += [((*place, key), below) for key, below in found.items()]
        elif isinstance(found, list):
            pending += [((*place, index), below) for index, below in enumerate(found)]
    return tuple(paths)


def _refuse_constant(constant: str) -> NoReturn:
    raise UnreadableJson(f"{constant} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise UnreadableJson("a number is too large")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_refuse_constant, parse_float=_finite)
_DIGITS_DECODER = json.JSONDecoder(
    object_pairs_hook=_distinct, parse_constant=_refuse_constant, parse_float=WrittenFloat
)
_MARKING_DECODER = json.JSONDecoder(
    object_pairs_hook=_marked, parse_constant=_refuse_constant, parse_float=_finite
)


def _copied(value: Any, path: tuple[Any, ...]) -> Any:
    kind = type(value)
    if kind is dict or kind is list:
        return _copied_below(value, path)
    if kind is str:
        if not is_encodable(value):
            raise UnreadableJson("half a surrogate pair is no character", (format_path(path),))
    elif kind is int:
        if value.bit_length() > _MAX_BITS:
            raise UnreadableJson(_TOO_LONG, (format_path(path),))
    elif kind is float:
        if not isfinite(value):
            raise UnreadableJson("NaN and Infinity are not JSON numbers", (format_path(path),))
    elif kind is not bool and kind is not WrittenFloat and value is not None:
        # Subclasses (of dict, for example) and tuples come last: they are rare.
        return _copied_below(value, path)
    return value


def _copied_below(value: Any, path: tuple[Any, ...]) -> Any:
    if len(path) >= MAX_DEPTH:
        raise UnreadableJson(_TOO_DEEP, (format_path(path[:3]),))
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str or not is_encodable(key):
                raise UnreadableJson("a key must be text", (format_path((*path, key)),))
        return {key: _copied(below, (*path, key)) for key, below in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(below, (*path, index)) for index, below in enumerate(value)]
    raise UnreadableJson(f"{type(value).__name__} is not a JSON type", (format_path(path),))
