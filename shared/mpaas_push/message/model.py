"""A push message: untrusted data or keyword arguments enter, a frozen and valid `PushMessage` leaves.

`PushMessage.parse` is the way in for data from outside: it reports every fault of a message at once, in the
names of the official page "Simple push". Rules that join fields stand in `mpaas_push.message.constraints`,
advice about vendor channels in `mpaas_push.message.advice`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from mpaas_push.errors import Fault, InvalidMessage, mask_id
from mpaas_push.json_text import UnreadableJson, format_path, plain_json, read_json
from mpaas_push.message.constraints import (
    CONSTRAINTS,
    MAX_EXPIRED_SECONDS,
    MAX_EXTENDED_PARAMS,
    RESERVED_EXTENDED_PARAMS,
    Clock,
    Constraint,
    Level,
    broken,
    system_clock,
)

if TYPE_CHECKING:
    from typing_extensions import Self

    from mpaas_push.message.advice import Advice

__all__ = [
    "PARAMETERS",
    "PARAMETERS_2019",
    "Clock",
    "Level",
    "PushMessage",
    "StrategyContent",
    "system_clock",
]


class _JsonObject:
    """Marks a map that may also be given as JSON text, as the page writes it ("JSON in a string").

    Args:
        free: The values are any JSON; otherwise the marked type says what they are.
    """

    def __init__(self, *, free: bool = False) -> None:
        self.free = free

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        read = _read_free if self.free else _read_typed
        return core_schema.with_info_before_validator_function(read, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        inner = handler(schema)
        text = {"type": "string", "contentMediaType": "application/json", "contentSchema": inner}
        return {"anyOf": [inner, text]}


class _WholeNumber:
    """Marks an enumeration of numbers. By itself pydantic takes True and 1.0 for 1."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        enumeration = handler(source)
        return core_schema.chain_schema([core_schema.int_schema(strict=True), enumeration])

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(cast("core_schema.ChainSchema", schema)["steps"][-1])


