"""Ordered faults: what may be ordered, and which request is struck.

Orders are JSON objects, told apart by `kind`. Each strikes the `next` n requests that match it, or each
matching request at a `rate`. Only requests with a valid signature are struck, except by `resetBeforeRead`,
which knows nothing of the request. At most one fault strikes a request: the oldest order that wants it.

`accept` says whether the server takes the push (judges it, remembers its message ids, keeps it as accepted)
before it fails. A push that the judgement refuses is never accepted.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from pydantic.alias_generators import to_camel

from mpaas_local.mpaas.gateway_errors import HTTP_STATUS, GatewayAnswer, gateway_answer
from mpaas_local.mpaas.result_codes import SUCCESS_CODES

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DELAY_MILLISECONDS = 600_000
"""Ten minutes: longer than any client waits."""


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        allow_inf_nan=False,
    )


class Match(_Model):
    """Which requests an order is for: all that is given must be equal, letter by letter."""

    target: str | None = Field(default=None, description="A target in TargetMsgkey.")
    task_name: str | None = Field(default=None, description="TaskName.")
    title: str | None = Field(default=None, description="Title.")

    def fits(self, parameters: Mapping[str, str], targets: frozenset[str]) -> bool:
        """Whether a request with these parameters and targets is meant."""
        return (
            (self.target is None or self.target in targets)
            and (self.task_name is None or self.task_name == parameters.get("TaskName"))
            and (self.title is None or self.title == parameters.get("Title"))
        )


class _Order(_Model):
    next: int | None = Field(default=None, ge=1, description="Strike this many requests, then no more.")
    rate: float | None = Field(default=None, ge=0, le=1, description="Strike each request with this chance.")
    seed: int | None = Field(default=None, description="Makes `rate` strike the same requests every time.")

    @model_validator(mode="after")
    def _one_measure(self) -> _Order:
        if self.next is not None and self.rate is not None:
            raise ValueError("give either next (a number of requests) or rate (0 to 1), not both")
        if self.seed is not None and self.rate is None:
            raise ValueError("seed belongs to rate")
        return self


class _MatchingOrder(_Order):
    match: Match | None = Field(default=None, description="Only requests like this; without it, any.")


class ResultFault(_MatchingOrder):
    """HTTP 200 with a failing result code, such as 8011 or 9000 (pushsimple.md: Result codes)."""

    kind: Literal["result"]
    code: str = Field(pattern=r"^-?[0-9]{1,5}$", description="The ResultCode; not a success.")
    message: str | None = Field(default=None, description="The ResultMessage; by default the code's name.")
    accept: bool = False

    @model_validator(mode="after")
    def _fails(self) -> ResultFault:
        if self.code in SUCCESS_CODES:
            raise ValueError(f"code {self.code} means success; order a failing result code")
        return self


class ThrottlingFault(_MatchingOrder):
    """HTTP 400 with a throttling code: refused for load, never accepted (pushsimple.md: Gateway errors)."""

    kind: Literal["throttling"]
    code: str = Field(default="Throttling.User", pattern=r"^Throttling(\.[A-Za-z]+)?$")
    retry_after: int | None = Field(
        default=None, ge=0, le=86_400, description="Seconds; sent as Retry-After and x-acs-retry-after."
    )

    def answer(self) -> GatewayAnswer:
        """What the client is sent."""
        return gateway_answer(self.code, retry_after=self.retry_after)


class InternalErrorFault(_MatchingOrder):
    """HTTP 500 InternalError: whether the push was accepted is not to be seen from it
    (pushsimple.md: Gateway errors).
    """

    kind: Literal["internalError"]
    accept: bool = False

    def answer(self) -> GatewayAnswer:
        """What the client is sent."""
        return gateway_answer("InternalError")


class ServiceUnavailableFault(_MatchingOrder):
    """HTTP 503 ServiceUnavailable (pushsimple.md: Gateway errors)."""

    kind: Literal["serviceUnavailable"]
    retry_after: int | None = Field(
        default=None, ge=0, le=86_400, description="Seconds; sent as Retry-After and x-acs-retry-after."
    )
    accept: bool = False

    def answer(self) -> GatewayAnswer:
        """What the client is sent."""
        return gateway_answer("ServiceUnavailable", retry_after=self.retry_after)


class GatewayFault(_MatchingOrder):
    """Any gateway error; `status` is needed for a code that is not documented
    (pushsimple.md: Gateway errors).
    """

    kind: Literal["gateway"]
    code: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_.]{0,99}$")
    status: int | None = Field(default=None, ge=400, le=599)
    message: str | None = None
    retry_after: int | None = Field(default=None, ge=0, le=86_400, description="Seconds.")
    accept: bool = False

    @model_validator(mode="after")
    def _status_known(self) -> GatewayFault:
        if self.status is None and self.code not in HTTP_STATUS and not self.code.startswith("Missing"):
            raise ValueError(f"no HTTP status is known for {self.code}; give status (400 to 599)")
        return self

    def answer(self) -> GatewayAnswer:
        """What the client is sent."""
        return gateway_answer(self.code, self.message, status=self.status, retry_after=self.retry_after)


class DelayFault(_MatchingOrder):
    """A late answer.

    With `accept` the push is taken at once and only the answer is late. Without it the push is looked at
    after the delay, and dropped if the client has hung up by then.
    """

    kind: Literal["delay"]
    milliseconds: int = Field(ge=0, le=MAX_DELAY_MILLISECONDS)
    accept: bool = True


class ResetBeforeReadFault(_Order):
    """A TCP reset as soon as a request begins to arrive; nothing of it is read, so nothing can be matched."""

    kind: Literal["resetBeforeRead"]


class ResetAfterReadFault(_MatchingOrder):
    """A TCP reset after the whole request was read: with `accept` the push is taken and its answer is
    lost.
    """

    kind: Literal["resetAfterRead"]
    accept: bool = True


class CutBodyFault(_MatchingOrder):
    """The normal answer, but the connection ends in the middle of the body."""

    kind: Literal["cutBody"]
    accept: bool = True


class NotJsonFault(_MatchingOrder):
    """An answer whose body is not JSON, as a proxy in between would give."""

    kind: Literal["notJson"]
    status: int = Field(default=200, ge=200, le=599)
    body: str = "<html><body><h1>Bad gateway</h1></body></html>"
    accept: bool = True


FaultOrder = Annotated[
    Union[  # noqa: UP007 - pydantic reads the union at run time, also on 3.10
        ResultFault,
        ThrottlingFault,
        InternalErrorFault,
        ServiceUnavailableFault,
        GatewayFault,
        DelayFault,
        ResetBeforeReadFault,
        ResetAfterReadFault,
        CutBodyFault,
        NotJsonFault,
    ],
    Field(discriminator="kind"),
]
"""Any fault that may be ordered."""

FAULT_ORDER: TypeAdapter[FaultOrder] = TypeAdapter(FaultOrder)
"""Reads an order, or raises pydantic's ValidationError."""


