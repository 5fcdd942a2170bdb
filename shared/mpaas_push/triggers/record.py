"""What the readers of payloads return, and the functions that they share.

A queue message becomes a `QueueRecord`, an event a `CloudEvent`. An element that cannot be read becomes an
`UnreadableElement` at its index.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mpaas_push.errors import UnreadablePayload
from mpaas_push.json_text import (
    MAX_CONTAINERS,
    MESSAGE_CONTAINERS,
    UnreadableJson,
    WrittenFloat,
    dump_json,
    read_json,
)
from mpaas_push.paths import format_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

__all__ = [
    "CloudEvent",
    "EventOrError",
    "Identifier",
    "Number",
    "QueueRecord",
    "RecordOrError",
    "UnreadableElement",
    "WireModel",
    "bytes_of_base64",
    "cloud_event",
    "containers_per_element",
    "data_of",
    "decode_base64",
    "digest",
    "elements_of",
    "moment_of",
    "parse_shape",
    "read_elements",
    "scope_of",
    "shape_of",
    "write_json",
]

_MAX_KEYS = 10
_MAX_KINDS = 3
_SHORT = 8
_MAX_KNOWN = 256


class QueueRecord(NamedTuple):
    """One message of a queue or topic.

    Attributes:
        scope: The same for every delivery of this message: in an array, as text or as a bare object.
        body: The body: a JSON value if it was delivered as an object or a list, else text.
        original: The delivered body as text, for a dead-letter queue.
        moment: When the message was published, in Unix seconds; None if the event has no time.
    """

    scope: str
    body: Any
    original: str
    moment: float | None = None


class UnreadableElement(UnreadablePayload):
    """One element of a payload does not have a documented shape; the others are not affected.

    A batch may hold as many of them as it has bytes, so the error text is built only when needed.

    Attributes:
        element: The element, as JSON or as text.
        actual: The actual value, described by its shape in the error text.
    """

    __slots__ = ("actual", "element")

    def __init__(self, reason: str, element: Any, actual: Any = ...) -> None:
        self.element = element
        self.actual = actual
        super().__init__(sys.intern(reason))

    def __str__(self) -> str:
        reason = super().__str__()
        return reason if self.actual is ... else f"{reason}; got {shape_of(self.actual)}"

    @property
    def original(self) -> str:
        """The element as text, for a dead-letter queue."""
        return self.element if isinstance(self.element, str) else dump_json(self.element)

    @property
    def scope(self) -> str:
        """`sha256:` and the hash of the element."""
        return digest(self.original)


RecordOrError: TypeAlias = "QueueRecord | UnreadableElement"
"""An element of a batch: the message, or why it cannot be read."""


class WireModel(BaseModel):
    """Base of the documented shapes: types are strict, unknown keys are ignored."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        defer_build=True,  # a call reads one or two shapes: the others must not slow down its cold start
    )


ShapeT = TypeVar("ShapeT", bound=WireModel)
ReadT = TypeVar("ReadT")


def _text_of_whole(value: Any) -> Any:
    return str(value) if type(value) is int else value