class _JsonList:
    """Marks a tuple that JSON brings as a list. By itself pydantic takes also sets, which have no order."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_as_tuple, handler(source))


def _as_tuple(value: Any) -> Any:
    return tuple(value) if type(value) is list else value


def _read_typed(value: Any, info: ValidationInfo) -> Any:
    if type(value) is str:
        return _read(value, info)
    if type(value) is dict:
        try:
            # pydantic passes on keys and values with half a surrogate pair, which no request can hold.
            "".join([*value, *value.values()]).encode()
        except UnicodeEncodeError:
            raise _unreadable("half a surrogate pair, which is no character, stands in it") from None
        except TypeError:
            pass  # not texts: pydantic says it better
    return value


def _read_free(value: Any, info: ValidationInfo) -> Any:
    if type(value) is str:
        return _read(value, info)
    try:
        return plain_json(value)
    except UnreadableJson as error:
        raise _unreadable(str(error)) from None


def _read(text: str, info: ValidationInfo) -> Any:
    try:
        return read_json(text, within=_ALIASES.get(info.field_name or "", ""))
    except UnreadableJson as error:
        raise _unreadable(str(error)) from None


def _unreadable(reason: str) -> PydanticCustomError:
    return PydanticCustomError("json_text", cast("Any", reason))


# What the enumerated fields may hold, for descriptions, the schema and errors alike.
_MEANINGS: Final[dict[str, str]] = {
    "deliveryType": "1 (Android device), 2 (iOS device), 3 (user), 5 (Live Activity push token), "
    "6 (Live Activity activityId), 7 (HarmonyOS device)",
    "pushStyle": "0 (default), 1 (big text), 2 (big picture and text)",
    "pushAction": "0 (open a web address), 1 (open a native page)",
    "silent": "1 (silent), 0 (not silent)",
    "notifyType": '"transparent" (MPS own channel), "notify" (vendor channel if there is one)',
    "classification": '"0" (operational), "1" (system)',
    "strategyType": "0 (immediate), 1 (timed), 2 (loop)",
    "activityEvent": '"update", "end"',
    "transparentMessageUrgency": '"HIGH", "NORMAL"',
}

_LONG = 2**63 - 1
_INT = 2**31 - 1
_TIME = "^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$"

_Text = Annotated[str, Field(min_length=1)]
_Flag = Annotated[Literal[0, 1], _WholeNumber()]
_Milliseconds = Annotated[int, Field(ge=0, le=_LONG)]


def _plain_schema(schema: dict[str, Any]) -> None:
    """Take out of a JSON schema what only repeats: titles made from names, null as default."""
    for definition in schema["properties"].values():
        definition.pop("title", None)
        if definition.get("default", ...) is None:
            del definition["default"]


class StrategyContent(BaseModel):
    """When a timed or loop push goes out: parameter ``strategyContent`` of the page
    (pushsimple.md: Strategy content).

    Fields that the strategy type does not use are tolerated, as in the official sample, and not sent: see
    `used`. Which ones a type needs is a rule of the whole message.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
        json_schema_extra=_plain_schema,
    )

    fixed_time: _Milliseconds | None = Field(
        None,
        description="strategyType 1: when to push. Unix time in milliseconds, precise to the second.",
        examples=[1_893_456_000_000],
    )
    start_time: _Milliseconds | None = Field(
        None,
        description="strategyType 2: first day of the loop, from 00:00. Unix time in milliseconds, precise "
        "to the day in China time (+08:00); not before today 00:00.",
        examples=[1_893_427_200_000],
    )
    end_time: _Milliseconds | None = Field(
        None,
        description="strategyType 2: last day of the loop, until 24:00. Unix time in milliseconds, precise "
        "to the day in China time (+08:00); not before startTime, at most 180 days after today.",
        examples=[1_896_019_200_000],
    )
    circle_type: Annotated[int, Field(ge=0, le=_INT)] | None = Field(
        None,
        description="strategyType 2: kind of loop. Believed to be 1 daily, 2 weekly, 3 monthly (no page "
        "lists them).",
        examples=[3],
    )
    circle_value: Annotated[tuple[int, ...], _JsonList()] | None = Field(
        None,
        description="strategyType 2: on which days. Believed to be weekdays 1 to 7 for weekly, days 1 to 31 "
        "for monthly, an empty list for daily (no page lists them).",
        examples=[[1, 3]],
    )
    time: Annotated[str, Field(pattern=_TIME)] | None = Field(
        None,
        description="strategyType 2: time of day in China time (+08:00), HH:mm:ss.",
        examples=["09:45:11"],
    )

    def used(self, strategy_type: int | None) -> dict[str, Any]:
        """Return the fields that a strategy type uses, ready to be written as JSON.

        Args:
            strategy_type: 1 timed, 2 loop; 0 or None (immediate) uses none.

        Returns:
            The page's names and plain values (integers, texts, a list), in the order of the page.
        """
        if strategy_type == 1:
            return {"fixedTime": self.fixed_time}
        if strategy_type == 2:  # the page's number for loop
            return {
                "startTime": self.start_time,
                "endTime": self.end_time,
                "circleType": self.circle_type,
                "circleValue": list(self.circle_value or ()),
                "time": self.time,
            }
        return {}


def _complete_schema(schema: dict[str, Any]) -> None:
    """Add to the JSON schema what field types cannot say: rules between fields, and the second spelling."""
    _plain_schema(schema)
    schema["description"] = (
        "One push through mPaaS PushSimple. An optional field that is null is the same as absent. JSON "
        "fields are objects, or their JSON text."
    )
    properties = schema["properties"]
    for name, definition in properties.items():
        if name in _MEANINGS:
            definition["description"] += f" One of {_MEANINGS[name]}."
    properties["StrategyContent"] = {
        **properties["strategyContent"],
        "deprecated": True,
        "description": "Second spelling of strategyContent, as some official samples have it.",
    }
    schema["oneOf"] = [_given("targets"), _given("targetMsgkey")]
    schema["not"] = {"allOf": [_given("strategyContent"), _given("StrategyContent")]}
    schema["allOf"] = [
        _strategy_rule(1, ["fixedTime"]),
        _strategy_rule(2, ["startTime", "endTime", "circleType", "circleValue", "time"]),
        {
            "if": {"required": ["smsStrategy"], "properties": {"smsStrategy": {"not": {"enum": [0, None]}}}},
            "then": {
                "allOf": [_given(name) for name in ("smsSignName", "smsTemplateCode", "smsTemplateParam")]
            },
        },
        {"if": _given("transparentMessageUrgency"), "then": _given("transparentMessagePayload")},
    ]


def _limit_extended_params(schema: dict[str, Any]) -> None:
    for inner in _of_type(schema, "object"):
        inner["maxProperties"] = MAX_EXTENDED_PARAMS
        inner["propertyNames"] = {"not": {"enum": sorted(RESERVED_EXTENDED_PARAMS)}}


