"""The SMS that mPaaS sends in addition to a push."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpaas_push.errors import Fault
from mpaas_push.message.constraints.constraint import Constraint, documented, unconfirmed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mpaas_push.message.fields import MessageFields

__all__ = ["SMS"]

_SMS = ("smsSignName", "smsTemplateCode", "smsTemplateParam")


@documented(
    "sms-parameters-together",
    source="Simple push page: required if smsStrategy is not 0; pushsimple.md: SMS",
    reads=("smsStrategy",),
    presence_of=_SMS,
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


@unconfirmed(
    "sms-strategy-known",
    source="UNSURE: from memory 0 none, 1 supplement, 2 concurrent; "
    "pushsimple.md: Strategies and SMS and Live Activity",
    reads=("smsStrategy",),
)
def sms_strategy(message: MessageFields, _: datetime) -> Iterator[Fault]:
    known = 2
    if message.sms_strategy is not None and message.sms_strategy > known:
        yield Fault(
            "smsStrategy",
            "should be 0 (no SMS), 1 (supplement) or 2 (concurrent), as far as is known",
            message.sms_strategy,
        )


@unconfirmed(
    "sms-parameters-unused",
    source="UNSURE: inferred, ignored if smsStrategy is 0 or absent; pushsimple.md: SMS",
    reads=("smsStrategy",),
    presence_of=_SMS,
)
def sms_unused(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if not message.sms_strategy:
        for name, value in (
            ("smsSignName", message.sms_sign_name),
            ("smsTemplateCode", message.sms_template_code),
            ("smsTemplateParam", message.sms_template_param),
        ):
            if value is not None:
                yield Fault(name, "is not used while smsStrategy is 0 or absent")


SMS: tuple[Constraint, ...] = (
    sms_parameters,
    sms_strategy,
    sms_unused,
)
