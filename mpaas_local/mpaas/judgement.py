"""What the push service says about a push: parameters in, result code out.

The business parameters of one PushSimple request, the sandbox's `Behaviour` and the time go in; a `Verdict`
comes out, with the result code (pushsimple.md: Result codes), the field at fault and notes on what was let
through although it looks wrong. The checks run in the order of `_CHECKS` and the first that fails decides.
Where the reference is unsure a check notes, or has a switch.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from mpaas_local.mpaas.call import is_utf8
from mpaas_local.mpaas.result_codes import result_message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LEGACY_VERSION = "2019-08-21"

LEGACY_PARAMETERS = frozenset(
    {
        # pushsimple.md: History of parameters.
        "TaskName",
        "Title",
        "Content",
        "PushAction",
        "DeliveryType",
        "NotifyType",
        "TargetMsgkey",
        "ExtendedParams",
        "Silent",
        "Uri",
        "ExpiredSeconds",
        "AppId",
        "WorkspaceId",
    }
)
"""The 13 parameters that version 2019-08-21 knows."""

PARAMETERS = LEGACY_PARAMETERS | {
    # pushsimple.md: Core parameters.
    "TenantId",
    "PushStyle",
    # pushsimple.md: Appearance.
    "Classification",
    "ImageUrls",
    "IconUrls",
    "MiChannelId",
    "ChannelId",
    "ThirdChannelCategory",
    "NotifyLevel",
    "TransparentMessagePayload",
    "TransparentMessageUrgency",
    "VendorTemplate",
    # pushsimple.md: Strategies and SMS and Live Activity.
    "StrategyType",
    "StrategyContent",
    "SmsStrategy",
    "SmsSignName",
    "SmsTemplateCode",
    "SmsTemplateParam",
    "ActivityEvent",
    "ActivityContentState",
    "DismissalDate",
}
"""The 34 parameters of version 2020-10-28."""

FLATTENED = ("ActivityContentState", "TransparentMessagePayload")
"""Objects that the official SDK sends as `Name.key=value` fields (pushsimple.md: Version 2020-10-28)."""

ENUMERATIONS: tuple[tuple[str, frozenset[str]], ...] = (
    ("PushStyle", frozenset({"0", "1", "2"})),
    ("PushAction", frozenset({"0", "1"})),
    ("Silent", frozenset({"0", "1"})),
    ("NotifyType", frozenset({"transparent", "notify"})),
    ("Classification", frozenset({"0", "1"})),
    ("TransparentMessageUrgency", frozenset({"HIGH", "NORMAL"})),
    ("StrategyType", frozenset({"0", "1", "2"})),
    ("ActivityEvent", frozenset({"update", "end"})),
)
"""Optional parameters with a closed list of values; another value is 3028 (pushsimple.md: Core parameters,
Appearance, Strategies and SMS and Live Activity)."""

DELIVERY_TYPES = frozenset({"1", "2", "3", "5", "6", "7"})
"""pushsimple.md: Core parameters; 4 is listed nowhere."""

MAX_TARGETS = 10
"""Pairs in TargetMsgkey (pushsimple.md: Core parameters)."""

MAX_EXPIRED_SECONDS = 7 * 24 * 3600
"""Seven days (pushsimple.md: Core parameters), from the older server demo."""

MAX_EXTENDED_PARAMS = 20
"""pushsimple.md: Extended parameters."""

RESERVED_EXTENDED_PARAMS = frozenset(
    {"notifyType", "action", "silent", "pushType", "templateCode", "channel", "taskId"}
)
"""Keys that the service keeps for itself (pushsimple.md: Extended parameters)."""

VENDOR_CATEGORIES: Mapping[str, frozenset[str]] = {
    "hms": frozenset(str(number) for number in range(1, 15)),
    "harmonyos": frozenset(str(number) for number in range(1, 14)),
}
"""Message classes of the two vendors whose list is known (pushsimple.md: Vendor categories)."""

VENDORS = frozenset({"android", "ios", "miui", "hms", "fcm", "oppo", "vivo", "honor", "harmonyos"})
"""Vendor ids of this API family (pushsimple.md: Vendor categories)."""

TRANSPARENT_VENDORS = frozenset({"hms", "honor", "fcm", "harmonyos"})
"""Vendors that a transparent message may be addressed to (pushsimple.md: Appearance)."""

IMAGE_KEYS = frozenset(
    {
        "defaultUrl",
        "oppoUrl",
        "hmsUrl",
        "miuiUrl",
        "fcmUrl",
        "iosUrl",
        "honorUrl",
        "harmonyosUrl",
    }
)
"""Keys of ImageUrls and IconUrls seen in documents (pushsimple.md: Image keys); the list ends in "etc."."""

MAX_LOOP_DAYS = 180
"""How many days after today a loop may end (pushsimple.md: Strategy content)."""

_DAY_MS = 24 * 3600 * 1000
_CHINA_OFFSET_MS = 8 * 3600 * 1000
_LATEST_SECONDS = 10**11
_LONG = re.compile(r"[+-]?[0-9]{1,19}")
_MAX_INT = 2**31 - 1
_MAX_LONG = 2**63 - 1
_TIME_OF_DAY = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]")
_LOOP_TYPES = (1, 2, 3)


@dataclass(frozen=True)
class Behaviour:
    """Where the reference leaves the server's behaviour open, what the sandbox does.

    `success_code` is the ResultCode of an accepted push. `newer_parameters` says what 2019-08-21 does with
    one of the 21 parameters that it does not know. `repeated_ids` says whether a business message id that
    was accepted before is accepted again or refused with 3010. The sets of ids, when given, are the only
    ones that exist: another AppId is 3007, WorkspaceId 8012, TenantId 8013. `payload_bytes`, when given,
    limits Title, Content, Uri and ExtendedParams together in bytes of UTF-8 (3050); documents speak of 2048
    without saying what is counted. `longest_expiry` is the most ExpiredSeconds, another is 3026; only an old
    document names it, and None is no limit. `same_ids` says whether one business message id may stand for
    several targets of a request or is refused with 3010, `past_times` whether a fixedTime may lie in the past
    or is refused with 3028; what is accepted of these is noted. `live_activity_rules` makes DeliveryType 5
    and 6 require ActivityEvent and, but for `end`, ActivityContentState.
    """

    success_code: Literal["OK", "100"] = "OK"
    newer_parameters: Literal["ignore", "refuse"] = "ignore"
    repeated_ids: Literal["accept", "refuse"] = "accept"
    app_ids: frozenset[str] | None = None
    workspace_ids: frozenset[str] | None = None
    tenant_ids: frozenset[str] | None = None
    payload_bytes: int | None = None
    longest_expiry: int | None = MAX_EXPIRED_SECONDS
    same_ids: Literal["accept", "refuse"] = "refuse"
    past_times: Literal["accept", "refuse"] = "refuse"
    live_activity_rules: bool = False


@dataclass(frozen=True)
class Verdict:
    """The judgement of one push. `code` is None when nothing is wrong; `message` is the ResultMessage."""

    code: str | None
    message: str
    field: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Push:
    """What the checks look at: parameters as far as the version knows them, the time in ms, and the notes."""

    parameters: Mapping[str, str]
    behaviour: Behaviour
    now_ms: int
    notes: list[str]

    def text(self, name: str) -> str:
        return self.parameters.get(name, "")

    def given(self, name: str) -> bool:
        return bool(self.text(name))


class _Refused(Exception):
    def __init__(self, code: str, field: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.field = field
        self.detail = detail


def judge(parameters: Mapping[str, str], version: str, behaviour: Behaviour, now: float) -> Verdict:
    """Judge the business parameters of one request; `now` is in seconds since 1970."""
    notes: list[str] = []
    try:
        known = _known_parameters(parameters, version, behaviour, notes)
        push = _Push(known, behaviour, int(now * 1000), notes)
        for check in _CHECKS:
            check(push)
    except _Refused as refused:
        message = result_message(refused.code, f"{refused.field} {refused.detail}")
        return Verdict(refused.code, message, refused.field, tuple(notes))
    return Verdict(None, "SUCCESS", None, tuple(notes))


def read_targets(text: str) -> tuple[tuple[str, str], ...]:
    """The pairs of a TargetMsgkey, as far as they can be read, for the record and for matching faults."""
    try:
        pairs = _read_json(text)
    except ValueError:
        return ()
    if not isinstance(pairs, _Pairs):
        return ()
    return tuple(
        (target, message_id if isinstance(message_id, str) else json.dumps(message_id))
        for target, message_id in pairs.items
    )


def repeated_id_verdict(target: str, message_id: str, notes: tuple[str, ...]) -> Verdict:
    """The verdict on a push whose message id was accepted before, if repeats are refused."""
    detail = f"TargetMsgkey the message id {message_id!r} of {target!r} was used before"
    return Verdict("3010", result_message("3010", detail), "TargetMsgkey", notes)


def _known_parameters(
    parameters: Mapping[str, str], version: str, behaviour: Behaviour, notes: list[str]
) -> dict[str, str]:
    allowed = LEGACY_PARAMETERS if version == LEGACY_VERSION else PARAMETERS
    known: dict[str, str] = {}
    for name, value in parameters.items():
        stem = name.partition(".")[0]
        base = stem if stem in FLATTENED else name
        if base in allowed:
            known[name] = value
        elif base in PARAMETERS:
            if behaviour.newer_parameters == "refuse":
                _refuse("3028", base, f"is not a parameter of {version}; 2020-10-28 has it")
            notes.append(f"{base} is not a parameter of {version} and was ignored; 2020-10-28 has it")
        else:
            notes.append(f"{name} is not a parameter of PushSimple and was ignored")
    return known


def _check_encoding(push: _Push) -> None:
    for name, value in push.parameters.items():
        if not is_utf8(name) or not is_utf8(value):
            _refuse("3031", name, "is not UTF-8")


def _check_app(push: _Push) -> None:
    for name in ("AppId", "WorkspaceId"):
        if not push.text(name).strip():
            _refuse("3003", name, "is missing")
    behaviour = push.behaviour
    for name, code, allowed in (
        ("AppId", "3007", behaviour.app_ids),
        ("WorkspaceId", "8012", behaviour.workspace_ids),
        ("TenantId", "8013", behaviour.tenant_ids),
    ):
        if allowed is not None and push.given(name) and push.text(name) not in allowed:
            _refuse(code, name, f"is {push.text(name)!r}; this sandbox knows {', '.join(sorted(allowed))}")


def _check_texts(push: _Push) -> None:
    for name, code in (("TaskName", "3019"), ("Title", "3024"), ("Content", "3024")):
        if not push.text(name).strip():
            _refuse(code, name, "is empty")


def _check_delivery_type(push: _Push) -> None:
    if push.text("DeliveryType") not in DELIVERY_TYPES:
        allowed = ", ".join(sorted(DELIVERY_TYPES))
        _refuse("3009", "DeliveryType", f"is {push.text('DeliveryType')!r}; allowed are {allowed}")


def _check_targets(push: _Push) -> None:
    name = "TargetMsgkey"
    if not push.given(name):
        _refuse("3021", name, "is missing")
    pairs = _json_object(push, name, "3021")
    if not pairs.items:
        _refuse("3021", name, "holds no target")
    if len(pairs.items) > MAX_TARGETS:
        _refuse("3029", name, f"holds {len(pairs.items)} targets; at most {MAX_TARGETS} are allowed")
    repeated = pairs.repeated_key()
    if repeated is not None:
        _refuse("3028", name, f"names the target {repeated!r} twice")
    _check_message_ids(push, name, pairs)


def _check_message_ids(push: _Push, name: str, pairs: _Pairs) -> None:
    seen: set[str] = set()
    for target, message_id in pairs.items:
        if not target.strip():
            _refuse("3021", name, "holds an empty target")
        if not isinstance(message_id, str):
            _refuse("3010", name, f"gives {target!r} a message id that is not text")
        if not message_id.strip():
            _refuse("3021", name, f"gives {target!r} an empty message id")
        if message_id in seen:
            detail = f"uses the message id {message_id!r} for more than one target"
            if push.behaviour.same_ids == "refuse":
                _refuse("3010", name, detail)
            push.notes.append(f"{name} {detail}")
        seen.add(message_id)


def _check_expiry(push: _Push) -> None:
    seconds = _long(push.text("ExpiredSeconds"))
    if seconds is None or seconds < 1:
        _refuse(
            "3020", "ExpiredSeconds", f"is {push.text('ExpiredSeconds')!r}; it is a number of seconds from 1"
        )
    longest = push.behaviour.longest_expiry
    if longest is not None and seconds > longest:
        _refuse("3026", "ExpiredSeconds", f"is {seconds}; at most {longest} is allowed")


def _check_extended_params(push: _Push) -> None:
    name = "ExtendedParams"
    if not push.given(name):
        return
    pairs = _json_object(push, name, "3044")
    if len(pairs.items) > MAX_EXTENDED_PARAMS:
        _refuse("3035", name, f"holds {len(pairs.items)} entries; at most {MAX_EXTENDED_PARAMS} are allowed")
    repeated = pairs.repeated_key()
    if repeated is not None:
        _refuse("3044", name, f"names {repeated!r} twice")
    for key, _ in pairs.items:
        if key in RESERVED_EXTENDED_PARAMS:
            _refuse("3028", name, f"holds {key!r}, which the service keeps for itself")


def _check_enumerations(push: _Push) -> None:
    for name, allowed in ENUMERATIONS:
        if push.given(name) and push.text(name) not in allowed:
            _refuse("3028", name, f"is {push.text(name)!r}; allowed are {', '.join(sorted(allowed))}")


def _check_vendor_maps(push: _Push) -> None:
    for name in ("ImageUrls", "IconUrls"):
        for key in _text_map(push, name):
            if key not in IMAGE_KEYS:
                push.notes.append(f"{name} holds {key!r}, which no document names")
    for name in ("ThirdChannelCategory", "NotifyLevel"):
        for vendor, value in _text_map(push, name).items():
            if vendor not in VENDORS:
                push.notes.append(f"{name} names the vendor {vendor!r}, which no document names")
            known = VENDOR_CATEGORIES.get(vendor)
            if name == "ThirdChannelCategory" and known is not None and value not in known:
                # No page states that another class is refused.
                push.notes.append(f"{name}.{vendor} is {value!r}; documented are 1 to {len(known)}")


def _check_strategy(push: _Push) -> None:
    kind = push.text("StrategyType") or "0"
    name = "StrategyContent"
    content: dict[str, Any] = {}
    if push.given(name):
        pairs = _json_object(push, name, "3028")
        repeated = pairs.repeated_key()
        if repeated is not None:
            _refuse("3028", name, f"names {repeated!r} twice")
        content = {field: value for field, value in pairs.items if value is not None}
        _check_strategy_fields(content)
    elif kind != "0":
        _refuse("3028", name, f"is required with StrategyType {kind}")
    needed = _STRATEGY_FIELDS.get(kind, ())
    for field in needed:
        if field not in content:
            _refuse("3028", f"{name}.{field}", f"is required with StrategyType {kind}")
    if kind == "1":
        _check_fixed_time(content, push)
    elif kind == "2":
        _check_loop(content, push)


def _check_strategy_fields(content: Mapping[str, Any]) -> None:
    """Check the types of what is there, whether the type of the strategy uses it or not."""
    for field, (is_right, expected) in _STRATEGY_TYPES.items():
        if field in content and not is_right(content[field]):
            _refuse("3028", f"StrategyContent.{field}", f"is not {expected}")


def _check_fixed_time(content: Mapping[str, Any], push: _Push) -> None:
    if content["fixedTime"] // 1000 < push.now_ms // 1000:
        if push.behaviour.past_times == "refuse":
            _refuse("3028", "StrategyContent.fixedTime", "is in the past")
        push.notes.append("StrategyContent.fixedTime is in the past")


def _check_loop(content: Mapping[str, Any], push: _Push) -> None:
    start, end = content["startTime"], content["endTime"]
    today = _china_day(push.now_ms)
    if _china_day(start) < today:
        _refuse("3028", "StrategyContent.startTime", "is before today 00:00 (+08:00)")
    if end < start:
        _refuse("3028", "StrategyContent.endTime", "is before startTime")
    if _china_day(end) > today + MAX_LOOP_DAYS:
        _refuse("3028", "StrategyContent.endTime", f"is more than {MAX_LOOP_DAYS} days after today (+08:00)")
    if content["circleType"] not in _LOOP_TYPES:
        push.notes.append(f"StrategyContent.circleType {content['circleType']} is not one of 1, 2, 3")


def _check_sms(push: _Push) -> None:
    if push.given("SmsTemplateParam"):
        _json_object(push, "SmsTemplateParam", "3028")
    if not push.given("SmsStrategy"):
        return
    strategy = _long(push.text("SmsStrategy"))
    if strategy is None or not 0 <= strategy <= _MAX_INT:
        _refuse("3028", "SmsStrategy", f"is {push.text('SmsStrategy')!r}; it is a number from 0")
    if strategy == 0:
        return
    if strategy > 2:  # the two modes of the console (pushsimple.md: Strategies and SMS and Live Activity)
        push.notes.append(f"SmsStrategy {strategy} is not one of 0, 1, 2")
    for name in ("SmsSignName", "SmsTemplateCode", "SmsTemplateParam"):
        if not push.given(name):
            _refuse("3028", name, f"is required with SmsStrategy {strategy}")


def _check_live_activity(push: _Push) -> None:
    if push.given("ActivityContentState"):
        _json_object(push, "ActivityContentState", "3028")
    if push.given("DismissalDate"):
        seconds = _long(push.text("DismissalDate"))
        if seconds is None or seconds < 0:
            _refuse("3028", "DismissalDate", "is a Unix time in seconds")
        if seconds > _LATEST_SECONDS:
            push.notes.append("DismissalDate looks like milliseconds; it is a Unix time in seconds")
    if not push.behaviour.live_activity_rules or push.text("DeliveryType") not in {"5", "6"}:
        return
    if not push.given("ActivityEvent"):
        _refuse("3028", "ActivityEvent", f"is required with DeliveryType {push.text('DeliveryType')}")
    if push.text("ActivityEvent") != "end" and not _given_as_object(push, "ActivityContentState"):
        _refuse("3028", "ActivityContentState", "is required unless ActivityEvent is end")


def _check_transparent(push: _Push) -> None:
    name = "TransparentMessagePayload"
    if push.given(name):
        for vendor, body in _json_object(push, name, "3028").items:
            if vendor not in TRANSPARENT_VENDORS:
                push.notes.append(
                    f"{name} names {vendor!r}; known are {', '.join(sorted(TRANSPARENT_VENDORS))}"
                )
            if not isinstance(body, _Pairs):
                _refuse("3028", f"{name}.{vendor}", "is not a JSON object")
    if push.given("TransparentMessageUrgency") and not _given_as_object(push, name):
        _refuse("3028", "TransparentMessageUrgency", f"works only together with {name}")


def _check_payload_size(push: _Push) -> None:
    limit = push.behaviour.payload_bytes
    if limit is None:
        return
    size = sum(len(push.text(name).encode()) for name in ("Title", "Content", "Uri", "ExtendedParams"))
    if size > limit:
        _refuse(
            "3050", "Content", f"and the rest of the message are {size} bytes; at most {limit} are allowed"
        )


_CHECKS: tuple[Callable[[_Push], None], ...] = (
    _check_encoding,  # 3031 (pushsimple.md: Result codes)
    _check_app,  # 3003, 3007, 8012, 8013 (pushsimple.md: Core parameters, Result codes)
    _check_texts,  # 3019, 3024 (pushsimple.md: Core parameters)
    _check_delivery_type,  # 3009 (pushsimple.md: Core parameters)
    # 3010, 3021, 3028, 3029 (pushsimple.md: Core parameters, Rules between fields, The same message id twice)
    _check_targets,
    _check_expiry,  # 3020, 3026 (pushsimple.md: Core parameters)
    _check_extended_params,  # 3028, 3035, 3044 (pushsimple.md: Extended parameters)
    _check_enumerations,  # 3028 (pushsimple.md: Core parameters, Strategies and SMS and Live Activity)
    _check_vendor_maps,  # 3028 (pushsimple.md: Image keys, Vendor categories, Notify levels)
    _check_strategy,  # 3028 (pushsimple.md: Strategy content)
    _check_sms,  # 3028 (pushsimple.md: SMS)
    _check_live_activity,  # 3028 (pushsimple.md: Live Activity)
    _check_transparent,  # 3028 (pushsimple.md: Other rules)
    _check_payload_size,  # 3050 (pushsimple.md: Text lengths)
)


@dataclass(frozen=True)
class _Pairs:
    """A JSON object as written: a repeated key is still there twice."""

    items: tuple[tuple[str, Any], ...]

    def repeated_key(self) -> str | None:
        seen: set[str] = set()
        for key, _ in self.items:
            if key in seen:
                return key
            seen.add(key)
        return None


def _refuse(code: str, field: str, detail: str) -> NoReturn:
    raise _Refused(code, field, detail)


def _json_object(push: _Push, name: str, code: str) -> _Pairs:
    try:
        value = _read_json(push.text(name))
    except ValueError:
        _refuse(code, name, "is not JSON")
    if not isinstance(value, _Pairs):
        _refuse(code, name, "is not a JSON object")
    return value


def _text_map(push: _Push, name: str) -> dict[str, str]:
    if not push.given(name):
        return {}
    pairs = _json_object(push, name, "3028")
    repeated = pairs.repeated_key()
    if repeated is not None:
        _refuse("3028", name, f"names {repeated!r} twice")
    for key, value in pairs.items:
        if not isinstance(value, str):
            _refuse("3028", f"{name}.{key}", "is not a string")
    return dict(pairs.items)


def _given_as_object(push: _Push, name: str) -> bool:
    return push.given(name) or any(field.startswith(name + ".") for field in push.parameters)


def _china_day(milliseconds: int) -> int:
    """Number of the day in China Standard Time, +08:00 (pushsimple.md: Strategy content)."""
    return (milliseconds + _CHINA_OFFSET_MS) // _DAY_MS


def _is_int(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


_STRATEGY_FIELDS = {"1": ("fixedTime",), "2": ("startTime", "endTime", "circleType", "circleValue", "time")}
_MILLISECONDS = (lambda value: _is_int(value, _MAX_LONG), "a time in milliseconds")
_STRATEGY_TYPES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "fixedTime": _MILLISECONDS,
    "startTime": _MILLISECONDS,
    "endTime": _MILLISECONDS,
    "circleType": (lambda value: _is_int(value, _MAX_INT), "a whole number from 0"),
    "circleValue": (
        lambda value: isinstance(value, list) and all(type(day) is int for day in value),
        "a list of whole numbers",
    ),
    "time": (
        lambda value: isinstance(value, str) and _TIME_OF_DAY.fullmatch(value) is not None,
        "a time of day, HH:mm:ss",
    ),
}


def _long(text: str) -> int | None:
    return int(text) if _LONG.fullmatch(text) and abs(int(text)) <= _MAX_LONG else None


def _read_json(text: str) -> Any:
    try:
        return json.loads(
            text, object_pairs_hook=lambda pairs: _Pairs(tuple(pairs)), parse_constant=_no_constant
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