def _at_least_one_in_map(schema: dict[str, Any]) -> None:
    for inner in _of_type(schema, "object"):
        inner["minProperties"] = 1


def _at_least_one_in_list(schema: dict[str, Any]) -> None:
    for inner in _of_type(schema, "array"):
        inner |= {"minItems": 1, "uniqueItems": True}


def _of_type(schema: dict[str, Any], wanted: str) -> Iterator[dict[str, Any]]:
    """Yield the schemas of a field that are of a type: as it stands, and within JSON text."""
    for option in schema["anyOf"]:
        for inner in (option, option.get("contentSchema", {})):
            if inner.get("type") == wanted:
                yield inner


def _given(name: str) -> dict[str, Any]:
    """Return a schema that wants a field to be there; null is the same as absent."""
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}


def _strategy_rule(strategy_type: int, fields: list[str]) -> dict[str, Any]:
    given = {name: {"not": {"type": "null"}} for name in fields}
    needs = {"type": ["object", "string"], "required": fields, "properties": given}
    return {
        "if": {"required": ["strategyType"], "properties": {"strategyType": {"const": strategy_type}}},
        "then": {
            "anyOf": [
                {"required": [name], "properties": {name: needs}}
                for name in ("strategyContent", "StrategyContent")
            ]
        },
    }


