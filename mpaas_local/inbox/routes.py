"""The JSON API of the inbox, by what it is about: pushes, sending, faults, queues, figures."""

from __future__ import annotations

import json
import time
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import urllib3
from fastapi import APIRouter, HTTPException, Path, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from mpaas_local.inbox.bodies import (
    LARGEST_SEQ,
    Again,
    Figures,
    MessageId,
    Messages,
    PushDetails,
    PushPage,
    PushQuery,
    Queues,
    SendOrder,
    Sent,
    Shown,
)
from mpaas_local.inbox.copies import copies_of
from mpaas_local.inbox.dead_letters import NotSendable, message_in_letter
from mpaas_local.inbox.overview import overview
from mpaas_local.inbox.showing import message_of_parameters, shown, warnings_of
from mpaas_local.mns.errors import MnsError
from mpaas_local.mns.view import message_json, queue_json
from mpaas_local.mpaas.bodies import ActiveFaults, Deleted, OrderedFault
from mpaas_local.mpaas.faults import FAULT_ORDER
from mpaas_local.mpaas.responses import Json
from mpaas_local.mpaas.store import Filter, dump_json
from mpaas_push import PushMessage

if TYPE_CHECKING:
    from mpaas_local.fc.call_log import CallLog
    from mpaas_local.inbox.changes import Changes
    from mpaas_local.mns import MnsStore
    from mpaas_local.mpaas.faults import FaultBook
    from mpaas_local.mpaas.store import Store

__all__ = ["Entrypoints", "fault_routes", "figure_routes", "push_routes", "queue_routes", "send_routes"]

PEEK = 100

Seq = Annotated[int, Path(ge=0, le=LARGEST_SEQ)]


class Entrypoints(Protocol):
    """Where the page sends messages into the stack."""

    @property
    def http_url(self) -> str:
        """Where the HTTP function answers."""

    @property
    def sandbox_url(self) -> str:
        """Where the sandbox answers."""

    def tick(self, payload: str) -> str:
        """Fire a timer with this payload; returns the request id."""

    def enqueue(self, body: str) -> str:
        """Put a message into the queue of the queue function; returns its id."""

    @property
    def dead_letter_queue(self) -> str:
        """The name of the queue of what was given up."""


def push_routes(store: Store, entrypoints: Entrypoints) -> APIRouter:
    """What the sandbox received."""
    router = APIRouter(tags=["pushes"])

    @router.get("/api/pushes", responses={200: {"model": PushPage}})
    def list_pushes(query: Annotated[PushQuery, Query()]) -> Response:
        """List pushes, newest first."""
        wanted = Filter(
            limit=query.limit,
            before=query.before,
            after=query.after,
            outcome=query.outcome,
            target=query.target or None,
            text=query.text or None,
            delivery=query.delivery_type,
            trigger=query.trigger,
        )
        total, entries = store.find(wanted)
        return Json({"total": total, "pushes": [_row(entry) for entry in entries]})

    @router.delete("/api/pushes")
    def clear_pushes() -> Deleted:
        """Forget every push."""
        return Deleted(deleted=store.clear())

    @router.get("/api/pushes/{seq}", responses={200: {"model": PushDetails}})
    def show_push(seq: Seq) -> Response:
        """Show a push: request, answer, attempts, how it looks, and the call that caused it."""
        entry = _entry(store, seq)
        message = message_of_parameters(entry["parameters"] or {})
        return Json(
            {
                "push": entry,
                "row": _row(entry),
                "message": message,
                "shown": shown(message, at=_received(entry)),
                "attempts": [_row(each) for each in store.attempts_of(seq)],
                "call": store.call_of(seq),
                "copies": copies_of(message, entrypoints.http_url, entrypoints.sandbox_url),
            }
        )

    @router.post("/api/pushes/{seq}/again", responses={200: {"model": Sent}})
    def send_again(seq: Seq, order: Again) -> Response:
        """Send a push again, as a new message with message ids of its own."""
        message = message_of_parameters(_entry(store, seq)["parameters"] or {})
        return _send(SendOrder(body=message, via=order.via), entrypoints)

    return router


def send_routes(entrypoints: Entrypoints) -> APIRouter:
    """Messages to come."""
    router = APIRouter(tags=["sending"])

    @router.get("/api/schema")
    def schema() -> dict[str, Any]:
        """Give the JSON schema of a message."""
        return PushMessage.model_json_schema()

    @router.post("/api/shown", responses={200: {"model": Shown}})
    def show_message(message: dict[str, Any]) -> Response:
        """Show a message as each channel would, without sending it."""
        return Json(shown(message))

    @router.post("/api/send", responses={200: {"model": Sent}})
    def send(order: SendOrder) -> Response:
        """Send something through the HTTP function, as a timer's payload, or to the queue."""
        return _send(order, entrypoints)

    return router


