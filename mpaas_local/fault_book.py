"""Orders for faults: which requests they strike, and how often. Each sandbox has its own kinds of faults.

At most one fault strikes a request: that of the oldest order that matches it.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

__all__ = [
    "MAX_DELAY_MILLISECONDS",
    "ActiveOrder",
    "FaultBook",
    "FaultModel",
    "Order",
    "Strike",
    "describe_errors",
    "order_errors",
]

MAX_DELAY_MILLISECONDS = 600_000
"""Longest delay, ten minutes: more than any client waits."""


class FaultModel(BaseModel):
    """Base of orders and their parts: frozen, no conversions, no unknown keys; aliases in camelCase."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        allow_inf_nan=False,
    )


class Order(FaultModel):
    """Base of all orders; each has a `kind`."""

    next: int | None = Field(default=None, ge=1, description="Affect this many requests.")
    rate: float | None = Field(
        default=None, ge=0, le=1, description="Affect each request with this probability."
    )
    seed: int | None = Field(
        default=None, description="With a seed, `rate` affects the same requests every time."
    )

    @model_validator(mode="after")
    def _check_next_and_rate(self) -> Order:
        if self.next is not None and self.rate is not None:
            raise ValueError("give either next (a number of requests) or rate (0 to 1), not both")
        if self.seed is not None and self.rate is None:
            raise ValueError("seed requires rate")
        return self


OrderT = TypeVar("OrderT", bound=Order)


@dataclass(kw_only=True)
class ActiveOrder(Generic[OrderT]):
    """An active order: how many more requests it will strike (None: any number), how many it has struck."""

    id: int
    order: OrderT
    remaining: int | None
    dice: random.Random = field(repr=False)
    struck: int = 0

    def document(self) -> dict[str, Any]:
        """The order as JSON."""
        order = self.order.model_dump(by_alias=True, exclude_none=True)
        return {"id": self.id, **order, "remaining": self.remaining, "struck": self.struck}


@dataclass(frozen=True)
class Strike(Generic[OrderT]):
    """A fault that strikes a request now."""

    id: int
    fault: OrderT

    def document(self) -> dict[str, Any]:
        """The id and kind as JSON."""
        return {"id": self.id, **self.fault.model_dump(include={"kind"})}


class FaultBook(Generic[OrderT]):
    """The active orders, oldest first. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[ActiveOrder[OrderT]] = []
        self._last_id = 0

    def order(self, order: OrderT) -> dict[str, Any]:
        """Add an order; without `next` and `rate` it strikes one request."""
        with self._lock:
            self._last_id += 1
            remaining = order.next if order.rate is None else None
            if order.rate is None and remaining is None:
                remaining = 1
            dice = random.Random(order.seed)  # for tests, not for secrets
            active = ActiveOrder(id=self._last_id, order=order, remaining=remaining, dice=dice)
            self._active.append(active)
            return active.document()

    def active(self) -> list[dict[str, Any]]:
        """The orders that can still strike."""
        with self._lock:
            return [active.document() for active in self._active]

    def clear(self) -> int:
        """Cancel all orders; returns how many there were."""
        with self._lock:
            count = len(self._active)
            self._active.clear()
            return count

    def strike_if(self, matches: Callable[[OrderT], bool]) -> Strike[OrderT] | None:
        """The fault that strikes a request, if any.

        Args:
            matches: Whether an order applies to this request.
        """
        with self._lock:
            for active in self._active:
                if matches(active.order) and self._hits(active):
                    return Strike(active.id, active.order)
            return None

    def _hits(self, active: ActiveOrder[OrderT]) -> bool:
        rate = active.order.rate
        if rate is not None and active.dice.random() >= rate:
            return False
        active.struck += 1
        if active.remaining is not None:
            active.remaining -= 1
            if active.remaining == 0:
                self._active.remove(active)
        return True


def order_errors(error: ValidationError) -> list[dict[str, Any]]:
    """Return field, message and value of each error of an order."""
    return [_order_error(item) for item in error.errors(include_url=False)]


def describe_errors(errors: Iterable[Mapping[str, Any]]) -> str:
    """Return the errors of an order as one line."""
    return "; ".join(f"{error['field'] or 'order'}: {error['message']}" for error in errors)


def _order_error(error: ErrorDetails) -> dict[str, Any]:
    path = [str(part) for part in error["loc"][1:]]  # it starts with the kind
    message = error["msg"].removeprefix("Value error, ")
    if template := _WORDS.get(error["type"]):
        message = template.format(**error.get("ctx", {}))
    entry: dict[str, Any] = {"field": ".".join(path) or None, "message": message}
    if isinstance(error["input"], (str, int, float, bool)):
        entry["value"] = error["input"]
    return entry


_WORDS = {
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "extra_forbidden": "is not a field of this fault: remove it",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "json_invalid": "is not JSON: {error}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "missing": "is required",
    "model_attributes_type": "must be an object",
    "model_type": "must be an object",
    "string_pattern_mismatch": "must match {pattern}",
    "string_type": "must be text",
    "union_tag_invalid": "{discriminator} must be one of {expected_tags}",
    "union_tag_not_found": "{discriminator} is required",
}
"""Texts by the type of pydantic's error; errors of validators have their own."""