class PushMessage(BaseModel):
    """One push: every parameter of PushSimple 2020-10-28, named as on the page "Simple push" in snake_case.

    The page's camelCase names are aliases; in data from outside only they are taken. An optional parameter
    that is None is not sent. JSON parameters (``target_msgkey``, ``extended_params``, ``strategy_content``,
    ``image_urls``, ``icon_urls``, ``sms_template_param``, ``third_channel_category``, ``notify_level``,
    ``activity_content_state``, ``transparent_message_payload``) also take their JSON text.

    Exactly one of ``target_msgkey`` (target id to message id) and ``targets`` (ids alone) says whom to push
    to; any number of targets is fine here, requests of at most ten are cut later. ``app_id``,
    ``workspace_id`` and ``tenant_id`` may be left to the settings.

    In code, keyword arguments are enough and are judged by the same rules::

        PushMessage(task_name="news", title="Hello", content="World", delivery_type=3,
                    expired_seconds=600, targets=("user-1",))

    Raises:
        pydantic.ValidationError: When constructed with wrong arguments. Like `InvalidMessage`, which `parse`
            raises, it names all faults and shows no value that may be private.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        json_schema_extra=_complete_schema,
    )

    task_name: _Text = Field(
        description="Name of the push task; required (result code 3019).", examples=["order-shipped"]
    )
    title: _Text = Field(
        description="Title of the notification; required (result code 3024). Vendor channels show 20 Chinese "
        "or 32 Latin characters and more, depending on the channel.",
        examples=["Your order is on its way"],
    )
    content: _Text = Field(
        description="Text of the notification; required (result code 3024). Vendor channels show 50 Chinese "
        "or 100 Latin characters and more, depending on the channel.",
        examples=["It will arrive tomorrow."],
    )
    app_id: _Text | None = Field(
        None,
        description="mPaaS app id. Default: the setting MPAAS_APP_ID.",
        examples=["ONEX570DA89211721"],
    )
    workspace_id: _Text | None = Field(
        None, description="mPaaS workspace. Default: the setting MPAAS_WORKSPACE_ID.", examples=["default"]
    )
    tenant_id: _Text | None = Field(
        None,
        description="Tenant id; optional. Default: the setting MPAAS_TENANT_ID.",
        examples=["LZFPEFIM"],
    )
    delivery_type: Annotated[Literal[1, 2, 3, 5, 6, 7], _WholeNumber()] = Field(
        description="What kind of ids the targets are; required.", examples=[3]
    )
    target_msgkey: Annotated[dict[_Text, _Text], _JsonObject()] | None = Field(
        None,
        description="Whom to push to: target id to business message id. The id of the target is of the kind "
        "that deliveryType says; message ids are yours and must be distinct. More than 10 targets become "
        "several requests.",
        examples=[{"user-1": "order-4711-1", "user-2": "order-4711-2"}],
        json_schema_extra=_at_least_one_in_map,
    )
    targets: Annotated[tuple[_Text, ...], _JsonList()] | None = Field(
        None,
        description="Whom to push to, in place of targetMsgkey: target ids alone, all distinct. Message ids "
        "are derived from the event, so that a repetition has the same ones.",
        examples=[["user-1", "user-2"]],
        json_schema_extra=_at_least_one_in_list,
    )
    expired_seconds: Annotated[int, Field(ge=1, le=_LONG)] = Field(
        description=f"How long the message is kept for a device that is offline, in seconds; required. At "
        f"most {MAX_EXPIRED_SECONDS} (7 days), by an old official source.",
        examples=[600],
    )
    push_style: Annotated[Literal[0, 1, 2], _WholeNumber()] = Field(
        0, description="How the notification looks.", examples=[0]
    )
    push_action: _Flag | None = Field(None, description="What a click opens; 0 if absent.", examples=[0])
    uri: _Text | None = Field(
        None,
        description="Address that a click opens: a web address or the app's own scheme.",
        examples=["https://www.example.com/orders/4711", "mpaas://orders/4711"],
    )
    silent: _Flag | None = Field(
        None,
        description="Push without sound. On the MPS own channel the app must act on it.",
        examples=[0],
    )
    notify_type: Literal["transparent", "notify"] | None = Field(
        None, description="Which channel Android messages take.", examples=["notify"]
    )
    classification: Literal["0", "1"] | None = Field(
        None, description='Message type on vivo, as text; "1" if absent.', examples=["1"]
    )
    extended_params: Annotated[dict[str, Any], _JsonObject(free=True)] | None = Field(
        None,
        description=f"Texts for the app, by key; at most {MAX_EXTENDED_PARAMS} entries. Reserved keys: "
        f"{', '.join(sorted(RESERVED_EXTENDED_PARAMS))}.",
        examples=[{"orderId": "4711", "badge": "1"}],
        json_schema_extra=_limit_extended_params,
    )
    image_urls: Annotated[dict[str, str], _JsonObject()] | None = Field(
        None,
        description="Big pictures for pushStyle 2: addresses by vendor, with defaultUrl for all others. "
        "876x324 px, at most 1 MB.",
        examples=[{"defaultUrl": "https://www.example.com/big.png"}],
    )
    icon_urls: Annotated[dict[str, str], _JsonObject()] | None = Field(
        None,
        description="Icons: addresses by vendor, with defaultUrl for all others. 140x140 px, at most 50 KB.",
        examples=[{"defaultUrl": "https://www.example.com/icon.png"}],
    )
    strategy_type: Annotated[Literal[0, 1, 2], _WholeNumber()] | None = Field(
        None, description="When to push; 0 if absent. 1 and 2 need strategyContent.", examples=[1]
    )
    strategy_content: Annotated[StrategyContent, _JsonObject()] | None = Field(
        None,
        description="When exactly: fixedTime for strategyType 1; startTime, endTime, circleType, circleValue "
        "and time for strategyType 2.",
        examples=[{"fixedTime": 1_893_456_000_000}],
    )
    sms_strategy: Annotated[int, Field(ge=0, le=_INT)] | None = Field(
        None,
        description="SMS beside the push: 0 none, 1 believed to be supplement, 2 believed to be concurrent. "
        "Other than 0 needs smsSignName, smsTemplateCode and smsTemplateParam; SMS cost operator fees.",
        examples=[0],
    )
    sms_sign_name: _Text | None = Field(None, description="Approved SMS signature.", examples=["mPaaS test"])
    sms_template_code: _Text | None = Field(
        None, description="Approved SMS template.", examples=["SMS_216070269"]
    )
    sms_template_param: Annotated[dict[str, Any], _JsonObject(free=True)] | None = Field(
        None, description="Values for the SMS template, by key.", examples=[{"code": 123456}]
    )
    third_channel_category: Annotated[dict[str, str], _JsonObject()] | None = Field(
        None,
        description='Message class by vendor, both texts: hms "1" to "14", harmonyos "1" to "13", vivo "1" '
        "IM; see the page Vendor message classification.",
        examples=[{"hms": "9", "vivo": "1"}],
    )
    notify_level: Annotated[dict[str, str], _JsonObject()] | None = Field(
        None,
        description='Notification level by vendor, both texts: oppo "1" bar, "2" bar and lock screen, "16" '
        'all; hms "1" LOW, "2" NORMAL.',
        examples=[{"oppo": "2", "hms": "2"}],
    )
    mi_channel_id: _Text | None = Field(None, description="Xiaomi channel id, as text.", examples=["123321"])
    channel_id: _Text | None = Field(
        None, description="Android notification channel id, for all Android channels.", examples=["orders"]
    )
    activity_event: Literal["update", "end"] | None = Field(
        None, description="Live Activity (deliveryType 5 or 6): what happens to it.", examples=["update"]
    )
    activity_content_state: Annotated[dict[str, Any], _JsonObject(free=True)] | None = Field(
        None,
        description="Live Activity (deliveryType 5 or 6): new state; its keys are defined in the iOS app.",
        examples=[{"stops": 3}],
    )
    dismissal_date: Annotated[int, Field(ge=0, le=_LONG)] | None = Field(
        None,
        description="Live Activity with activityEvent end: when it disappears. Unix time in seconds, not "
        "milliseconds.",
        examples=[1_893_456_000],
    )
    transparent_message_payload: Annotated[dict[str, dict[str, Any]], _JsonObject(free=True)] | None = Field(
        None,
        description="Transparent (data) message: JSON object by vendor; vendors are hms, honor, fcm, "
        "harmonyos.",
        examples=[{"hms": {"sync": "orders"}}],
    )
    transparent_message_urgency: Literal["HIGH", "NORMAL"] | None = Field(
        None,
        description="Urgency of transparentMessagePayload, which it needs; for Huawei, Honor and HarmonyOS.",
        examples=["NORMAL"],
    )
    vendor_template: _Text | None = Field(
        None,
        description="Vendor's private message template, passed on as it is; its format is not published.",
        examples=["P10001"],
    )

    @classmethod
    def parse(
        cls,
        data: Any,
        *,
        defaults: Mapping[str, str] | None = None,
        clock: Clock = system_clock,
        levels: Mapping[str, Level] | None = None,
    ) -> "Self":
        """Return the message that untrusted data describe.

        Args:
            data: A mapping with the page's camelCase names, as read from JSON by `json_text.read_json` (which
                also sees keys given twice). ``StrategyContent`` is taken for ``strategyContent``. None is the
                same as absent.
            defaults: Values of ``appId``, ``workspaceId`` and ``tenantId`` for data that lack them. When
                given, a message without app or workspace is a fault; when None, they may stay absent.
            clock: Tells the present time for the rules about time.
            levels: Levels of rules that are not documented (see `constraints.parse_levels`); the others keep
                theirs.

        Raises:
            InvalidMessage: With every fault of the message at once, in the order of the fields; of more than
                100 the first ones.
        """
        if not isinstance(data, Mapping):
            raise InvalidMessage([Fault("", f"a message is a JSON object; this is {_kind(data)}")])
        missing: tuple[str, ...] = ()
        if defaults is not None:
            data, missing = _with_defaults(data, defaults)
        elif type(data) is not dict:
            data = dict(data)
        rules = _rules(levels) if levels else _ERRORS
        try:
            context = _Context(clock, rules, _PAGE_NAMES)
            message = cls.model_validate(data, context=context, by_alias=True, by_name=False)
        except ValidationError as error:
            faults = [
                Fault(".".join(map(str, line["loc"])), line["msg"], line.get("ctx", {}).get("value"))
                for line in error.errors(include_url=False, include_input=False)
            ]
        else:
            if not missing:
                return message
            faults = []
        faults += [
            Fault(
                name, f"is required: set it in the message or in the environment variable {_SETTINGS[name]}"
            )
            for name in missing
        ]
        raise InvalidMessage(_sorted(faults))

    def advice(
        self, *, clock: Clock = system_clock, levels: Mapping[str, Level] | None = None
    ) -> "tuple[Advice, ...]":
        """Return every warning about this message; none of them keeps it from being sent.

        Args:
            clock: Tells the present time for the rules about time.
            levels: Levels of rules that are not documented; those that are off are silent.

        Returns:
            Warnings of rules that are not documented, in the order of `constraints.CONSTRAINTS`, then those
            of the channels that the message can reach.
        """
        from mpaas_push.message.advice import Advice, channel_advice  # no push needs it

        levels = levels or {}
        rules = (
            rule
            for rule in CONSTRAINTS
            if not rule.certain and levels.get(rule.name, rule.level) is not Level.OFF
        )
        warnings = [
            Advice(rule.name, fault.field, fault.message) for rule, fault in broken(self, rules, clock())
        ]
        warnings += channel_advice(self)
        return tuple(warnings)

    @model_validator(mode="wrap")
    @classmethod
    def _judge(
        cls, data: Any, handler: ModelWrapValidatorHandler["PushMessage"], info: ValidationInfo
    ) -> "PushMessage":
        """Apply the rules that join fields, and word every error so that it can be shown and logged."""
        context = info.context if type(info.context) is _Context else _DEFAULT_CONTEXT
        if type(data) is dict and (_OTHER_SPELLING in data or None in data.values()):
            data = _normalised(data, context.known)
        try:
            message = handler(data)
        except ValidationError as error:
            faults = _faults(error)
            if type(data) is dict and context.rules and len(faults) <= _MOST_FAULTS:
                faults += _faults_beside(cls, data, {fault.field for fault in faults}, context)
            raise _rejection(cls, faults) from None
        rules = context.rules
        if rules:
            now = context.clock()
            found = [fault for rule in rules for fault in rule.check(message, now)]
            if found:
                raise _rejection(cls, found)
        return message

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            if value is not None:
                yield name, _shown(name, value)


PARAMETERS: Final[tuple[str, ...]] = tuple(
    to_camel(name) for name in PushMessage.model_fields if name != "targets"
)
"""The 34 parameters of PushSimple 2020-10-28 by the page's names (pushsimple.md: Parameters); ``targets`` is
only shorthand."""

PARAMETERS_2019: Final[frozenset[str]] = frozenset(
    {
        "taskName",
        "title",
        "content",
        "pushAction",
        "deliveryType",
        "notifyType",
        "targetMsgkey",
        "extendedParams",
        "silent",
        "uri",
        "expiredSeconds",
        "appId",
        "workspaceId",
    }
)
"""The 13 of them that version 2019-08-21 knows (pushsimple.md: History of parameters)."""


class _Context:
    """What a validation needs beside the data."""

    __slots__ = ("clock", "known", "rules")

    def __init__(self, clock: Clock, rules: tuple[Constraint, ...], known: frozenset[str]) -> None:
        self.clock = clock
        self.rules = rules
        self.known = known


def _rules(levels: Mapping[str, Level]) -> tuple[Constraint, ...]:
    return tuple(
        rule for rule in CONSTRAINTS if rule.certain or levels.get(rule.name, rule.level) is Level.ERROR
    )


_ERRORS = _rules({})
_OTHER_SPELLING = "StrategyContent"
_SETTINGS = {
    "appId": "MPAAS_APP_ID",
    "workspaceId": "MPAAS_WORKSPACE_ID",
    "tenantId": "MPAAS_TENANT_ID",
}
_ALIASES = {name: to_camel(name) for name in PushMessage.model_fields}
_ORDER = {alias: position for position, alias in enumerate(_ALIASES.values())}
_PAGE_NAMES = frozenset(_ORDER) | {_OTHER_SPELLING}
_DEFAULT_CONTEXT = _Context(system_clock, _ERRORS, _PAGE_NAMES | _ALIASES.keys())
_STRATEGY_ORDER = {to_camel(name): position for position, name in enumerate(StrategyContent.model_fields)}
# A body of a megabyte can hold a hundred thousand wrong targets; nobody reads so many faults.
_MOST_FAULTS = 100
# Stands in for required fields that are missing or faulty, so that rules about the others can run.
_MINIMAL = {"taskName": "-", "title": "-", "content": "-", "deliveryType": 1, "expiredSeconds": 1}


def _with_defaults(
    data: Mapping[str, Any], defaults: Mapping[str, str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the data with defaults filled in, and the names that have no value at all."""
    data = dict(data)
    missing = []
    for name in _SETTINGS:
        if data.get(name) is None:
            if defaults.get(name):
                data[name] = defaults[name]
            elif name != "tenantId":
                missing.append(name)
    return data, tuple(missing)


