"""Strict JSON parsing: text or bytes in, plain Python values out.

The standard parser keeps the last of duplicate keys, accepts NaN and Infinity, turns 1e999 into infinity and
accepts an unpaired surrogate. Each of these would silently change what is sent (a target lost from
``targetMsgkey``) or fail much later, so each is an error here, all of one type. Time and memory are linear in
the length of the text, whatever it contains.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import TYPE_CHECKING, Any, NoReturn

from mpaas_push.errors import PushError
from mpaas_push.paths import format_path, text_of_key

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "CHARACTERS_PER_CONTAINER",
    "MAX_CONTAINERS",
    "MAX_DEPTH",
    "MESSAGE_CONTAINERS",
    "UnreadableJson",
    "WrittenFloat",
    "check_json",
    "dump_json",
    "is_encodable",
    "plain_json",
    "read_json",
]

MAX_DEPTH = 64
"""Maximum depth of objects and lists; deeper nesting could exhaust a parser's stack."""

MAX_CONTAINERS, CHARACTERS_PER_CONTAINER = 100_000, 32
"""A text may have `MAX_CONTAINERS` objects and lists, plus one per `CHARACTERS_PER_CONTAINER` characters.
Python stores the two characters ``{}`` in 72 bytes: 32 MB of them, the longest event, would need more memory
than a function has."""
MESSAGE_CONTAINERS = 100
"""`MAX_CONTAINERS` of one push message; an event may have 10,000 messages."""

MAX_PATHS = 10
"""Maximum number of paths in an error."""


class UnreadableJson(PushError):
    """A text is not JSON, or is JSON that cannot be passed on unchanged.

    Attributes:
        reason: What is wrong, without any value from the text.
        paths: Where, if known, at most `MAX_PATHS` dotted paths such as ``strategyContent.endTime``. A key
            that no interface defines may be a target id and is masked.
    """

    def __init__(self, reason: str, paths: tuple[str, ...] = ()) -> None:
        self.reason = reason
        paths = tuple(filter(None, paths))
        self.paths = paths[:MAX_PATHS]
        where = ", ".join(f"`{path}`" for path in self.paths) + (", …" if len(paths) > MAX_PATHS else "")
        super().__init__(f"{reason}: {where}" if where else reason)


class WrittenFloat(float):
    """A number with a fraction or exponent that keeps its digits: 19.90 equals 19.9 and is written as 19.90.

    It is infinite if the number exceeds the range of floats.

    Attributes:
        digits: The number as written.
    """

    __slots__ = ("digits",)

    def __init__(self, digits: str) -> None:
        self.digits = digits


def read_json(
    text: str | bytes | bytearray,
    *,
    within: str = "",
    keep_digits: bool = False,
    containers: int = MAX_CONTAINERS,
) -> Any:
    """Read one JSON value.

    Args:
        text: JSON text; bytes are UTF-8. A byte order mark is skipped.
        within: Name of the field that contains the text. Paths in errors start with it.
        keep_digits: Return floats as `WrittenFloat`, for `dump_json`; their range is not limited.
        containers: Maximum number of objects and lists, in addition to one per `CHARACTERS_PER_CONTAINER`
            characters. They are counted before parsing, so brackets within strings count.

    Returns:
        The value, of dict, list, str, int, float, bool and None; floats are finite, strings can be encoded.

    Raises:
        UnreadableJson: Not UTF-8, not JSON, more than `MAX_DEPTH` levels, too many objects and lists, a
            duplicate key, NaN or Infinity, a number out of range, or an unpaired surrogate. No other
            exception is raised for any input.
    """
    top = (within,) if within else ()
    try:
        text = _decode(text)
        if len(text) > MAX_DEPTH:  # most fields are too short to break either limit
            brackets = text.count("{") + text.count("[")
            if brackets > containers + len(text) // CHARACTERS_PER_CONTAINER:
                raise UnreadableJson(_too_many(len(text), containers), top)
            if brackets > MAX_DEPTH and _is_too_deep(text):
                raise UnreadableJson(_TOO_DEEP, top)
        value = _parse_distinct(text, keep_digits=keep_digits)
        if value is _DUPLICATES:
            raise UnreadableJson("duplicate keys", _duplicate_paths(text, within))
    except json.JSONDecodeError as error:
        reason = f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise UnreadableJson(reason, top) from None
    except ValueError:
        # Python refuses to parse integers with thousands of digits.
        raise UnreadableJson(_TOO_LONG, top) from None
    if "\\" in text and re.search(_SURROGATE, text):
        check_json(value, within=within)
    return value