def _lenient_text(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else write_json(value)


Identifier = Annotated[str, Field(min_length=1)]
"""Text that identifies something."""
Number = Annotated[str, Field(min_length=1), BeforeValidator(_text_of_whole)]
"""A whole number or its text, as text: the same field is documented both ways
(fc-runtime.md: Event streams)."""
_LenientText = Annotated["str | None", BeforeValidator(_lenient_text)]


class CloudEvent(WireModel):
    """A CloudEvents 1.0 event: strict about the required attributes, lenient beyond them
    (fc-runtime.md: CloudEvents).

    Attributes:
        id: Unique within the source.
        source: Where it comes from, such as ``acs.oss``.
        type: What happened, such as ``oss:ObjectCreated:PutObject``.
        specversion: ``1.0``.
        subject: What it happened to.
        time: When it happened, as written: zones differ, and not every time is ISO 8601.
        datacontenttype: Media type of the data.
        data: The source's own data.
    """

    model_config = ConfigDict(extra="allow")

    id: Identifier
    source: Identifier
    type: Identifier
    specversion: Annotated[str, Field(pattern=r"^1\.[0-9]+$")]
    subject: _LenientText = None
    time: _LenientText = None
    datacontenttype: _LenientText = None
    data: Any = None

    @property
    def extensions(self) -> dict[str, Any]:
        """The other attributes, such as ``aliyunregionid``, unchanged."""
        return dict(self.model_extra or {})

    @property
    def scope(self) -> str:
        """The same for every delivery of this event.

        If one request removes several objects, OSS gives their events the id of the request: type and subject
        distinguish them. An application chooses source and id itself: account, region and bus, if the event
        names them, distinguish it from events of other buses.
        """
        extensions = self.extensions
        bus = [extensions[name] for name in _BUS if isinstance(extensions.get(name), str)]
        return scope_of("ce", self.source, self.type, self.subject, self.id, *bus)

    @property
    def moment(self) -> float | None:
        """When it happened, in Unix seconds; None if `time` is absent or cannot be read."""
        return moment_of(self.time)

    @property
    def original(self) -> str:
        """The event as JSON, for a dead-letter queue; its numbers keep their digits."""
        return dump_json({name: value for name, value in self if name in self.model_fields_set})


EventOrError: TypeAlias = "CloudEvent | UnreadableElement"
"""An element of a list of events: the event, or why it cannot be read."""


def parse_shape(element: Any, model: type[ShapeT], expected: str, *, original: Any = None) -> ShapeT:
    """Read a JSON value as one of the documented shapes.

    Args:
        element: The value.
        model: The shape.
        expected: What the value should be, for the error.
        original: What the value is a part of, for the error; by default the value itself.

    Raises:
        UnreadableElement: The value does not have this shape; the text names the faulty fields.
    """
    try:
        return model.model_validate(element)
    except ValidationError as error:
        faults = dict.fromkeys(
            f"`{format_path(fault['loc'], declared=True)}` "
            f"{'is missing' if fault['type'] == 'missing' else 'has the wrong type'}"
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        )
    raise UnreadableElement(f"not {expected}: {', '.join(faults)}", element if original is None else original)


def cloud_event(value: Any, *, containers: int = MAX_CONTAINERS) -> CloudEvent:
    """Read a JSON value as a CloudEvent.

    Args:
        value: The value.
        containers: The limit for its `data_base64`, as in `read_json`.

    Raises:
        UnreadableElement: It is not a CloudEvent.
    """
    if not isinstance(value, dict):
        raise UnreadableElement("not a CloudEvents 1.0 event: expected an object", value, value)
    if isinstance(value.get("data_base64"), str) and _is_json_type(value.get("datacontenttype")):
        attributes = {name: attribute for name, attribute in value.items() if name != "data_base64"}
        value = {**attributes, "data": data_of(value, keep_digits=True, containers=containers)}
    return parse_shape(value, CloudEvent, "a CloudEvents 1.0 event")


def data_of(event: dict[str, Any], *, keep_digits: bool = False, containers: int = MAX_CONTAINERS) -> Any:
    """Return the data of a CloudEvent, from `data_base64` if that holds JSON (CloudEvents 1.0, 3.1.1).

    Args:
        event: The CloudEvent.
        keep_digits: As in `read_json`.
        containers: As in `read_json`.

    Raises:
        UnreadableElement: `data_base64` is not the base64 of JSON, or the event also has `data`.
    """
    encoded = event.get("data_base64")
    if not isinstance(encoded, str) or not _is_json_type(event.get("datacontenttype")):
        return event.get("data")
    if event.get("data") is not None:
        raise UnreadableElement("`data` and `data_base64` are mutually exclusive", event)
    try:
        return read_json(bytes_of_base64(encoded), keep_digits=keep_digits, containers=containers)
    except binascii.Error:
        reason = "`data_base64` is not base64"
    except UnreadableJson as error:
        reason = f"`data_base64` cannot be read: {error}"
    raise UnreadableElement(reason, event)


def elements_of(event: bytes, expected: str, *, keep_digits: bool = False) -> tuple[list[Any], bool]:
    """Parse a payload: an array or one bare object (fc-runtime.md: Event streams).

    An element that is text is parsed again. One that cannot be read becomes an `UnreadableElement` at its
    index, even if it makes the whole array unreadable as JSON. If an array holds too many objects and lists,
    the elements that hold more than their share cannot be read.

    Args:
        event: The payload.
        expected: What it should be, for the error.
        keep_digits: As in `read_json`.

    Returns:
        The elements, and whether the payload is one bare object.

    Raises:
        UnreadablePayload: The payload is neither an array nor an object.
    """
    try:
        value = read_json(event, keep_digits=keep_digits)
    except UnreadableJson as error:
        pieces = _split_array(event)
        if pieces is None:
            raise UnreadablePayload(f"expected {expected}; the payload cannot be read: {error}") from None
        share = containers_per_element(len(pieces))
        return read_elements(pieces, lambda piece: _parse_element(piece, keep_digits, share)), False
    if isinstance(value, dict):
        return [value], True
    if isinstance(value, list):
        share = containers_per_element(len(value))
        return read_elements(
            value,
            lambda element: (
                _parse_element(element, keep_digits, share) if isinstance(element, str) else element
            ),
        ), False
    raise UnreadablePayload(f"expected {expected}; got {shape_of(value)}")


def containers_per_element(elements: int) -> int:
    """Return how many objects and lists each element of an event may hold, as in `read_json`."""
    return max(MAX_CONTAINERS // max(elements, 1), MESSAGE_CONTAINERS)


def read_elements(elements: Iterable[Any], read: Callable[[Any], ReadT]) -> list[ReadT]:
    """Read the elements of a payload; equal short ones only once.

    This bounds the cost of junk like ``[1,1,1,…]``, in which every other byte is an element.
    """
    known: dict[Any, ReadT] = {}
    records = []
    for element in elements:
        key = _key(element)
        if key not in known:
            record = read(element)
            if key is not None and len(known) < _MAX_KNOWN:
                known[key] = record
        else:
            record = known[key]
        records.append(record)
    return records


def scope_of(kind: str, *parts: str | None) -> str:
    """Join the parts of an identity by ``|``, which is escaped in them. None is an empty part."""
    return "|".join([kind, *((part or "").replace("%", "%25").replace("|", "%7C") for part in parts)])


def moment_of(time: Any) -> float | None:
    """Return a time as Unix seconds: RFC 3339 text, or a whole number of milliseconds or its text.

    Returns:
        None for anything else, such as text without a zone, or a time before 1970.
    """
    try:
        if isinstance(time, str) and not time.isdecimal():
            moment = re.fullmatch(_RFC_3339, time)
            if moment is None:
                return None
            # Python 3.10 parses neither Z nor fractions of other than 3 or 6 digits.
            day, clock, fraction, zone = moment.groups()
            without_fraction = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
            seconds = without_fraction.timestamp() + float(fraction or 0)
        elif isinstance(time, str) or type(time) is int:
            seconds = int(time) / 1000
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return seconds if seconds > 0 else None


def shape_of(value: Any) -> str:
    """Describe a JSON value by its types and keys, without showing its values."""
    if isinstance(value, dict):
        keys = [f"`{format_path((key,))}`" for key in list(value)[:_MAX_KEYS]]
        omitted = [f"{len(value) - _MAX_KEYS} more"] if len(value) > _MAX_KEYS else []
        return f"an object with {', '.join(keys + omitted)}" if keys else "an empty object"
    if isinstance(value, list):
        if not value:
            return "an empty list"
        kinds = list(dict.fromkeys(_KINDS.get(type(element), "an element") for element in value))
        return f"a list of {len(value)}: {', '.join(kinds[:_MAX_KINDS])}"
    return _KINDS.get(type(value), "an element")


def write_json(value: Any) -> str:
    """Write a JSON value without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def digest(value: Any) -> str:
    """Return `sha256:` and the hash of bytes, text or a JSON value, in which the order of keys is ignored."""
    if isinstance(value, str):
        value = value.encode(errors="replace")
    elif not isinstance(value, bytes):
        value = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return f"sha256:{hashlib.sha256(value).hexdigest()}"


def decode_base64(text: str) -> str:
    """Return the JSON text that a base64 text holds, else the text itself (fc-runtime.md: Event streams).

    Base64 may be wrapped, URL-safe and unpadded, as common tools write it. Text counts as base64 only if it
    is not JSON and decodes to UTF-8 text that is JSON.
    """
    if text.lstrip()[:1] in {"", "{", "[", '"'}:
        return text
    try:
        decoded = bytes_of_base64(text).decode()
    except ValueError:
        return text
    return decoded if _is_json(decoded) and not _is_json(text) else text


_BUS = ("aliyunaccountid", "aliyunregionid", "aliyuneventbusname")
_KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "a flag",
    int: "a number",
    float: "a number",
    WrittenFloat: "a number",
    type(None): "null",
}
_RFC_3339 = r"(?a)(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d{1,12})?([Zz]|[+-]\d\d:\d\d)"
_JSON_TYPE = r"(?is)[^;]*[/+]json\s*(;.*)?"
_TO_STANDARD_ALPHABET = str.maketrans("-_", "+/", " \t\r\n=")
# A string is one token, terminated or not, so that no text is scanned twice.
_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"?'
_BRACKETS_AND_COMMAS = rb"(?s)" + _STRING + rb"|([\[\]{},])"
# Within an element, a run of empty objects and lists, or one short flat one, is one token: brackets balance.
_BRACKETS = (
    rb"(?s)" + _STRING + rb"|(?:\{\},?|\[\],?){1,1000}"
    rb'|[\[{](?:[^\[\]{}"\\]|"[^"\\]*"){0,40}[\]}]'
    rb"|([\[\]{}])"
)


def _key(element: Any) -> Any:
    """Return a key that equal short elements share; None for other elements."""
    if isinstance(element, (dict, list)):
        return None if element else type(element)
    if isinstance(element, WrittenFloat):
        element = element.digits
    return None if isinstance(element, (str, bytes)) and len(element) > _SHORT else (type(element), element)


def _is_json_type(content_type: Any) -> bool:
    """Return whether a media type is JSON; data without a media type is JSON, too."""
    return content_type is None or (
        isinstance(content_type, str) and re.fullmatch(_JSON_TYPE, content_type) is not None
    )


def bytes_of_base64(text: str) -> bytes:
    """Decode base64 as common tools write it: wrapped, URL-safe, with or without padding.

    Raises:
        ValueError: It is not base64.
    """
    compact = text.translate(_TO_STANDARD_ALPHABET)
    return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)


def _is_json(text: str) -> bool:
    try:
        read_json(text)
    except UnreadableJson:
        return False
    return True


def _parse_element(text: str | bytes, keep_digits: bool, containers: int) -> Any:
    """Parse an element: text, or a piece of the payload. A piece that is a JSON string is parsed again."""
    try:
        value = read_json(text, keep_digits=keep_digits, containers=containers)
        if isinstance(text, bytes) and isinstance(value, str):
            text = value
            value = read_json(text, keep_digits=keep_digits, containers=containers)
    except UnreadableJson as error:
        reason = f"the element cannot be read: {error}"
    else:
        return value
    return UnreadableElement(
        reason, text.decode(errors="replace").strip() if isinstance(text, bytes) else text
    )


def _split_array(event: bytes) -> list[bytes] | None:
    """Split the text of an array into elements by brackets and quotes only; None if it is not an array."""
    text = event.removeprefix(b"\xef\xbb\xbf").strip()
    if not text.startswith(b"["):
        return None
    pieces = []
    depth = start = position = 0
    # Compiled here to spare cold starts: few payloads get here.
    brackets_and_commas, brackets = re.compile(_BRACKETS_AND_COMMAS), re.compile(_BRACKETS)
    while token := (brackets_and_commas if depth < 2 else brackets).search(text, position):
        position, kind = token.end(), token[1]
        if kind in {b"[", b"{"}:
            depth += 1
            start = start or position
        elif kind in {b"]", b"}"}:
            depth -= 1
        if kind and (depth == 0 or (depth == 1 and kind == b",")):
            pieces.append(text[start : token.start()])
            start = position
        if depth == 0:
            return pieces if start == len(text) else None
    return None