def _normalised(data: dict[Any, Any], known: frozenset[str]) -> dict[Any, Any]:
    """Return the data without known fields that are None, and with one spelling of ``strategyContent``."""
    data = {key: value for key, value in data.items() if value is not None or key not in known}
    if _OTHER_SPELLING in data and not {"strategyContent", "strategy_content"} & data.keys():
        data["strategyContent"] = data.pop(_OTHER_SPELLING)
    return data


# --- Errors --------------------------------------------------------------------------------------------


def _rejection(cls: type[PushMessage], faults: list[Fault]) -> ValidationError:
    """Return pydantic's error with our words, and without the values that were given."""
    lines = [
        InitErrorDetails(
            type=PydanticCustomError(
                "invalid_message",
                cast("Any", fault.message.replace("{value}", "value")),
                None if fault.value is None else {"value": fault.value},
            ),
            loc=tuple(fault.field.split(".")) if fault.field else (),
            input=None,
        )
        for fault in _first(_sorted(faults))
    ]
    return ValidationError.from_exception_data(cls.__name__, lines, hide_input=True)


def _sorted(faults: list[Fault]) -> list[Fault]:
    return sorted(faults, key=_position)


def _first(faults: list[Fault]) -> list[Fault]:
    if len(faults) <= _MOST_FAULTS:
        return faults
    return [*faults[:_MOST_FAULTS], Fault("", f"more than {_MOST_FAULTS} faults; correct these first")]


