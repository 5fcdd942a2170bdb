"""What the readers of payloads hand on, and what they have in common.

A queue message leaves as an `QueueRecord`, an event as a `CloudEvent`, an element that cannot be read as an
`UnreadableElement` at its place.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from aws_lambda_powertools.utilities.parser import parse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mpaas_push.errors import UnreadablePayload
from mpaas_push.json_text import UnreadableJson, format_path, read_json
from mpaas_push.lean_import import without_init

# The package of envelopes imports a model of every event of AWS.
with without_init("aws_lambda_powertools.utilities.parser.envelopes"):
    from aws_lambda_powertools.utilities.parser.envelopes.base import BaseEnvelope

if TYPE_CHECKING:
    from typing import TypeAlias

    from aws_lambda_powertools.utilities.parser.types import T

__all__ = [
    "CloudEvent",
    "DataEnvelope",
    "Identifier",
    "Number",
    "QueueRecord",
    "RecordOrError",
    "UnreadableElement",
    "WireModel",
    "cloud_event",
    "digest",
    "dumped",
    "elements_of",
    "shape_of",
    "shaped",
    "undone_base64",
]

_MOST_KEYS = 10
_MOST_KINDS = 3


@dataclass(frozen=True)
class QueueRecord:
    """One message of a queue or topic.

    Attributes:
        scope: What every delivery of this message shares, whatever shape it comes in.
        body: The body: a JSON value when it came as an object or a list, else text.
        original: The body as text as it came, for a dead-letter queue.
        moment: When the message was published, in Unix seconds; None where the event does not tell.
    """

    scope: str
    body: Any
    original: str
    moment: float | None = None


class UnreadableElement(UnreadablePayload):
    """One element of a payload is not of a documented shape; its neighbours are not touched by that.

    Attributes:
        scope: `sha256:` of the element.
        original: The element as text, for a dead-letter queue.
    """

    def __init__(self, reason: str, element: Any) -> None:
        self.original = element if isinstance(element, str) else dumped(element)
        self.scope = digest(self.original)
        super().__init__(reason)


RecordOrError: TypeAlias = "QueueRecord | UnreadablePayload"
"""What stands at the place of a message: the message, or why it cannot be read."""


class WireModel(BaseModel):
    """Base of the documented shapes: types are strict, keys that may be added one day are passed over."""

    model_config = ConfigDict(frozen=True, strict=True, hide_input_in_errors=True)


ShapeT = TypeVar("ShapeT", bound=WireModel)


def _text_of_whole(value: Any) -> Any:
    return str(value) if type(value) is int else value


def _lenient_text(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else dumped(value)


Identifier = Annotated[str, Field(min_length=1)]
"""Text that identifies something."""
Number = Annotated[str, Field(min_length=1), BeforeValidator(_text_of_whole)]
"""A whole number or its text, as text: the documents give the same field both ways
(fc-runtime.md: Event streams)."""
_LenientText = Annotated["str | None", BeforeValidator(_lenient_text)]


class DataEnvelope(BaseEnvelope):
    """The data of a CloudEvent, or data alone: `eventSchema` of the trigger decides
    (fc-runtime.md: Event streams).
    """

    def parse(self, data: dict[str, Any] | Any | None, model: type[T]) -> T | None:
        """Read the data as a shape."""
        if isinstance(data, dict) and "specversion" in data:
            data = data.get("data") or {}
        return self._parse(data, model)


class CloudEvent(WireModel):
    """A CloudEvents 1.0 event: strict about the required attributes, lenient beyond them
    (fc-runtime.md: CloudEvents).

    Attributes:
        id: Unique within the source.
        source: Where it comes from, such as ``acs.oss``.
        type: What happened, such as ``oss:ObjectCreated:PutObject``.
        specversion: ``1.0``.
        subject: What it happened to.
        time: When, as it was written: zones differ and not every one is ISO 8601.
        datacontenttype: Media type of the data.
        data: What the source tells.
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
        """The other attributes, such as ``aliyunregionid``, as they came."""
        return dict(self.model_extra or {})

    @property
    def scope(self) -> str:
        """What every delivery of this event shares: its source and id."""
        return f"ce:{self.source}:{self.id}"


