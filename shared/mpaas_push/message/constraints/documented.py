"""Constraints that a page of mPaaS states: a message that breaks one is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpaas_push.errors import Fault, mask_id
from mpaas_push.message.constraints.clock import DAY, china_midnight, looks_like_seconds
from mpaas_push.message.constraints.constraint import Constraint, documented
from mpaas_push.message.vocabulary import MAX_EXTENDED_PARAMS, MAX_LOOP_DAYS, RESERVED_EXTENDED_PARAMS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mpaas_push.message.fields import MessageFields

__all__ = ["DOCUMENTED"]

_TIMED, _LOOP = 1, 2
_FIXED_FIELDS = (("fixedTime", "fixed_time"),)
_LOOP_FIELDS = (
    ("startTime", "start_time"),
    ("endTime", "end_time"),
    ("circleType", "circle_type"),
    ("circleValue", "circle_value"),
    ("time", "time"),
)
_STRATEGIES = {_TIMED: ("timed push", _FIXED_FIELDS), _LOOP: ("loop push", _LOOP_FIELDS)}
_SMS = ("smsSignName", "smsTemplateCode", "smsTemplateParam")


@documented(
    "one-kind-of-target",
    source="Simple push page: targetMsgkey is required; `targets` is this project's shorthand for "
    "it; pushsimple.md: Core parameters",
    reads=("targets", "targetMsgkey"),
    always=True,
)
def one_kind_of_target(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if message.targets is None:
        if message.target_msgkey is None:
            yield Fault(
                "targetMsgkey",
                "a target is required: give `targetMsgkey` (target id to message id) or `targets` "
                "(target ids; message ids are then derived)",
            )
    elif message.target_msgkey is not None:
        yield Fault("targets", "give either `targets` or `targetMsgkey`, not both")
    if message.targets is not None and not message.targets:
        yield Fault("targets", "must name at least one target")
    if message.target_msgkey is not None and not message.target_msgkey:
        yield Fault("targetMsgkey", "must name at least one target")


@documented(
    "targets-distinct",
    source="Simple push page: targetMsgkey is a map, a target stands in it once; "
    "pushsimple.md: Core parameters",
    reads=("targets",),
)
def distinct_targets(message: MessageFields, _: datetime) -> Iterator[Fault]:
    targets = message.targets
    if targets is not None and len(set(targets)) != len(targets):
        first: dict[str, int] = {}
        for index, target in enumerate(targets):
            if first.setdefault(target, index) != index:
                yield Fault(f"targets.{index}", f"is the same target as `targets.{first[target]}`; drop one")


@documented(
    "message-ids-distinct",
    source='Simple push page: the business message id "must be unique"; '
    "pushsimple.md: Core parameters, The same message id twice",
    reads=("targetMsgkey",),
)
def distinct_message_ids(message: MessageFields, _: datetime) -> Iterator[Fault]:
    pairs = message.target_msgkey
    if pairs is not None and len(set(pairs.values())) != len(pairs):
        first: dict[str, str] = {}
        for target, message_id in pairs.items():
            if first.setdefault(message_id, target) != target:
                yield Fault(
                    f"targetMsgkey.{mask_id(target)}",
                    "has the same message id as another target; message ids must be distinct, "
                    "for example <event id>-1, <event id>-2",
                )


@documented(
    "extended-params-max",
    source="Result code 3035; pushsimple.md: Extended parameters",
    reads=("extendedParams",),
)
def extended_params_count(message: MessageFields, _: datetime) -> Iterator[Fault]:
    params = message.extended_params
    if params is not None and len(params) > MAX_EXTENDED_PARAMS:
        yield Fault("extendedParams", f"has {len(params)} entries; at most {MAX_EXTENDED_PARAMS} are allowed")


@documented(
    "extended-params-reserved",
    source="Page Extension parameters; pushsimple.md: Extended parameters",
    reads=("extendedParams",),
)
def extended_params_reserved(message: MessageFields, _: datetime) -> Iterator[Fault]:
    params = message.extended_params
    if params is not None and not RESERVED_EXTENDED_PARAMS.isdisjoint(params):
        for key in params:
            if key in RESERVED_EXTENDED_PARAMS:
                yield Fault(f"extendedParams.{key}", "is reserved for the platform; choose another key")


@documented(
    "strategy-content-fields",
    source="Simple push page, StrategyContent; pushsimple.md: Strategy content",
    reads=("strategyType",),
    demands=("strategyContent", *(f"strategyContent.{name}" for name, _ in _FIXED_FIELDS + _LOOP_FIELDS)),
)
def strategy_content(message: MessageFields, _: datetime) -> Iterator[Fault]:
    strategy = _STRATEGIES.get(message.strategy_type or 0)
    if strategy is None:
        return
    kind, fields = strategy
    content = message.strategy_content
    if content is None:
        names = ", ".join(name for name, _ in fields)
        yield Fault(
            "strategyContent", f"is required with strategyType {message.strategy_type} ({kind}): {names}"
        )
        return
    for name, attribute in fields:
        if getattr(content, attribute) is None:
            yield Fault(
                f"strategyContent.{name}", f"is required with strategyType {message.strategy_type} ({kind})"
            )


@documented(
    "loop-start-today-or-later",
    source="Simple push page, StrategyContent.startTime; pushsimple.md: Strategy content",
    reads=("strategyType", "strategyContent.startTime"),
)
def loop_start(message: MessageFields, now: datetime) -> Iterator[Fault]:
    content = message.strategy_content
    if message.strategy_type == _LOOP and content is not None and content.start_time is not None:
        earliest = china_midnight(now)
        if content.start_time < earliest:
            yield Fault(
                "strategyContent.startTime",
                f"must not be before today 00:00 in China, {earliest} in milliseconds"
                f"{looks_like_seconds(content.start_time)}",
                content.start_time,
            )


@documented(
    "loop-end-within-180-days",
    source="Simple push page, StrategyContent.endTime; pushsimple.md: Strategy content",
    reads=("strategyType", "strategyContent.endTime"),
)
def loop_end(message: MessageFields, now: datetime) -> Iterator[Fault]:
    content = message.strategy_content
    if message.strategy_type == _LOOP and content is not None and content.end_time is not None:
        # "Precise to the day" and "not later than 180 days after the current day": that whole day is allowed.
        today = china_midnight(now)
        latest = today + (MAX_LOOP_DAYS + 1) * DAY - 1
        if content.end_time > latest:
            yield Fault(
                "strategyContent.endTime",
                f"must not be later than {MAX_LOOP_DAYS} days after today in China, {latest} in milliseconds",
                content.end_time,
            )
        elif content.end_time < today:
            yield Fault(
                "strategyContent.endTime",
                f"must not be before today 00:00 in China, {today} in milliseconds"
                f"{looks_like_seconds(content.end_time)}",
                content.end_time,
            )


@documented(
    "loop-end-after-start",
    source="Simple push page, StrategyContent.endTime; pushsimple.md: Strategy content",
    reads=("strategyType", "strategyContent.startTime", "strategyContent.endTime"),
)
def loop_order(message: MessageFields, _: datetime) -> Iterator[Fault]:
    content = message.strategy_content
    if (
        message.strategy_type == _LOOP
        and content is not None
        and content.start_time is not None
        and content.end_time is not None
        and content.end_time < content.start_time
    ):
        yield Fault(
            "strategyContent.endTime", "must not be before `strategyContent.startTime`", content.end_time
        )


@documented(
    "sms-parameters-together",
    source="Simple push page: required if smsStrategy is not 0; pushsimple.md: SMS",
    reads=("smsStrategy",),
    demands=_SMS,
)
def sms_parameters(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if message.sms_strategy:
        for name, value in (
            ("smsSignName", message.sms_sign_name),
            ("smsTemplateCode", message.sms_template_code),
            ("smsTemplateParam", message.sms_template_param),
        ):
            if value is None:
                yield Fault(name, f"is required with smsStrategy {message.sms_strategy}; 0 sends no SMS")


@documented(
    "urgency-needs-payload",
    source="Broadcast page: effective only together with transparentMessagePayload; "
    "pushsimple.md: Other rules",
    reads=("transparentMessageUrgency",),
    demands=("transparentMessagePayload",),
)
def urgency_payload(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if message.transparent_message_urgency is not None and message.transparent_message_payload is None:
        yield Fault(
            "transparentMessageUrgency", "has a meaning only together with `transparentMessagePayload`"
        )


DOCUMENTED: tuple[Constraint, ...] = (
    one_kind_of_target,
    distinct_targets,
    distinct_message_ids,
    extended_params_count,
    extended_params_reserved,
    strategy_content,
    loop_start,
    loop_end,
    loop_order,
    sms_parameters,
    urgency_payload,
)