def _position(fault: Fault) -> tuple[int, int]:
    first, _, rest = fault.field.partition(".")
    within = 0
    if first == "strategyContent" and rest:
        within = _STRATEGY_ORDER.get(rest.partition(".")[0], len(_STRATEGY_ORDER))
    return _ORDER.get(first, len(_ORDER)), within


def _faults_beside(
    cls: type[PushMessage], data: dict[Any, Any], faulty: set[str], context: _Context
) -> list[Fault]:
    """Return what the rules say about the fields that are not faulty themselves."""
    places = {_place(field) for field in faulty}
    stand_in = dict(_MINIMAL)
    for key, value in data.items():
        alias = _ALIASES.get(key, key) if isinstance(key, str) else ""
        if key in faulty or alias not in _ORDER or alias in places:
            continue
        if alias == "strategyContent" and any(place.startswith("strategyContent.") for place in places):
            stand_in[alias] = _without_faulty(value, places)
        else:
            stand_in[alias] = value
    try:
        message = cls.model_validate(stand_in, context=_Context(context.clock, (), context.known))
    except ValidationError:
        return []
    rules = [
        rule
        for rule in context.rules
        if not any(_covers(place, read) for place in places for read in rule.reads)
    ]
    return [
        fault
        for _, fault in broken(message, rules, context.clock())
        if not any(_covers(place, fault.field) for place in places)
    ]