@dataclass
class Standing:
    """An order that stands: how many more requests it strikes (None: no end) and how many it has struck."""

    id: int
    order: FaultOrder
    remaining: int | None
    dice: random.Random = field(repr=False)
    struck: int = 0

    def document(self) -> dict[str, Any]:
        """The order as JSON shows it."""
        ordered = self.order.model_dump(by_alias=True, exclude_none=True)
        return {"id": self.id, **ordered, "remaining": self.remaining, "struck": self.struck}


@dataclass(frozen=True)
class Strike:
    """A fault that strikes a request now."""

    id: int
    fault: FaultOrder

    def document(self) -> dict[str, Any]:
        """What the inbox keeps of it."""
        return {"id": self.id, "kind": self.fault.kind}


class FaultBook:
    """The orders that stand, oldest first. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._standing: list[Standing] = []
        self._last_id = 0

    def order(self, order: FaultOrder) -> dict[str, Any]:
        """Take an order; without `next` and `rate` it strikes the next request only."""
        with self._lock:
            self._last_id += 1
            remaining = order.next if order.rate is None else None
            if order.rate is None and remaining is None:
                remaining = 1
            dice = random.Random(order.seed)  # chance for tests, nothing secret
            standing = Standing(self._last_id, order, remaining, dice)
            self._standing.append(standing)
            return standing.document()

    def standing(self) -> list[dict[str, Any]]:
        """The orders that may still strike."""
        with self._lock:
            return [standing.document() for standing in self._standing]

    def clear(self) -> int:
        """Cancel all orders; answers how many there were."""
        with self._lock:
            count = len(self._standing)
            self._standing.clear()
            return count

    def strike(self, parameters: Mapping[str, str], targets: frozenset[str]) -> Strike | None:
        """The fault that strikes a request which has been read, if any."""
        with self._lock:
            for standing in self._standing:
                order = standing.order
                if isinstance(order, ResetBeforeReadFault):
                    continue
                if order.match is not None and not order.match.fits(parameters, targets):
                    continue
                if self._hits(standing):
                    return Strike(standing.id, order)
            return None

    def strike_unread(self) -> Strike | None:
        """The reset that strikes a request of which nothing has been read, if any."""
        with self._lock:
            for standing in self._standing:
                if isinstance(standing.order, ResetBeforeReadFault) and self._hits(standing):
                    return Strike(standing.id, standing.order)
            return None

    def _hits(self, standing: Standing) -> bool:
        rate = standing.order.rate
        if rate is not None and standing.dice.random() >= rate:
            return False
        standing.struck += 1
        if standing.remaining is not None:
            standing.remaining -= 1
            if standing.remaining == 0:
                self._standing.remove(standing)
        return True
