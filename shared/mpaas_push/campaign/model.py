"""A campaign: a document of JSON or YAML enters, a frozen and valid `Campaign` leaves.

`Campaign.parse` reports every fault at once, those of the message among them, each with its path in the
document.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from mpaas_push.campaign.errors import InvalidCampaign
from mpaas_push.campaign.rendering import columns_of, render
from mpaas_push.errors import Fault, InvalidMessage, PushError
from mpaas_push.json_text import UnreadableJson, check_json, read_json
from mpaas_push.message import PushMessage
from mpaas_push.message.constraints.clock import CHINA
from mpaas_push.message.model import normalise_numbers
from mpaas_push.message.vocabulary import page_name
from mpaas_push.model_faults import faults_of
from mpaas_push.paths import format_path, is_plain_name
from mpaas_push.strict_model import StrictModel
from mpaas_push.targets import without_targets

if TYPE_CHECKING:
    from typing_extensions import Self

    from mpaas_push.settings import Settings

__all__ = [
    "MAX_PACE",
    "Audience",
    "Campaign",
    "PaceChange",
    "Window",
    "campaign_schema",
    "read_document",
    "with_date",
]

MAX_PACE = 100_000
"""Targets a second: more than any quota of mPaaS allows."""
SAMPLE_TARGET = "user"
"""Replaces a row's target while a message is checked without a row."""


def _without_control_characters(text: str) -> str:
    if _CONTROL_CHARACTER.search(text):
        raise ValueError(_NO_CONTROL_CHARACTERS)
    return text


_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NO_CONTROL_CHARACTERS = "must not contain control characters"
_Name = Annotated[str, AfterValidator(_without_control_characters)]


class Audience(StrictModel):
    """The file of a campaign: one row for each user.

    Attributes:
        bucket: Name of the OSS bucket.
        key: Name of the object.
        target: The column with the target id; a file of plain ids has none.
        format: `csv`, `jsonl` (also `.ndjson`) or `ids` (`.txt`); by default as the key ends.
        delimiter: Separates the fields of a CSV.
    """

    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")]
    key: Annotated[_Name, Field(min_length=1, max_length=1023)]
    target: Annotated[_Name | None, Field(min_length=1, max_length=200)] = None
    format: Literal["csv", "jsonl", "ids"] | None = None
    delimiter: Literal[",", ";", "\t", "|"] = ","

    @model_validator(mode="after")
    def _is_readable(self) -> "Audience":
        ending = self.key.rpartition(".")[2].lower()
        if ending in {"gz", "zip", "bz2", "xz", "zst"}:
            text = f".{ending} cannot be cut into pieces that are read concurrently: upload it uncompressed"
            raise ValueError(f"key: {text}")
        if self.format is None and ending not in _FORMATS:
            text = "must end with .csv, .jsonl, .ndjson or .txt, or `format` must say csv, jsonl or ids"
            raise ValueError(f"key: {text}")
        if self.kind != "ids" and self.target is None:
            raise ValueError("target: is required: the column with the target id")
        if self.kind == "ids" and self.target is not None:
            raise ValueError("target: must be left out: a file of plain ids has no columns")
        return self

    @property
    def kind(self) -> str:
        """Format of its rows: ``csv``, ``jsonl`` or ``ids``."""
        return self.format or _FORMATS[self.key.rpartition(".")[2].lower()]