def shaped(
    element: dict[str, Any], model: type[ShapeT], expected: str, envelope: type[BaseEnvelope] | None = None
) -> ShapeT:
    """Read an element of a payload as one of the documented shapes.

    Args:
        element: The element.
        model: The shape.
        expected: What the element should be, for the error.
        envelope: What the shape is wrapped in.

    Raises:
        UnreadableElement: The element is not of the shape; the fields at fault are named.
    """
    try:
        if envelope is None:
            return parse(event=element, model=model)
        return cast("ShapeT", parse(event=element, model=model, envelope=envelope))
    except ValidationError as error:
        faults = dict.fromkeys(
            f"`{format_path(fault['loc'])}` "
            f"{'is missing' if fault['type'] == 'missing' else 'has the wrong type'}"
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise UnreadableElement(f"not {expected}: {', '.join(faults)}", element) from None


def cloud_event(value: Any) -> CloudEvent:
    """Read a JSON value as a CloudEvent.

    Raises:
        UnreadableElement: It is none.
    """
    if not isinstance(value, dict):
        raise UnreadableElement(
            f"not a CloudEvents 1.0 event: expected an object, came {shape_of(value)}", value
        )
    return shaped(value, CloudEvent, "a CloudEvents 1.0 event")


def elements_of(event: bytes, expected: str) -> tuple[list[Any], bool]:
    """Return the elements of an array, or the one bare object and True, read as JSON
    (fc-runtime.md: Event streams).

    An element that is text is read again. One that cannot be read stands as an `UnreadableElement` at its
    place, also when it is the reason that the array as a whole is no JSON that could be passed on.

    Args:
        event: The payload.
        expected: What it should be, for the error.

    Raises:
        UnreadablePayload: The payload is neither an array nor an object.
    """
    try:
        value = read_json(event)
    except UnreadableJson as error:
        pieces = _pieces(event)
        if pieces is None:
            raise UnreadablePayload(f"expected {expected}; what came cannot be read: {error}") from None
        return [_read_again(piece) for piece in pieces], False
    if isinstance(value, dict):
        return [value], True
    if isinstance(value, list):
        return [_read_again(element) if isinstance(element, str) else element for element in value], False
    raise UnreadablePayload(f"expected {expected}; came {shape_of(value)}")


def shape_of(value: Any) -> str:
    """Describe a JSON value by types and names of keys; no value of it is shown."""
    if isinstance(value, dict):
        keys = [f"`{format_path((key,))}`" for key in list(value)[:_MOST_KEYS]]
        more = [f"{len(value) - _MOST_KEYS} more"] if len(value) > _MOST_KEYS else []
        return f"an object with {', '.join(keys + more)}" if keys else "an empty object"
    if isinstance(value, list):
        if not value:
            return "an empty list"
        kinds = list(dict.fromkeys(_KINDS.get(type(element), "an element") for element in value))
        return f"a list of {len(value)}: {', '.join(kinds[:_MOST_KINDS])}"
    return _KINDS.get(type(value), "an element")


def dumped(value: Any) -> str:
    """Write a JSON value without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def digest(value: Any) -> str:
    """Return `sha256:` and the hash of bytes, of text, or of a JSON value whatever the order of its keys."""
    if isinstance(value, str):
        value = value.encode(errors="replace")
    elif not isinstance(value, bytes):
        value = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return f"sha256:{hashlib.sha256(value).hexdigest()}"


def undone_base64(text: str) -> str:
    """Return the JSON text that a base64 text holds, else the text itself (fc-runtime.md: Event streams).

    Text is taken for base64 only if it is no JSON and decodes strictly to UTF-8 text that is JSON.
    """
    if text.lstrip()[:1] in {"", "{", "[", '"'}:
        return text
    try:
        decoded = base64.b64decode(text, validate=True).decode()
    except ValueError:
        return text
    return decoded if _is_json(decoded) and not _is_json(text) else text


_KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "a flag",
    int: "a number",
    float: "a number",
    type(None): "null",
}
# A string counts as one token, ended or not, so that no text is looked at twice.
_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{},]', re.DOTALL)


def _is_json(text: str) -> bool:
    try:
        read_json(text)
    except UnreadableJson:
        return False
    return True


def _read_again(text: str | bytes) -> Any:
    """Read an element that is text or a piece of the payload; what a piece calls text is read once more."""
    try:
        value = read_json(text)
        if isinstance(text, bytes) and isinstance(value, str):
            text = value
            value = read_json(text)
    except UnreadableJson as error:
        original = text.decode(errors="replace").strip() if isinstance(text, bytes) else text
        return UnreadableElement(f"the element cannot be read: {error}", original)
    return value


def _pieces(event: bytes) -> list[bytes] | None:
    """Cut the text of an array into its elements by brackets and quotes alone; None if it is no array."""
    text = event.removeprefix(b"\xef\xbb\xbf").strip()
    if not text.startswith(b"["):
        return None
    pieces = []
    depth = start = 0
    for token in _TOKENS.finditer(text):
        kind = token[0][:1]
        if kind in b"[{":
            depth += 1
            start = start or token.end()
        elif kind in b"]}":
            depth -= 1
        if depth == 0 or (depth == 1 and kind == b","):
            pieces.append(text[start : token.start()])
            start = token.end()
        if depth == 0:
            return pieces if start == len(text) else None
    return None