def _place(field: str) -> str:
    """Return the part of a path that rules speak of: a parameter, or a field of ``strategyContent``."""
    return ".".join(field.split(".")[: 2 if field.startswith("strategyContent.") else 1])


def _covers(place: str, field: str) -> bool:
    return field == place or field.startswith(f"{place}.")


def _without_faulty(content: Any, places: set[str]) -> Any:
    if isinstance(content, str):
        content = read_json(content)
    return {
        key: value
        for key, value in content.items()
        if to_camel(key) in _STRATEGY_ORDER and f"strategyContent.{to_camel(key)}" not in places
    }


def _faults(error: ValidationError) -> list[Fault]:
    # One more than is shown, so that the end of the list is noticed.
    return [_fault(cast("Any", line)) for line in error.errors(include_url=False)[: _MOST_FAULTS + 1]]


def _fault(line: dict[str, Any]) -> Fault:
    """Put an error of pydantic into the page's names and plain words."""
    path = tuple(step for step in line["loc"] if step != "[key]")
    if path and path[0] in _ALIASES and line["type"] != "extra_forbidden":
        path = (_ALIASES[path[0]], *path[1:])
    if len(path) > 1 and path[0] == "strategyContent" and line["type"] != "extra_forbidden":
        path = (path[0], to_camel(path[1]), *path[2:])
    value = line["input"]
    return Fault(format_path(path), _words(line, path, value), _harmless(path, value))


def _words(line: dict[str, Any], path: tuple[Any, ...], value: Any) -> str:
    words = _WORDS.get(line["type"])
    return words(line.get("ctx", {}), path, value) if words else str(line["msg"])


def _quotes(field: str, value: Any) -> str:
    if type(value) is int and '"' in _MEANINGS[field]:
        return f', as text: write "{value}"' if abs(value) <= _INT else ", as text"
    return ""


def _as_text(field: str, value: Any) -> str:
    # Only where the value is a short enumerated number; elsewhere it may be a target id.
    if field in ("thirdChannelCategory", "notifyLevel") and type(value) is int and abs(value) <= _INT:
        return f': write "{value}"'
    return ""


