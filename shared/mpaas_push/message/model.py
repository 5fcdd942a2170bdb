"""A push message: a frozen and valid `PushMessage`, from untrusted data or keyword arguments.

`PushMessage.parse` reads data from outside and reports every fault of a message at once, with the names of
the official page "Simple push".
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, ModelWrapValidatorHandler, ValidationError, ValidationInfo, model_validator

from mpaas_push.errors import Fault, InvalidMessage, mask_id
from mpaas_push.message.constraints import (
    Clock,
    Constraint,
    Level,
    errors_at,
    system_clock,
    violations,
    warnings_at,
)
from mpaas_push.message.fields import ALIASES, MessageFields
from mpaas_push.message.json_fields import MAX_FAULTS
from mpaas_push.message.schema import complete_schema
from mpaas_push.message.vocabulary import OTHER_SPELLING, SETTINGS
from mpaas_push.paths import format_path

if TYPE_CHECKING:
    from typing_extensions import Self

    from mpaas_push.message.advice import Advice

__all__ = ["PushMessage", "unset_fault"]


_FREE_FORM = {
    "extended_params",
    "sms_template_param",
    "activity_content_state",
    "transparent_message_payload",
}
"""Fields whose JSON is free-form."""
_ADDRESSING = {"targets", "target_msgkey", "app_id", "workspace_id", "tenant_id"}


class PushMessage(MessageFields):
    """One push: every parameter of PushSimple 2020-10-28, named as on the page "Simple push" in snake_case.

    The page's camelCase names are aliases; data from outside must use them. An optional parameter that is
    None is not sent. JSON parameters (``target_msgkey``, ``extended_params``, ``strategy_content``,
    ``image_urls``, ``icon_urls``, ``sms_template_param``, ``third_channel_category``, ``notify_level``,
    ``activity_content_state``, ``transparent_message_payload``) also accept JSON text.

    Exactly one of ``target_msgkey`` (target id to message id) and ``targets`` (only ids) is required. It may
    hold any number of targets; they are split into requests of at most ten later. ``app_id``,
    ``workspace_id`` and ``tenant_id`` may be left to the settings.

    In code, use keyword arguments; the same rules apply::

        PushMessage(task_name="news", title="Hello", content="World", delivery_type=3,
                    expired_seconds=600, targets=("user-1",))

    Raises:
        pydantic.ValidationError: When constructed with invalid arguments. Like `InvalidMessage`, which
            `parse` raises, it lists all faults and shows no value that may be private.
    """

    model_config = ConfigDict(defer_build=False, json_schema_extra=complete_schema)

    @property
    def recipients(self) -> tuple[str, ...]:
        """The targets, given either as ``targets`` or as keys of ``targetMsgkey``."""
        return tuple(self.target_msgkey or self.targets or ())

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the message without its targets and app: 32 hexadecimal digits.

        The order of JSON keys, explicit defaults, and 600 versus 600.0 make no difference.
        """
        content = self.model_dump(mode="json", exclude=_ADDRESSING, exclude_defaults=True)
        for name in _FREE_FORM & content.keys():
            content[name] = normalise_numbers(content[name])
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @classmethod
    def parse(
        cls,
        data: Any,
        *,
        defaults: Mapping[str, str] | None = None,
        clock: Clock = system_clock,
        levels: Mapping[str, Level] | None = None,
        copies: bool = True,
    ) -> "Self":
        """Read a message from untrusted data.

        Args:
            data: A mapping with the page's camelCase names, as read from JSON by `json_text.read_json` (which
                also detects duplicate keys). ``StrategyContent`` is accepted as ``strategyContent``. None is
                the same as absent.
            defaults: Values of ``appId``, ``workspaceId`` and ``tenantId`` for data without them. If given,
                a missing app or workspace is a fault; if None, they may be absent.
            clock: Returns the current time for the rules about time.
            levels: Levels of unconfirmed rules (see `constraints.parse_levels`); other rules keep their
                level.
            copies: Copy nested data; pass False if nothing else changes it.

        Raises:
            InvalidMessage: With every fault of the message, in the order of the fields; if there are more
                than 100, the first ones.
        """
        if not isinstance(data, Mapping):
            from mpaas_push.model_faults import json_kind  # only an invalid message needs it

            raise InvalidMessage([Fault("", f"a message must be a JSON object, not {json_kind(data)}")])
        unset: list[Fault] = []
        if defaults is not None:
            data, unset = _with_defaults(data, defaults)
        elif type(data) is not dict:
            data = dict(data)
        context = _Context(clock, errors_at(levels or {}), _PAGE_NAMES, copies=copies)
        try:
            message = cls.model_validate(data, context=context, by_alias=True, by_name=False)
        except InvalidMessage as error:
            if not unset:
                raise
            unset = [*error.faults, *unset]
        if unset:
            from mpaas_push.message.faults import in_field_order

            raise InvalidMessage(in_field_order(unset))
        return message

    def advice(
        self, *, clock: Clock = system_clock, levels: Mapping[str, Level] | None = None
    ) -> "tuple[Advice, ...]":
        """Return every warning about this message; none of them prevents sending it.

        Args:
            clock: Returns the current time for the rules about time.
            levels: Levels of unconfirmed rules, as for `parse`; those at ``warning`` are reported here.

        Returns:
            Warnings of these rules, in the order of `constraints.CONSTRAINTS`, then those of the channels
            that the message can reach.
        """
        from mpaas_push.message.advice import Advice, channel_advice  # sending does not need it

        warnings = [
            Advice(rule=constraint.name, field=fault.field, message=fault.message)
            for constraint, fault in violations(self, warnings_at(levels or {}), clock())
        ]
        warnings += channel_advice(self)
        return tuple(warnings)

    @model_validator(mode="wrap")
    @classmethod
    def _validate(
        cls, data: Any, handler: ModelWrapValidatorHandler["PushMessage"], info: ValidationInfo
    ) -> "PushMessage":
        """Apply the constraints, and word every error so that it can be shown and logged."""
        context = info.context if type(info.context) is _Context else _DEFAULT_CONTEXT
        if type(data) is dict and (OTHER_SPELLING in data or None in data.values()):
            data = _normalise(data, context.names)
        if type(data) is dict and len(data) > 2 * MAX_FAULTS:
            data = _within_limit(data, context.names)
        try:
            message = handler(data)
        except ValidationError as error:
            from mpaas_push.message.faults import faults_of
            from mpaas_push.message.partial import violations_of_valid_fields

            faults = faults_of(error)
            if type(data) is dict:
                known = {name: value for name, value in data.items() if name in context.names}
                faults += violations_of_valid_fields(faults, known, context.constraints, context.clock())
            raise _rejection(faults, context) from None
        now = context.clock()
        violated = (fault for _, fault in violations(message, context.constraints, now))
        first = next(violated, None)
        if first is not None:
            raise _rejection([first, *islice(violated, MAX_FAULTS)], context)
        return message

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            if value is not None:
                yield name, _mask(name, value)