def plain_json(value: Any) -> Any:
    """Return a deep copy of a value after `check_json`."""
    check_json(value)
    return _copy(value)


def check_json(value: Any, *, within: str = "") -> None:
    """Check that a value can be written as JSON.

    Args:
        value: Anything; tuples count as lists.
        within: Name of the field that contains the value. Paths in errors start with it.

    Raises:
        UnreadableJson: A value of another type, a key that is not a string, NaN or Infinity, an unpaired
            surrogate, an integer with thousands of digits, or more than `MAX_DEPTH` levels. The error names
            the first one.
    """
    try:
        _check(value, MAX_DEPTH)
    except _NotPlain as error:
        path = [*error.steps, within] if within else error.steps
        raise UnreadableJson(error.reason, (format_path(reversed(path)),)) from None


def dump_json(value: Any) -> str:
    """Return a value as JSON without spaces; a `WrittenFloat` keeps its digits."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{dump_json(key)}:{dump_json(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dump_json, value)) + "]"
    return value.digits if isinstance(value, WrittenFloat) else json.dumps(value, ensure_ascii=False)


def is_encodable(text: str) -> bool:
    """Return whether a text can be encoded in UTF-8, which an unpaired surrogate cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_TOO_DEEP = f"more than {MAX_DEPTH} levels of objects and lists"
_TOO_LONG = "an integer has too many digits"
_UNPAIRED_SURROGATE = "an unpaired surrogate is not a character"
# Far above any number of the API, and below the 4300 digits beyond which Python refuses to write an integer.
_MAX_BITS = 14_000


def _too_many(characters: int, containers: int) -> str:
    most = containers + characters // CHARACTERS_PER_CONTAINER
    return (
        f"more than {most:,} objects and lists in {characters:,} characters (the limit is {containers:,}, "
        f"plus one for every {CHARACTERS_PER_CONTAINER} characters)"
    )


def _decode(text: str | bytes | bytearray) -> str:
    try:
        if isinstance(text, str):
            if not text.isascii():
                text.encode()
        else:
            text = bytes(text).decode()
    except UnicodeDecodeError as error:
        raise UnreadableJson(f"not UTF-8 text: byte {error.start} cannot be read") from None
    except UnicodeEncodeError as error:
        raise UnreadableJson(f"{_UNPAIRED_SURROGATE}: character {error.start}") from None
    return text.removeprefix("\ufeff")


def _is_too_deep(text: str) -> bool:
    """Return whether a text has more than `MAX_DEPTH` levels, before it is parsed.

    Text that is not JSON is left to the parser, unless it opens too many levels.
    """
    # Only these two escapes affect which quotes end a string.
    data = text.encode().replace(b"\\\\", b"").replace(b'\\"', b"")
    # Every second piece between quotes is outside a string. Keep only brackets, converted to one kind.
    brackets = b"".join(data.translate(_ONE_KIND, _NOT_STRUCTURE).split(b'"')[::2])
    for _ in range(MAX_DEPTH):
        outer = brackets.replace(b"[]", b"")  # removes the innermost level of every branch
        if len(outer) == len(brackets):
            break
        brackets = outer
    # Brackets without any pair are unbalanced, so the text is not JSON.
    return b"[]" in brackets or brackets.count(b"[") > MAX_DEPTH


def _parse_distinct(text: str, *, keep_digits: bool) -> Any:
    """Return the value of a text, or `_DUPLICATES`; the exception, which references parsed values, ends
    here.
    """
    try:
        return _parse(text, _DIGITS_DECODER if keep_digits else _DECODER)
    except _DuplicateKeys:
        return _DUPLICATES


def _parse(text: str, decoder: json.JSONDecoder) -> Any:
    # `decode` also skips white space, which takes as long as parsing a short text: use it only if needed.
    try:
        value, end = decoder.raw_decode(text)
    except json.JSONDecodeError:
        return decoder.decode(text)
    return value if end == len(text) else decoder.decode(text)