def _harmless(path: tuple[Any, ...], value: Any) -> str | int | float | bool | None:
    """Return a value that an error may show: a number where one is expected, a word of an enumeration."""
    if not path or path[0] not in _NUMBERS | _MEANINGS.keys():
        return None
    if type(value) is bool or (type(value) in (int, float) and abs(value) <= _LONG):
        return cast("int", value)
    if type(value) is str and path[0] in _MEANINGS and len(value) <= _LONGEST_WORD and value.isalnum():
        return value
    return None


_NUMBERS = {"expiredSeconds", "smsStrategy", "dismissalDate", "strategyContent"}
_LONGEST_WORD = 16


def _unknown(path: tuple[Any, ...]) -> str:
    """Name the known field that is nearest to an unknown one."""
    from difflib import get_close_matches  # only a wrong message needs it

    name = str(path[-1]) if path else ""
    known = tuple(_STRATEGY_ORDER) if len(path) > 1 else tuple(_ORDER)
    if name == _OTHER_SPELLING:
        return "is given in both spellings; keep `strategyContent`"
    # Wire names (TaskName) and Python names (task_name) differ from the page's only in this.
    by_folded = {field.lower(): field for field in known}
    near = get_close_matches(name.replace("_", "").lower()[:64], by_folded, n=1)
    if near:
        return f"unknown field `{format_path((name,))}`; did you mean `{by_folded[near[0]]}`?"
    shown = format_path((name,))
    return f"unknown field `{shown}`; remove it, or put it into `extendedParams` if it is for the app"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text"}
    if type(value) in kinds:
        return "a number with a fraction" if type(value) is float else kinds[type(value)]
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, (list, tuple)) else type(value).__name__


# --- What a repr may show ------------------------------------------------------------------------------


def _shown(name: str | None, value: Any) -> Any:
    """Return a value so shortened that no target id and nothing meant for a person can be read from it."""
    if name in ("title", "content", "uri", "vendor_template", "sms_sign_name"):
        return mask_id(value)
    if name == "targets":
        return tuple(map(mask_id, value))
    if name == "target_msgkey":
        return [f"{mask_id(target)}: {mask_id(message_id)}" for target, message_id in value.items()]
    if name in (
        "sms_template_param",
        "extended_params",
        "activity_content_state",
        "transparent_message_payload",
    ):
        return f"{{{', '.join(value)}}}"
    return value


def _words_for_object(_: dict[str, Any], path: tuple[Any, ...], value: Any) -> str:
    text = ", or the JSON text of one" if len(path) == 1 else ""
    return f"must be an object{text}, not {_kind(value)}"


def _words_for_number(_: dict[str, Any], path: tuple[Any, ...], value: Any) -> str:
    if path[0] in _MEANINGS:
        return f"must be one of {_MEANINGS[path[0]]}, as a number without quotes"
    return f"must be a whole number without quotes, not {_kind(value)}"


# By pydantic's error type; its own text (also that of `_JsonObject`) stands where none is listed.
_WORDS: dict[str, Callable[[dict[str, Any], tuple[Any, ...], Any], str]] = {
    "missing": lambda _, __, ___: "is required",
    "extra_forbidden": lambda _, path, __: _unknown(path),
    "invalid_key": lambda _, path, __: _unknown(path),
    "literal_error": lambda _, path, value: f"must be one of {_MEANINGS[path[0]]}{_quotes(path[0], value)}",
    "int_type": _words_for_number,
    "int_from_float": _words_for_number,
    "string_type": lambda _, path, value: f"must be text{_as_text(path[0], value)}, not {_kind(value)}",
    "string_unicode": lambda _, __, ___: "holds half a surrogate pair, which is no character",
    "string_too_short": lambda _, path, __: (
        "must not be empty" if path[0] in _MINIMAL or len(path) > 1 else "must not be empty; leave it out"
    ),
    "string_pattern_mismatch": lambda _, __, ___: "must be a time of day as HH:mm:ss, such as 09:45:11",
    "greater_than_equal": lambda ctx, _, __: f"must be at least {ctx['ge']}",
    "less_than_equal": lambda ctx, _, __: f"must be at most {ctx['le']}",
    "dict_type": _words_for_object,
    "model_type": _words_for_object,
    "model_attributes_type": _words_for_object,
    "tuple_type": lambda _, __, value: f"must be a list, not {_kind(value)}",
}
