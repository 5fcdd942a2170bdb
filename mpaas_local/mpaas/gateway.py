"""`POST /`: responds to PushSimple requests and records them in the inbox.

The steps, in the gateway's order: read, authenticate, apply an ordered fault, judge, record, respond.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from mpaas_local.api_signature import read_acs3_authorization
from mpaas_local.breakable import ConnectionReset, CutResponse
from mpaas_local.mpaas.call import GatewayCall, printable, read_call
from mpaas_local.mpaas.gateway_errors import GatewayRefusal, GatewayResponse, refusal
from mpaas_local.mpaas.injected_faults import (
    CutBodyFault,
    DelayFault,
    NotJsonFault,
    ResetAfterReadFault,
    ResetBeforeReadFault,
    ResultFault,
    ThrottlingFault,
)
from mpaas_local.mpaas.judgement.parameters import LEGACY_VERSION
from mpaas_local.mpaas.judgement.verdict import judge, read_targets, repeated_id_verdict
from mpaas_local.mpaas.redaction import redacted_form, without_secret_parameters
from mpaas_local.mpaas.responses import gateway_error, not_json, push_result
from mpaas_local.mpaas.result_codes import result_message
from mpaas_local.mpaas.store import ClientResponse, InboxEntry, SandboxOutcome, Store, Target, id_scope

if TYPE_CHECKING:
    from starlette.requests import Request

    from mpaas_local.clock import TimeSource
    from mpaas_local.fault_book import Strike
    from mpaas_local.mpaas.authentication import Authenticator
    from mpaas_local.mpaas.injected_faults import FaultOrder, PushFaults
    from mpaas_local.mpaas.judgement.behaviour import Behaviour

MAX_BODY_BYTES = 1024 * 1024
"""Maximum size of a request body; a larger one gets 413. Ten targets and every parameter need far less."""

_PUSH_PREFIXES = (b"POST / ", b"POST /?")


@dataclass(frozen=True, kw_only=True)
class _Push:
    """A request that was read, and the fault that strikes it."""

    request_id: str
    received_at: float
    host: str
    call: GatewayCall
    strike: Strike[FaultOrder] | None = None

    @property
    def parameters(self) -> dict[str, str]:
        return self.call.business_parameters

    @property
    def scheduled(self) -> bool:
        """Whether this API version schedules the push and returns a task id (pushsimple.md: Response)."""
        legacy = self.call.version == LEGACY_VERSION
        return not legacy and self.parameters.get("StrategyType", "") not in {"", "0"}


@dataclass(frozen=True, kw_only=True)
class _Judgement:
    """The server's judgement of a push."""

    outcome: SandboxOutcome
    code: str
    message: str
    task_id: str | None
    targets: tuple[Target, ...]
    notes: tuple[str, ...]

    def response(self, push: _Push) -> Response:
        """The response if no fault strikes."""
        return push_result(
            version=push.call.version,
            request_id=push.request_id,
            code=self.code,
            message=self.message,
            success=self.outcome == "accepted",
            task_id=self.task_id,
        )


