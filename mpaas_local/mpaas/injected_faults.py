"""Ordered faults: the kinds that can be ordered, and which request a fault strikes.

An order is a JSON object with a `kind`. It strikes the `next` n matching requests, or each matching request
with a probability of `rate`. Faults strike only requests with a valid signature, except `resetBeforeRead`,
which strikes before the request is read. At most one fault strikes a request: that of the oldest matching
order.

`accept` says whether the server accepts the push (judges it, remembers its message ids, records it as
accepted) before it fails. A push that the judgement refuses is never accepted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Union

from pydantic import Field, TypeAdapter, model_validator

from mpaas_local.fault_book import MAX_DELAY_MILLISECONDS, FaultBook, FaultModel, Order, Strike
from mpaas_local.mpaas.gateway_errors import HTTP_STATUS, GatewayResponse, gateway_response
from mpaas_local.mpaas.result_codes import SUCCESS_CODES

if TYPE_CHECKING:
    from collections.abc import Mapping


class PushMatch(FaultModel):
    """Which requests the fault affects: every given field must be equal, including case."""

    target: str | None = Field(default=None, description="A target in TargetMsgkey.")
    task_name: str | None = Field(default=None, description="TaskName.")
    title: str | None = Field(default=None, description="Title.")

    def fits(self, parameters: Mapping[str, str], targets: frozenset[str]) -> bool:
        """Whether a request with these parameters and targets matches."""
        return (
            (self.target is None or self.target in targets)
            and (self.task_name is None or self.task_name == parameters.get("TaskName"))
            and (self.title is None or self.title == parameters.get("Title"))
        )


class _MatchingOrder(Order):
    match: PushMatch | None = Field(default=None, description="Only matching requests; without it, any.")


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
    """HTTP 400 with a throttling code: rejected for load, never accepted (pushsimple.md: Gateway errors)."""

    kind: Literal["throttling"]
    code: str = Field(default="Throttling.User", pattern=r"^Throttling(\.[A-Za-z]+)?$")
    retry_after: int | None = Field(
        default=None, ge=0, le=86_400, description="Seconds; sent as Retry-After and x-acs-retry-after."
    )

    def response(self) -> GatewayResponse:
        """The response to the client."""
        return gateway_response(self.code, retry_after=self.retry_after)


class InternalErrorFault(_MatchingOrder):
    """HTTP 500 InternalError, which does not say whether the push was accepted
    (pushsimple.md: Gateway errors).
    """

    kind: Literal["internalError"]
    accept: bool = False

    def response(self) -> GatewayResponse:
        """The response to the client."""
        return gateway_response("InternalError")


class ServiceUnavailableFault(_MatchingOrder):
    """HTTP 503 ServiceUnavailable (pushsimple.md: Gateway errors)."""

    kind: Literal["serviceUnavailable"]
    retry_after: int | None = Field(
        default=None, ge=0, le=86_400, description="Seconds; sent as Retry-After and x-acs-retry-after."
    )
    accept: bool = False

    def response(self) -> GatewayResponse:
        """The response to the client."""
        return gateway_response("ServiceUnavailable", retry_after=self.retry_after)


class GatewayFault(_MatchingOrder):
    """Any gateway error; an undocumented code requires `status` (pushsimple.md: Gateway errors)."""

    kind: Literal["gateway"]
    code: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_.]{0,99}$")
    status: int | None = Field(default=None, ge=400, le=599)
    message: str | None = None
    retry_after: int | None = Field(default=None, ge=0, le=86_400, description="Seconds.")
    accept: bool = False

    @model_validator(mode="after")
    def _status_known(self) -> GatewayFault:
        if self.status is None and self.code not in HTTP_STATUS and not self.code.startswith("Missing"):
            raise ValueError(f"the HTTP status of {self.code} is not documented; give status (400 to 599)")
        return self

    def response(self) -> GatewayResponse:
        """The response to the client."""
        return gateway_response(self.code, self.message, status=self.status, retry_after=self.retry_after)


class DelayFault(_MatchingOrder):
    """A late response.

    With `accept` the server accepts the push at once and only the response is late. Without it the server
    judges the push after the delay, and drops it if the client has disconnected by then.
    """

    kind: Literal["delay"]
    milliseconds: int = Field(ge=0, le=MAX_DELAY_MILLISECONDS)
    accept: bool = True


class ResetBeforeReadFault(Order):
    """A TCP reset as soon as a request begins to arrive. It cannot match, because the request is not read."""

    kind: Literal["resetBeforeRead"]


class ResetAfterReadFault(_MatchingOrder):
    """A TCP reset after the complete request was read; with `accept` the push is accepted, but the response
    is lost.
    """

    kind: Literal["resetAfterRead"]
    accept: bool = True


class CutBodyFault(_MatchingOrder):
    """The normal response, but the connection closes in the middle of the body."""

    kind: Literal["cutBody"]
    accept: bool = True


class NotJsonFault(_MatchingOrder):
    """A response that is not JSON, as from a proxy."""

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
"""Any fault that can be ordered."""

FAULT_ORDER: TypeAdapter[FaultOrder] = TypeAdapter(FaultOrder)
"""Validates an order; raises pydantic's ValidationError."""


class PushFaults(FaultBook[FaultOrder]):
    """The active orders, oldest first. Thread-safe."""

    def strike(self, parameters: Mapping[str, str], targets: frozenset[str]) -> Strike[FaultOrder] | None:
        """The fault that strikes a request after it was read, if any."""
        return self.strike_if(
            lambda order: (
                not isinstance(order, ResetBeforeReadFault)
                and (order.match is None or order.match.fits(parameters, targets))
            )
        )

    def strike_unread(self) -> Strike[FaultOrder] | None:
        """The reset that strikes a request before it is read, if any."""
        return self.strike_if(lambda order: isinstance(order, ResetBeforeReadFault))
