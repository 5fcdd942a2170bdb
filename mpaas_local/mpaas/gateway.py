"""`POST /`: a PushSimple request goes in; a response comes out, and an entry goes to the inbox.

The steps, in the gateway's order: read, authenticate, strike with an ordered fault, judge, record, respond.
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
"""Longest request body; a longer one gets 413. Ten targets and every parameter need far less."""

_PUSH_BEGINNINGS = (b"POST / ", b"POST /?")


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
        return self.call.business

    @property
    def scheduled(self) -> bool:
        """Whether this version schedules it and returns a task id (pushsimple.md: Response)."""
        legacy = self.call.version == LEGACY_VERSION
        return not legacy and self.parameters.get("StrategyType", "") not in {"", "0"}


@dataclass(frozen=True, kw_only=True)
class _Judged:
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
        """Whether to reset the request that begins to arrive; if so, records it as dropped.

        Its first bytes tell a push from the sandbox's own routes.
        """
        strike = self._faults.strike_unread() if data.startswith(_PUSH_BEGINNINGS) else None
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
                answer=ClientResponse(None, None, None, "reset"),
                fault=strike.document(),
            )
        )
        return True

    async def push_simple(self, request: Request) -> Response:
        """Respond to one request, whatever it contains."""
        received_at, request_id = self._clock(), _new_request_id()
        body, size, hung_up = await _read_body(request)
        call = read_call(
            request.method, request.scope["path"], request.scope["query_string"], request.headers.raw, body
        )
        push = _Push(
            request_id=request_id, received_at=received_at, host=printable(call.header("host")), call=call
        )
        if hung_up:
            self._keep(
                push,
                "dropped",
                ClientResponse(None, None, "disconnected before the request was complete", "left"),
            )
            return Response(status_code=400)
        try:
            if size > MAX_BODY_BYTES:
                raise refusal("RequestEntityTooLarge", f"The body has more than {MAX_BODY_BYTES} bytes.")
            self._authenticator.admit(call)
        except GatewayRefusal as refused:
            return self._reject(push, refused.response)
        targets = read_targets(call.parameters.get("TargetMsgkey", ""))
        strike = self._faults.strike(call.parameters, frozenset(target for target, _ in targets))
        return await self._respond(request, replace(push, strike=strike))

    async def _respond(self, request: Request, push: _Push) -> Response:
        fault = push.strike.fault if push.strike else None
        if fault is None:
            response = self._verdict(push)
        elif isinstance(fault, DelayFault):
            response = await self._late(request, push, fault)
        elif isinstance(fault, ResultFault):
            response = self._ordered_result(push, fault)
        elif isinstance(fault, CutBodyFault):
            response = CutResponse(self._cut(push, fault))
        elif isinstance(fault, ResetAfterReadFault):
            self._spoil(push, ClientResponse(None, None, None, "reset"), accept=fault.accept)
            response = ConnectionReset()
        elif isinstance(fault, NotJsonFault):
            self._spoil(push, ClientResponse(fault.status, None, "not JSON"), accept=fault.accept)
            response = not_json(fault.status, fault.body, push.request_id)
        elif isinstance(fault, ResetBeforeReadFault):
            raise TypeError("this request was read already")
        else:
            response = self._reject(
                push, fault.response(), accept=not isinstance(fault, ThrottlingFault) and fault.accept
            )
        return response

    def _verdict(self, push: _Push) -> Response:
        """Judge, record, respond."""
        judged = self._judge(push)
        self._keep(push, judged.outcome, ClientResponse(200, judged.code, judged.message), judged)
        return judged.response(push)

    async def _late(self, request: Request, push: _Push, fault: DelayFault) -> Response:
        accepted = self._verdict(push) if fault.accept else None
        still_there = await self._wait(request, fault.milliseconds / 1000)
        if accepted is not None:
            return accepted
        if still_there:
            return self._verdict(push)
        self._keep(push, "dropped", ClientResponse(None, None, "disconnected during the delay", "left"))
        return Response(status_code=400)

    async def _wait(self, request: Request, seconds: float) -> bool:
        """Wait until the delay, the connection or the server ends; False if the client disconnected."""
        gone = asyncio.ensure_future(request.receive())
        closing = asyncio.ensure_future(self._closing.wait())
        done, _ = await asyncio.wait({gone, closing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        closing.cancel()
        return gone not in done

    def _ordered_result(self, push: _Push, fault: ResultFault) -> Response:
        message = fault.message if fault.message is not None else result_message(fault.code)
        self._spoil(push, ClientResponse(200, fault.code, message), accept=fault.accept, otherwise="refused")
        return push_result(
            version=push.call.version, request_id=push.request_id, code=fault.code, message=message
        )

    def _cut(self, push: _Push, fault: CutBodyFault) -> Response:
        judged = self._judge(push)
        outcome = judged.outcome if fault.accept else "dropped"
        self._keep(push, outcome, ClientResponse(200, judged.code, judged.message, "cut"), judged)
        return judged.response(push)

    def _reject(self, push: _Push, response: GatewayResponse, *, accept: bool = False) -> Response:
        shown = ClientResponse(response.status, response.code, response.shown or response.message)
        self._spoil(push, shown, accept=accept, otherwise="rejected")
        return gateway_error(response, push.request_id, push.host)

    def _spoil(
        self, push: _Push, answer: ClientResponse, *, accept: bool, otherwise: SandboxOutcome = "dropped"
    ) -> None:
        """Record a push whose client does not learn the verdict."""
        if accept:
            judged = self._judge(push)
            self._keep(push, judged.outcome, answer, judged)
        else:
            self._keep(push, otherwise, answer)

    def _judge(self, push: _Push) -> _Judged:
        verdict = judge(push.parameters, push.call.version, self._behaviour, self._clock())
        targets = self._targets(push)
        if verdict.code is None and self._behaviour.repeated_ids == "refuse":
            again = next((pair for pair in targets if pair.repeated), None)
            if again is not None:
                verdict = repeated_id_verdict(again.target, again.message_id, verdict.notes)
        accepted = verdict.code is None
        return _Judged(
            outcome="accepted" if accepted else "refused",
            code=verdict.code or self._behaviour.success_code,
            message=verdict.message,
            task_id=uuid.uuid4().hex if accepted and push.scheduled else None,
            targets=targets,
            notes=verdict.notes,
        )

    def _targets(self, push: _Push) -> tuple[Target, ...]:
        pairs = read_targets(push.parameters.get("TargetMsgkey", ""))
        before = self._store.accepted_before(
            id_scope(push.parameters), [message_id for _, message_id in pairs]
        )
        return tuple(Target(target, message_id, message_id in before) for target, message_id in pairs)

    def _keep(
        self, push: _Push, outcome: SandboxOutcome, answer: ClientResponse, judged: _Judged | None = None
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
                answer=answer,
                fault=push.strike.document() if push.strike else None,
                task_id=judged.task_id if judged and outcome == "accepted" else None,
                parameters=without_secret_parameters(push.parameters),
                targets=judged.targets if judged else self._targets(push),
                notes=judged.notes if judged else (),
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
    return authorization.access_key_id if authorization else call.system("AccessKeyId") or None


def _new_request_id() -> str:
    return str(uuid.uuid4()).upper()