class Gateway:
    """Responds to pushes, on the event loop's thread."""

    def __init__(
        self,
        *,
        store: Store,
        faults: PushFaults,
        authenticator: Authenticator,
        behaviour: Behaviour,
        clock: TimeSource,
    ) -> None:
        self._store = store
        self._faults = faults
        self._authenticator = authenticator
        self._behaviour = behaviour
        self._clock = clock
        self._closing = asyncio.Event()

    def end_delays(self) -> None:
        """End all delays now; call it on the event loop's thread."""
        self._closing.set()

    def strikes_unread(self, data: bytes) -> bool:
        """Whether to reset the request that begins with these bytes; if so, records it as dropped.

        The bytes distinguish a push from a request to the sandbox's own routes.
        """
        strike = self._faults.strike_unread() if data.startswith(_PUSH_PREFIXES) else None
        if strike is None:
            return False
        self._store.append(
            InboxEntry(
                received_at=self._clock(),
                request_id=_new_request_id(),
                version=None,
                signature=None,
                access_key_id=None,
                outcome="dropped",
                response=ClientResponse(None, None, None, "reset"),
                fault=strike.document(),
            )
        )
        return True

    async def push_simple(self, request: Request) -> Response:
        """Respond to one request, valid or not."""
        received_at, request_id = self._clock(), _new_request_id()
        body, size, disconnected = await _read_body(request)
        call = read_call(
            request.method, request.scope["path"], request.scope["query_string"], request.headers.raw, body
        )
        push = _Push(
            request_id=request_id, received_at=received_at, host=printable(call.header("host")), call=call
        )
        if disconnected:
            self._record(
                push,
                "dropped",
                ClientResponse(None, None, "disconnected before the request was complete", "left"),
            )
            return Response(status_code=400)
        try:
            if size > MAX_BODY_BYTES:
                raise refusal("RequestEntityTooLarge", f"The body has more than {MAX_BODY_BYTES} bytes.")
            self._authenticator.authenticate(call)
        except GatewayRefusal as refused:
            return self._reject(push, refused.response)
        targets = read_targets(call.parameters.get("TargetMsgkey", ""))
        strike = self._faults.strike(call.parameters, frozenset(target for target, _ in targets))
        return await self._respond(request, replace(push, strike=strike))

    async def _respond(self, request: Request, push: _Push) -> Response:
        fault = push.strike.fault if push.strike else None
        if fault is None:
            response = self._respond_normally(push)
        elif isinstance(fault, DelayFault):
            response = await self._respond_late(request, push, fault)
        elif isinstance(fault, ResultFault):
            response = self._respond_with_result(push, fault)
        elif isinstance(fault, CutBodyFault):
            response = CutResponse(self._cut(push, fault))
        elif isinstance(fault, ResetAfterReadFault):
            self._record_failure(push, ClientResponse(None, None, None, "reset"), accept=fault.accept)
            response = ConnectionReset()
        elif isinstance(fault, NotJsonFault):
            self._record_failure(push, ClientResponse(fault.status, None, "not JSON"), accept=fault.accept)
            response = not_json(fault.status, fault.body, push.request_id)
        elif isinstance(fault, ResetBeforeReadFault):
            raise TypeError("this request has already been read")
        else:
            response = self._reject(
                push, fault.response(), accept=not isinstance(fault, ThrottlingFault) and fault.accept
            )
        return response

    def _respond_normally(self, push: _Push) -> Response:
        """Judge and record the push, and respond."""
        judgement = self._judge(push)
        self._record(
            push, judgement.outcome, ClientResponse(200, judgement.code, judgement.message), judgement
        )
        return judgement.response(push)

    async def _respond_late(self, request: Request, push: _Push, fault: DelayFault) -> Response:
        accepted = self._respond_normally(push) if fault.accept else None
        still_connected = await self._wait(request, fault.milliseconds / 1000)
        if accepted is not None:
            return accepted
        if still_connected:
            return self._respond_normally(push)
        self._record(push, "dropped", ClientResponse(None, None, "disconnected during the delay", "left"))
        return Response(status_code=400)

    async def _wait(self, request: Request, seconds: float) -> bool:
        """Wait until the delay, the connection or the server ends; False if the client disconnected."""
        disconnected = asyncio.ensure_future(request.receive())
        closing = asyncio.ensure_future(self._closing.wait())
        done, _ = await asyncio.wait(
            {disconnected, closing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        disconnected.cancel()
        closing.cancel()
        return disconnected not in done

    def _respond_with_result(self, push: _Push, fault: ResultFault) -> Response:
        message = fault.message if fault.message is not None else result_message(fault.code)
        self._record_failure(
            push, ClientResponse(200, fault.code, message), accept=fault.accept, otherwise="refused"
        )
        return push_result(
            version=push.call.version, request_id=push.request_id, code=fault.code, message=message
        )

    def _cut(self, push: _Push, fault: CutBodyFault) -> Response:
        judgement = self._judge(push)
        outcome = judgement.outcome if fault.accept else "dropped"
        self._record(push, outcome, ClientResponse(200, judgement.code, judgement.message, "cut"), judgement)
        return judgement.response(push)

    def _reject(self, push: _Push, response: GatewayResponse, *, accept: bool = False) -> Response:
        message = response.recorded_message or response.message
        recorded = ClientResponse(response.status, response.code, message)
        self._record_failure(push, recorded, accept=accept, otherwise="rejected")
        return gateway_error(response, push.request_id, push.host)

    def _record_failure(
        self, push: _Push, response: ClientResponse, *, accept: bool, otherwise: SandboxOutcome = "dropped"
    ) -> None:
        """Record a push whose client does not receive the verdict."""
        if accept:
            judgement = self._judge(push)
            self._record(push, judgement.outcome, response, judgement)
        else:
            self._record(push, otherwise, response)

    def _judge(self, push: _Push) -> _Judgement:
        verdict = judge(push.parameters, push.call.version, self._behaviour, self._clock())
        targets = self._targets(push)
        if verdict.code is None and self._behaviour.repeated_ids == "refuse":
            repeated = next((pair for pair in targets if pair.repeated), None)
            if repeated is not None:
                verdict = repeated_id_verdict(repeated.target, repeated.message_id, verdict.notes)
        accepted = verdict.code is None
        return _Judgement(
            outcome="accepted" if accepted else "refused",
            code=verdict.code or self._behaviour.success_code,
            message=verdict.message,
            task_id=uuid.uuid4().hex if accepted and push.scheduled else None,
            targets=targets,
            notes=verdict.notes,
        )

    def _targets(self, push: _Push) -> tuple[Target, ...]:
        pairs = read_targets(push.parameters.get("TargetMsgkey", ""))
        accepted = self._store.accepted_before(
            id_scope(push.parameters), [message_id for _, message_id in pairs]
        )
        return tuple(Target(target, message_id, message_id in accepted) for target, message_id in pairs)

    def _record(
        self,
        push: _Push,
        outcome: SandboxOutcome,
        response: ClientResponse,
        judgement: _Judgement | None = None,
    ) -> None:
        call = push.call
        self._store.append(
            InboxEntry(
                received_at=push.received_at,
                request_id=push.request_id,
                version=call.version or None,
                signature=call.signature_kind if call.is_signed else None,
                access_key_id=_access_key_id(call),
                outcome=outcome,
                response=response,
                fault=push.strike.document() if push.strike else None,
                task_id=judgement.task_id if judgement and outcome == "accepted" else None,
                parameters=without_secret_parameters(push.parameters),
                targets=judgement.targets if judgement else self._targets(push),
                notes=judgement.notes if judgement else (),
                query=redacted_form(call.query),
                body=redacted_form(call.body.decode("utf-8", "surrogateescape")),
            )
        )


async def _read_body(request: Request) -> tuple[bytes, int, bool]:
    """The body up to the limit, its full size, and whether the client disconnected while sending it."""
    body, size = bytearray(), 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= MAX_BODY_BYTES:
                body += chunk
    except ClientDisconnect:
        return bytes(body), size, True
    return bytes(body), size, False


def _access_key_id(call: GatewayCall) -> str | None:
    authorization = read_acs3_authorization(call.header("authorization"))
    return authorization.access_key_id if authorization else call.system_parameter("AccessKeyId") or None


def _new_request_id() -> str:
    return str(uuid.uuid4()).upper()