def fault_routes(faults: FaultBook, changes: Changes) -> APIRouter:
    """What the sandbox is ordered to do wrong."""
    router = APIRouter(tags=["faults"])

    @router.get("/api/faults", responses={200: {"model": ActiveFaults}})
    def list_faults() -> Response:
        """List the faults that may still strike."""
        return Json({"faults": faults.active()})

    @router.get("/api/faults/schema")
    def fault_schema() -> dict[str, Any]:
        """Give the JSON schema of an order."""
        return FAULT_ORDER.json_schema()

    @router.post("/api/faults", status_code=201, responses={201: {"model": OrderedFault}})
    def order_fault(order: dict[str, Any]) -> Response:
        """Order a fault; without `next` and `rate` it strikes the next request only."""
        try:
            ordered = faults.order(FAULT_ORDER.validate_json(json.dumps(order)))
        except ValidationError as error:
            errors = error.errors(include_url=False, include_context=False, include_input=False)
            raise RequestValidationError(
                [{**each, "loc": ("body", *each["loc"][1:])} for each in errors]
            ) from None
        changes.tell("faults")
        return Json(ordered, 201)

    @router.delete("/api/faults")
    def clear_faults() -> Deleted:
        """Cancel every fault."""
        deleted = Deleted(deleted=faults.clear())
        changes.tell("faults")
        return deleted

    return router


def queue_routes(queues: MnsStore, entrypoints: Entrypoints) -> APIRouter:
    """The queues, and what was given up."""
    router = APIRouter(tags=["queues"])
    one_at_a_time = Lock()

    @router.get("/api/queues", responses={200: {"model": Queues}})
    def list_queues() -> Response:
        """List the queues with how much is in them."""
        listed = [queue_json(each) for each in queues.queues()]
        return Json({"deadLetterQueue": entrypoints.dead_letter_queue, "queues": listed})

    @router.get("/api/queues/{name}/messages", responses={200: {"model": Messages}})
    def list_messages(name: str) -> Response:
        """Look into a queue, at most 100 messages; nothing is taken out."""
        try:
            return Json({"messages": [message_json(each) for each in queues.messages(name, limit=PEEK)]})
        except MnsError as error:
            raise HTTPException(error.status, error.text) from None

    @router.post("/api/queues/{name}/messages/{message_id}/back")
    def send_back(name: str, message_id: str) -> MessageId:
        """Put a dead letter's message into the queue of the queue function, then remove the letter.

        The message names the targets that got nothing; where the letter has none, its original goes back.
        What the queue refuses stays a dead letter.
        """
        if name != entrypoints.dead_letter_queue:
            raise HTTPException(409, f"Only letters of {entrypoints.dead_letter_queue} can be sent back.")
        with one_at_a_time:  # of two clicks, one finds the letter gone
            letter = queues.find(name, message_id)
            if letter is None:
                raise HTTPException(404, "There is no such dead letter.")
            try:
                sent = entrypoints.enqueue(message_in_letter(message_json(letter)["text"]))
            except NotSendable as error:
                raise HTTPException(409, str(error)) from None
            except MnsError as error:
                raise HTTPException(error.status, error.text) from None
            queues.remove(name, message_id)
        return MessageId(message_id=sent)

    return router


def figure_routes(store: Store, calls: CallLog, queues: MnsStore, entrypoints: Entrypoints) -> APIRouter:
    """The overview."""
    router = APIRouter(tags=["figures"])

    @router.get("/api/overview", responses={200: {"model": Figures}})
    def show_overview() -> Response:
        """Sum up the last half hour."""
        letters = queues.queue(entrypoints.dead_letter_queue)
        return Json({**overview(store, calls.calls()), "deadLetters": letters.active_messages})

    return router


def _entry(store: Store, seq: int) -> dict[str, Any]:
    entry = store.get(seq)
    if entry is None:
        raise HTTPException(404, f"There is no push {seq}.")
    return entry


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    """Write an entry as a `PushRow`."""
    parameters = entry["parameters"] or {}
    targets = entry["targets"]
    return {
        "seq": entry["seq"],
        "receivedAt": entry["receivedAt"],
        "trigger": entry["trigger"],
        "taskName": parameters.get("TaskName", ""),
        "title": parameters.get("Title", ""),
        "content": parameters.get("Content", ""),
        "deliveryType": parameters.get("DeliveryType", ""),
        "targets": len(targets),
        "firstTarget": targets[0]["target"] if targets else "",
        "outcome": entry["outcome"],
        "code": entry["answer"]["code"],
        "fault": (entry["fault"] or {}).get("kind"),
        "warnings": len(entry["notes"]) + warnings_of(message_of_parameters(parameters), at=_received(entry)),
    }


def _received(entry: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(entry["receivedAt"].replace("Z", "+00:00"))


def _send(order: SendOrder, entrypoints: Entrypoints) -> Response:
    text = dump_json(order.body).decode()
    if order.via == "timer":
        return _sent(order, None, {"requestId": entrypoints.tick(text)})
    if order.via == "queue":
        try:
            return _sent(order, None, {"messageId": entrypoints.enqueue(text)})
        except MnsError as error:
            raise HTTPException(error.status, error.text) from None
    url = f"{entrypoints.http_url}/v1/pushes{'?dryRun=true' if order.dry_run else ''}"
    began = time.perf_counter()
    answer = urllib3.request("POST", url, body=text.encode(), headers=_JSON, retries=False, timeout=90)
    try:
        body = json.loads(answer.data)
    except ValueError:
        body = {"detail": answer.data.decode(errors="replace")}
    if isinstance(body, dict):
        body["durationMs"] = round((time.perf_counter() - began) * 1000, 1)
    return _sent(order, answer.status, body)


def _sent(order: SendOrder, status: int | None, answer: Any) -> Response:
    """Answer with a `Sent`."""
    return Json({"via": order.via, "status": status, "answer": answer})


_JSON = {"Content-Type": "application/json"}