class _Context:
    """What a validation needs in addition to the data.

    Attributes:
        clock: Returns the current time.
        constraints: The constraints that reject a message.
        names: The names that fields may have in the data.
        copies: Whether nested data is copied.
    """

    __slots__ = ("clock", "constraints", "copies", "names")

    def __init__(
        self, clock: Clock, constraints: tuple[Constraint, ...], names: frozenset[str], *, copies: bool = True
    ) -> None:
        self.clock = clock
        self.constraints = constraints
        self.names = names
        self.copies = copies


def _rejection(faults: list[Fault], context: _Context) -> InvalidMessage | ValidationError:
    """Return the error to raise: `InvalidMessage` from `parse`, otherwise pydantic's own."""
    from mpaas_push.message.faults import first_faults, rejection  # only an invalid message needs it

    faults = first_faults(faults)
    return rejection(PushMessage.__name__, faults) if context is _DEFAULT_CONTEXT else InvalidMessage(faults)


_PAGE_NAMES = frozenset(ALIASES.values()) | {OTHER_SPELLING}
_DEFAULT_CONTEXT = _Context(system_clock, errors_at({}), _PAGE_NAMES | ALIASES.keys())


def _with_defaults(
    data: Mapping[str, Any], defaults: Mapping[str, str]
) -> tuple[dict[str, Any], list[Fault]]:
    """Return the data with defaults filled in, and a fault for each required field that has no value."""
    data = dict(data)
    unset = []
    for name in SETTINGS:
        if data.get(name) is None:
            if defaults.get(name):
                data[name] = defaults[name]
            elif name != "tenantId":
                unset.append(unset_fault(name))
    return data, unset


def unset_fault(name: str) -> Fault:
    """Return the fault for a parameter that neither the message nor the settings give."""
    return Fault(name, f"is required: set it in the message or in the environment variable {SETTINGS[name]}")


def _normalise(data: dict[Any, Any], names: frozenset[str]) -> dict[Any, Any]:
    """Return the data without known fields that are None, and with ``strategyContent`` in one spelling."""
    data = {key: value for key, value in data.items() if value is not None or key not in names}
    if OTHER_SPELLING in data and not {"strategyContent", "strategy_content"} & data.keys():
        data["strategyContent"] = data.pop(OTHER_SPELLING)
    return data


def normalise_numbers(value: Any) -> Any:
    """Return a JSON value with every whole number as an integer: 600.0 becomes 600."""
    if isinstance(value, dict):
        return {key: normalise_numbers(child) for key, child in value.items()}
    if isinstance(value, list):
        return [normalise_numbers(child) for child in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _within_limit(data: dict[Any, Any], names: frozenset[str]) -> dict[Any, Any]:
    """Return the data with at most `MAX_FAULTS` + 1 unknown fields."""
    unknown = islice((name for name in data if name not in names), MAX_FAULTS + 1)
    return {name: data[name] for name in names if name in data} | {name: data[name] for name in unknown}


def _mask(name: str | None, value: Any) -> Any:
    """Shorten a value so that it reveals no target id and no text meant for a person."""
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
        return f"{{{', '.join(format_path((key,)) for key in value)}}}"
    if isinstance(value, dict):
        return {format_path((key,)): text for key, text in value.items()}
    return value
