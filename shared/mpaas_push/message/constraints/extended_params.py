"""Extended parameters: how many, which keys, which values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpaas_push.errors import Fault
from mpaas_push.message.constraints.constraint import Constraint, documented, unconfirmed
from mpaas_push.message.vocabulary import MAX_EXTENDED_PARAMS, RESERVED_EXTENDED_PARAMS
from mpaas_push.paths import format_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mpaas_push.message.fields import MessageFields

__all__ = ["EXTENDED_PARAMS"]


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


@unconfirmed(
    "extended-params-text",
    source="UNSURE: the page Extension parameters shows texts only; pushsimple.md: Extended parameters",
    reads=("extendedParams",),
)
def extended_params_text(message: MessageFields, _: datetime) -> Iterator[Fault]:
    for key, value in (message.extended_params or {}).items():
        if type(value) is not str:
            yield Fault(
                format_path(("extendedParams", key)), "should be text, like every value in the examples"
            )


EXTENDED_PARAMS: tuple[Constraint, ...] = (
    extended_params_count,
    extended_params_reserved,
    extended_params_text,
)