class _DuplicateKeys(Exception):
    """An object has duplicate keys."""


_DUPLICATES = object()


class _WithDuplicates(dict[str, Any]):
    """An object whose text has duplicate keys; keeps the first ones."""

    __slots__ = ("duplicates",)

    duplicates: tuple[str, ...]


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _DuplicateKeys
    return value


def _mark_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    marked = _WithDuplicates(value)
    seen: set[str] = set()
    duplicates: dict[str, None] = {}
    for key, _ in pairs:
        if key in seen:
            duplicates[key] = None
            if len(duplicates) > MAX_PATHS:
                break
        seen.add(key)
    marked.duplicates = tuple(duplicates)
    return marked


def _duplicate_paths(text: str, within: str) -> tuple[str, ...]:
    """Parse the text again and return the paths of duplicate keys, at most one more than an error names."""
    paths: list[str] = []
    for path in _duplicates(_parse(text, _MARKING_DECODER), [within] if within else []):
        paths.append(format_path(path))
        if len(paths) > MAX_PATHS:
            break
    return tuple(paths)


def _duplicates(value: Any, path: list[Any]) -> Iterator[list[Any]]:
    """Yield the path of each duplicate key, outermost first; the depth of the text is already checked."""
    if isinstance(value, _WithDuplicates):
        for key in value.duplicates:
            yield [*path, key]
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for step, child in children:
        if isinstance(child, (dict, list)):
            path.append(step)
            yield from _duplicates(child, path)
            path.pop()


def _refuse_constant(constant: str) -> NoReturn:
    raise UnreadableJson(f"{constant} is not a JSON number")


def _parse_finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise UnreadableJson("a number is too large")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant, parse_float=_parse_finite
)
_DIGITS_DECODER = json.JSONDecoder(
    object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant, parse_float=WrittenFloat
)
_MARKING_DECODER = json.JSONDecoder(
    object_pairs_hook=_mark_duplicates, parse_constant=_refuse_constant, parse_float=_parse_finite
)
_SURROGATE = r"\\u[dD][89a-fA-F]"
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'{}[]"'))


class _NotPlain(Exception):
    """A value cannot be written as JSON.

    Attributes:
        reason: Why not.
        steps: Path of the value, innermost step first.
    """

    def __init__(self, reason: str, *steps: Any) -> None:
        self.reason = reason
        self.steps = list(steps)
        super().__init__(reason)


def _check(value: Any, levels: int) -> None:
    """Check that a value can be written as JSON with at most `levels` levels of objects and lists."""
    kind = type(value)
    if kind is str:
        if not is_encodable(value):
            raise _NotPlain(_UNPAIRED_SURROGATE)
    elif kind is int:
        if value.bit_length() > _MAX_BITS:
            raise _NotPlain(_TOO_LONG)
    elif kind is float:
        if not isfinite(value):
            raise _NotPlain("NaN and Infinity are not JSON numbers")
    elif kind is not bool and kind is not WrittenFloat and value is not None:
        _check_children(value, levels)


def _check_children(value: Any, levels: int) -> None:
    if not isinstance(value, (dict, list, tuple)):
        raise _NotPlain(f"{type(value).__name__} is not a JSON type")
    if not levels:
        raise _NotPlain(_TOO_DEEP)
    is_object = isinstance(value, dict)
    children = value.items() if isinstance(value, dict) else enumerate(value)
    step: Any = None
    try:
        for step, child in children:
            # Most keys and values are ASCII.
            if is_object and (type(step) is not str or not step.isascii()):
                _check_key(step)
            if type(child) is not str or not child.isascii():
                _check(child, levels - 1)
    except _NotPlain as error:
        error.steps.append(text_of_key(step) if is_object else step)
        raise


def _check_key(key: Any) -> None:
    if type(key) is not str or not is_encodable(key):
        raise _NotPlain("a key must be text")


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: child if type(child) is str else _copy(child) for key, child in value.items()}
    return [_copy(child) for child in value] if isinstance(value, (list, tuple)) else value