_FORMATS = {"csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "txt": "ids"}


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # KeyError: no such zone
        raise ValueError("must be a time zone such as Asia/Shanghai") from None
    return name


_Minute = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$")]


class Window(StrictModel):
    """The hours of a day in which a campaign sends; over midnight if it ends before it begins.

    Attributes:
        start: `from`, such as ``08:00``.
        end: `to`, such as ``21:00``.
        zone: Time zone by its name in the IANA database.
    """

    start: Annotated[_Minute, Field(alias="from")]
    end: Annotated[_Minute, Field(alias="to")]
    zone: Annotated[str, AfterValidator(_zone)] = "Asia/Shanghai"

    @model_validator(mode="after")
    def _has_length(self) -> "Window":
        if self.start == self.end:
            raise ValueError("to: must differ from `from`")
        return self

    def seconds_until_open(self, now: float) -> float:
        """Return the seconds until it opens; 0 if it is open.

        Args:
            now: Unix seconds.
        """
        moment = datetime.fromtimestamp(now, ZoneInfo(self.zone))
        minute = moment.hour * 60 + moment.minute
        start, end = _minutes(self.start), _minutes(self.end)
        is_open = start <= minute < end if start < end else minute >= start or minute < end
        return 0.0 if is_open else self._seconds_until(self.start, now)

    def seconds_until_closed(self, now: float) -> float:
        """Return the seconds until it closes; 0 if it is closed.

        Args:
            now: Unix seconds.
        """
        if self.seconds_until_open(now):
            return 0.0
        return self._seconds_until(self.end, now)

    def _seconds_until(self, minute: str, now: float) -> float:
        moment, minutes = datetime.fromtimestamp(now, ZoneInfo(self.zone)), _minutes(minute)
        then = moment.replace(hour=minutes // 60 % 24, minute=minutes % 60, second=0, microsecond=0)
        if then <= moment:
            then += timedelta(days=1)
        return max(then.timestamp() - now, 0.001)


def _minutes(text: str) -> int:
    hour, _, minute = text.partition(":")
    return int(hour) * 60 + int(minute)


def _moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError("must be a moment such as 2026-11-11T23:00:00+08:00") from None
    if moment.tzinfo is None:
        raise ValueError("must name its offset, as in 2026-11-11T23:00:00+08:00")
    return text


Pace = Annotated[Annotated[int, Field(ge=1, le=MAX_PACE)] | None, BeforeValidator(normalise_numbers)]
"""Targets a second over all instances; None for no limit."""


class PaceChange(StrictModel):
    """The body that changes the pace of a campaign.

    Attributes:
        pace: The new pace.
    """

    pace: Pace

    @classmethod
    def parse(cls, data: Any) -> "Self":
        """Return the change that untrusted data describe.

        Raises:
            InvalidCampaign: with every fault at once.
        """
        if not isinstance(data, Mapping):
            raise InvalidCampaign([Fault("", 'must be an object such as {"pace": 500}')])
        _check_plain(data)
        try:
            return cls.model_validate(dict(data), by_alias=True, by_name=False)
        except ValidationError as error:
            raise InvalidCampaign(faults_of(error, {"": cls}, _ALLOWED)) from None


class Campaign(StrictModel):
    """One message to every row of an audience.

    Attributes:
        campaign: Its id, which is also its idempotency key: letters, digits, `_` and `-`.
        message: A push message without targets. `{column}` in a text is replaced by the row's value.
        audience: The file.
        texts: Other texts for some rows: `by` names a column, `default` one of the variants, and every other
            key is a variant: the fields of the message that differ for rows with that value.
        pace: Targets a second over all instances; None for no limit.
        window: When it may send; always if None.
        ends_at: `endsAt`: rows that are not sent by then are expired.
        report: `failed`: results list the targets that were not accepted; `all`: the accepted ones as well.
    """

    campaign: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    message: dict[str, Any]
    audience: Audience
    texts: dict[str, Any] | None = None
    pace: Pace = None
    window: Window | None = None
    ends_at: Annotated[str, AfterValidator(_moment)] | None = None
    report: Literal["failed", "all"] = "failed"

    @classmethod
    def parse(cls, data: Any, settings: "Settings") -> "Self":
        """Return the campaign that untrusted data describe.

        Args:
            data: A mapping, as `read_document` returns it.
            settings: Defaults of the message (app, workspace, tenant) and levels of its open rules.

        Raises:
            InvalidCampaign: with every fault at once, in the order of the fields. Data that is not JSON, such
                as a number as a key, is the only fault.
        """
        if not isinstance(data, Mapping):
            raise InvalidCampaign([Fault("", "a campaign must be a JSON object or a YAML map")])
        _check_plain(data)
        faults: list[Fault] = []
        campaign = None
        # pydantic skips the rules of an object, such as that a CSV needs a target, if a field is unknown.
        for document in (dict(data), _known_parts(data)):
            try:
                campaign = cls.model_validate(document, by_alias=True, by_name=False)
                break
            except ValidationError as error:
                new_faults = faults_of(error, {"": cls, **_PARTS}, _ALLOWED)
                faults += [fault for fault in new_faults if fault not in faults]
        message, texts = data.get("message"), data.get("texts")
        if isinstance(message, dict):
            faults += _message_faults(message, texts, settings)
        elif texts is not None:  # faults of the variants alone do not depend on the message
            all_faults = _message_faults({}, texts, settings)
            faults += [fault for fault in all_faults if fault.field.partition(".")[0] == "texts"]
        if campaign is None or faults:
            raise InvalidCampaign(cls.in_order(faults))
        return campaign

    @classmethod
    def of_stored(cls, text: str) -> "Self":
        """Return the campaign of a stored document, without the fields of a newer version.

        Raises:
            ValueError: it cannot be read.
        """
        document = _known_parts(_known(cls, json.loads(text)))
        return cls.model_validate(document, by_alias=True, by_name=False)

    @classmethod
    def in_order(cls, faults: Iterable[Fault]) -> list[Fault]:
        """Return faults in the order of the document's fields."""
        order = {str(field.alias): index for index, field in enumerate(cls.model_fields.values())}
        return sorted(faults, key=lambda fault: order.get(fault.field.partition(".")[0], len(order)))

    @classmethod
    def outline(cls, data: Any) -> "Self | None":
        """Return the part of an invalid document that names its file and columns; None without a file.

        Its faults can then be reported together with those of its audience.
        """
        if not isinstance(data, Mapping):
            return None
        try:
            _check_plain(data)
            audience = Audience.model_validate(data.get("audience"), by_alias=True, by_name=False)
        except (InvalidCampaign, ValidationError):
            return None
        message, texts = data.get("message"), data.get("texts")
        fields: dict[str, Any] = {
            "audience": audience,
            "message": message if isinstance(message, dict) else {},
            "texts": None if not isinstance(texts, dict) or _texts_faults(texts) else texts,
        }
        return cls.model_construct(**fields)  # type: ignore[return-value]  # pydantic's plugin says Campaign

    @cached_property
    def columns(self) -> frozenset[str]:
        """The columns that a row needs, including its target; empty for plain ids without placeholders."""
        target = {self.audience.target} if self.audience.target else set()
        by = {self.texts["by"]} if self.texts else set()
        return frozenset(target | by | self.placeholders)

    @cached_property
    def fields_by_path(self) -> dict[str, Any]:
        """The fields of the message and of each variant, by path."""
        parts = {"message": self.message}
        parts |= {f"texts.{name}": text for name, text in _variants_in(self.texts or {}).items()}
        return {f"{path}.{name}": value for path, part in parts.items() for name, value in part.items()}

    @cached_property
    def placeholders(self) -> frozenset[str]:
        """The columns that placeholders name."""
        return columns_of(list(self.fields_by_path.values()))

    def path_of(self, column: str) -> str:
        """Return the path of the first text that names a column."""
        paths = (path for path, value in self.fields_by_path.items() if column in columns_of(value))
        return next(paths, "message")

    @cached_property
    def variants(self) -> dict[str, dict[str, Any]]:
        """The message of each variant of `texts`; without `texts`, the campaign's message under ``""``."""
        variants = _variants_in(self.texts or {})
        if self.texts:  # earlier versions accepted a default that is not a variant: the unchanged message
            variants.setdefault(self.texts["default"], {})
        return _merged(self.message, variants)

    def template_of(self, row: Mapping[str, str]) -> dict[str, Any]:
        """Return the message for a row, with its placeholders."""
        if not self.texts:
            return self.message
        variants = self.variants
        return variants.get(row.get(self.texts["by"], ""), variants[self.texts["default"]])

    def fingerprint(self, settings: "Settings") -> str:
        """Return a hash of what is sent to whom by which app, 32 hexadecimal digits.

        The pace is not part of it, since it may change. The order of keys, explicit defaults, and 600 versus
        600.0 make no difference.

        Args:
            settings: As for `parse`.
        """
        content = self.model_dump(mode="json", by_alias=True, exclude={"pace", "message", "texts"})
        content["audience"]["format"] = self.audience.kind
        content["messages"] = {
            name: _content_of(message, settings) for name, message in self.variants.items()
        }
        content["texts"] = [self.texts["by"], self.texts["default"]] if self.texts else None
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def ends(self) -> float | None:
        """`ends_at` in Unix seconds."""
        return (
            datetime.fromisoformat(self.ends_at.replace("Z", "+00:00")).timestamp() if self.ends_at else None
        )

    def has_ended(self, now: float) -> bool:
        """Return whether its end has passed at a moment in Unix seconds; without an end it never has."""
        return self.ends is not None and now >= self.ends

    def as_json(self) -> dict[str, Any]:
        """Return the document of the campaign."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def read_document(text: str | bytes) -> Any:
    """Read the document of a campaign, JSON or YAML in UTF-8, dated today (see `with_date`).

    Raises:
        InvalidCampaign: it is neither JSON nor YAML.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InvalidCampaign([Fault("", "must be UTF-8")]) from None
    if text.lstrip()[:1] == "{":
        try:
            return with_date(read_json(text))
        except PushError as error:
            raise InvalidCampaign([Fault("", str(error))]) from None
    import yaml  # only YAML needs it

    from mpaas_push.yaml_text import read_yaml

    try:
        return with_date(read_yaml(text))
    except yaml.YAMLError as error:
        raise InvalidCampaign([Fault("", f"is neither JSON nor YAML: {error}")]) from None


def with_date(data: Any, date: str | None = None) -> Any:
    """Return a document with the date in place of `{date}` in its id and in the key of its audience."""
    if not isinstance(data, dict) or not isinstance(data.get("campaign"), str):
        return data
    date = date or f"{datetime.now(CHINA):%Y%m%d}"
    dated = {**data, "campaign": data["campaign"].replace("{date}", date)}
    audience = data.get("audience")
    if isinstance(audience, dict) and isinstance(audience.get("key"), str):
        dated["audience"] = {**audience, "key": audience["key"].replace("{date}", date)}
    return dated


def campaign_schema() -> dict[str, Any]:
    """Return the JSON schema of a campaign, whose message is a `PushMessage` without targets."""
    schema = Campaign.model_json_schema(by_alias=True)
    message = PushMessage.model_json_schema(by_alias=True)
    schema.setdefault("$defs", {}).update(message.pop("$defs", {}))
    properties = without_targets(message["properties"])
    schema["$defs"]["CampaignMessage"] = {
        "type": "object",
        "description": "A push message without targets; {column} in a text is replaced by the row's value.",
        "additionalProperties": False,
        "properties": properties,
    }
    schema["properties"]["message"] = {"$ref": "#/$defs/CampaignMessage"}
    return schema


def _check_plain(data: Mapping[str, Any]) -> None:
    """Refuse data that cannot be written as JSON, which only code can pass, or that is nested too deeply.

    Raises:
        InvalidCampaign: with the path of the first such value.
    """
    try:
        check_json(data)
    except UnreadableJson as error:
        raise InvalidCampaign([Fault("".join(error.paths), error.reason)]) from None


_PARTS: dict[str, type[StrictModel]] = {"audience": Audience, "window": Window}
"""Parts of a campaign that are separate models, by field."""


def _known_parts(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document without the unknown fields of its parts."""
    known = {
        name: _known(model, data[name]) for name, model in _PARTS.items() if isinstance(data.get(name), dict)
    }
    return {**data, **known}


def _known(model: type[StrictModel], data: dict[str, Any]) -> dict[str, Any]:
    names = {str(field.alias) for field in model.model_fields.values()}
    return {name: value for name, value in data.items() if name in names}


def _variants_in(texts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variants of texts by name, as they were written."""
    return {name: text for name, text in texts.items() if name not in {"by", "default"}}


def _merged(message: Mapping[str, Any], variants: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the message of each variant; without any, the unchanged message under ``""``."""
    return {name: {**message, **text} for name, text in (variants or {"": {}}).items()}


def _message_faults(message: dict[str, Any], texts: Any, settings: "Settings") -> list[Fault]:
    """Return what is wrong with the message and its variants, as far as can be seen without a row."""
    faults = [
        Fault(f"message.{name}", "must be left out: the audience says who gets it")
        for name in ("targets", "targetMsgkey")
        if name in message
    ]
    if isinstance(texts, dict):
        faults += _texts_faults(texts)
    readable = {
        name: without_targets(text)
        for name, text in (_variants_in(texts) if isinstance(texts, dict) else {}).items()
        if isinstance(text, dict)
    }
    reported: Counter[tuple[str, str, str]] = Counter()
    for name, variant in _merged(without_targets(message), readable).items():
        try:
            _sample_of(variant, settings)
        except InvalidMessage as error:
            own, found = set(map(page_name, readable.get(name, {}))), Counter[tuple[str, str, str]]()
            for path, fault in _with_paths(error.faults, variant):
                fields = accumulate(path.split("."), "{}.{}".format)
                place = "message" if own.isdisjoint(fields) else f"texts.{name}"
                key = place, path, fault.message
                found[key] += 1
                if found[key] > reported[key]:  # every variant has the faults of the message
                    faults.append(fault.below(place))
            reported |= found
    return faults


def _with_paths(faults: Sequence[Fault], message: Mapping[str, Any]) -> Iterator[tuple[str, Fault]]:
    """Yield the path of each fault, with its unmasked parameter, and the fault.

    The fault itself shows the name of an unknown parameter unless it may be a target id.
    """
    shown = {fault.field for fault in faults}
    masked: dict[str, list[str]] = {}
    for name in message:
        if name not in shown:
            masked.setdefault(format_path((name,)), []).append(name)
    for fault in faults:
        if not (names := masked.get(fault.field)):
            yield fault.field, fault
            continue
        name = names.pop(0)  # faults of unknown parameters are in the order of the message
        text = fault.message.replace(f"`{fault.field}`", f"`{name}`")
        yield name, Fault(name, text, fault.value) if is_plain_name(name) else fault


def _content_of(template: dict[str, Any], settings: "Settings") -> list[Any]:
    """Return the content of a message, with its placeholders, and which app sends it."""
    sample = _sample_of(template, settings)
    varying = {name: normalise_numbers(value) for name, value in template.items() if columns_of(value)}
    return [sample.fingerprint, sample.app_id, sample.workspace_id, sample.tenant_id, varying]


def _sample_of(template: dict[str, Any], settings: "Settings") -> PushMessage:
    """Return a message with a short value in place of each placeholder.

    Raises:
        InvalidMessage: it breaks a rule.
    """
    sample = render(template, dict.fromkeys(columns_of(template), "1"))
    return PushMessage.parse(
        {**sample, "targets": [SAMPLE_TARGET]}, defaults=settings.defaults, levels=settings.constraint_levels
    )


def _texts_faults(texts: dict[str, Any]) -> list[Fault]:
    faults = [
        Fault(f"texts.{name}", f"is required: {meaning}")
        for name, meaning in (("by", "the column that selects the variant"), ("default", "a variant"))
        if not isinstance(texts.get(name), str) or not texts[name]
    ]
    if isinstance(texts.get("by"), str) and _CONTROL_CHARACTER.search(texts["by"]):
        faults.append(Fault("texts.by", _NO_CONTROL_CHARACTERS))
    variants = _variants_in(texts)
    if any(_CONTROL_CHARACTER.search(str(name)) for name in variants):
        faults.append(Fault("texts", f"the name of a variant {_NO_CONTROL_CHARACTERS}"))
    if not variants:
        faults.append(Fault("texts", "must hold a variant: the value of the column, and its texts"))
    elif isinstance(texts.get("default"), str) and texts["default"] and texts["default"] not in variants:
        text = "must be one of the variants; one such as `en: {}` leaves the message unchanged"
        faults.append(Fault("texts.default", text))
    for name, text in variants.items():
        if not isinstance(text, dict):
            faults.append(Fault(f"texts.{name}", "must be an object: the fields of the message that differ"))
        else:
            faults += [
                Fault(f"texts.{name}.{field}", "must be left out: the audience says who gets it")
                for field in ("targets", "targetMsgkey")
                if field in text
            ]
    return faults


_ALLOWED = {
    "campaign": "must be 1 to 64 letters, digits, _ and -, the first one a letter or digit",
    "pace": f"must be a whole number from 1 to {MAX_PACE}, in targets a second, or null for no limit",
    "report": "must be failed or all",
    "audience.bucket": "must be the name of a bucket: 3 to 63 lower-case letters, digits and -",
    "audience.key": "must be the name of an object, 1 to 1,023 characters",
    "audience.target": "must be the name of a column, 1 to 200 characters",
    "audience.format": "must be csv, jsonl or ids",
    "audience.delimiter": "must be one of , ; | or a tab",
    "window.from": "must be a time of day as HH:mm, such as 08:00",
    "window.to": "must be a time of day as HH:mm, such as 21:00",
}
"""What a field may hold, by path."""
