"""Ordered faults: the kinds that can be ordered, and which requests an order matches.

An order is a JSON object with a `kind`. Faults strike requests with a valid signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, TypeAdapter

from mpaas_local.fault_book import MAX_DELAY_MILLISECONDS, FaultBook, FaultModel, Order, Strike

if TYPE_CHECKING:
    from mpaas_local.oss.signature import Signable

__all__ = [
    "FAULT_ORDER",
    "CutBody",
    "Delay",
    "FaultOrder",
    "InternalError",
    "ObjectFaults",
    "Reset",
    "ServiceUnavailable",
]


class ObjectMatch(FaultModel):
    """Which requests the fault affects: every given field must match."""

    method: str | None = Field(default=None, description="GET, PUT, …")
    bucket: str | None = Field(default=None, description="The bucket's name.")
    prefix: str | None = Field(default=None, description="Prefix of the object's name.")

    def fits(self, request: Signable) -> bool:
        """Whether a request matches."""
        return (
            (self.method is None or self.method == request.method)
            and (self.bucket is None or self.bucket == request.bucket)
            and (self.prefix is None or (request.key or "").startswith(self.prefix))
        )


class _Order(Order):
    match: ObjectMatch | None = Field(default=None, description="Only matching requests; without it, any.")


class ServiceUnavailable(_Order):
    """HTTP 503; the operation is not carried out."""

    kind: Literal["serviceUnavailable"]


class InternalError(_Order):
    """HTTP 500; the operation is not carried out."""

    kind: Literal["internalError"]


class Delay(_Order):
    """A late response; the operation is carried out after the delay."""

    kind: Literal["delay"]
    milliseconds: int = Field(ge=0, le=MAX_DELAY_MILLISECONDS)


class CutBody(_Order):
    """The operation is carried out, but the connection closes in the middle of the response body."""

    kind: Literal["cutBody"]


class Reset(_Order):
    """A TCP reset instead of a response."""

    kind: Literal["reset"]
    accept: bool = Field(default=True, description="Whether the operation is carried out.")


FaultOrder = Annotated[
    ServiceUnavailable | InternalError | Delay | CutBody | Reset,
    Field(discriminator="kind"),
]
"""Any fault that can be ordered."""

FAULT_ORDER: TypeAdapter[FaultOrder] = TypeAdapter(FaultOrder)
"""Validates an order; raises pydantic's ValidationError."""


class ObjectFaults(FaultBook[FaultOrder]):
    """The active orders, oldest first. Thread-safe."""

    def strike(self, request: Signable) -> Strike[FaultOrder] | None:
        """The fault that strikes a request, if any."""
        return self.strike_if(lambda order: order.match is None or order.match.fits(request))
