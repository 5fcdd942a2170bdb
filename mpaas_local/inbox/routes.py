"""The JSON API of the inbox by subject: pushes, sending, faults, queues, figures."""

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

from mpaas_local.fault_book import order_errors
from mpaas_local.inbox.bodies import (
    LARGEST_SEQ,
    Again,
    Figures,
    MessageId,
    Messages,
    PushDetails,
    PushPage,
    PushQuery,
    QueueList,
    SendOrder,
    Sent,
    Shown,
)
from mpaas_local.inbox.copies import copies_of
from mpaas_local.inbox.dead_letters import NotSendable, message_in_dead_letter
from mpaas_local.inbox.message_view import message_of_parameters, view_of, warnings_of
from mpaas_local.inbox.overview import overview
from mpaas_local.mns.errors import MnsError
from mpaas_local.mns.view import message_json, queue_json
from mpaas_local.mpaas.bodies import ActiveFaults, Deleted, OrderedFault
from mpaas_local.mpaas.injected_faults import FAULT_ORDER
from mpaas_local.mpaas.responses import Json
from mpaas_local.mpaas.store import Filter, dump_json
from mpaas_push import PushMessage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpaas_local.fc.call_log import CallLog
    from mpaas_local.inbox.changes import Changes
    from mpaas_local.mns import MnsStore
    from mpaas_local.mpaas.injected_faults import PushFaults
    from mpaas_local.mpaas.store import Store

__all__ = ["Entrypoints", "fault_routes", "figure_routes", "push_routes", "queue_routes", "send_routes"]

PEEK = 100

Seq = Annotated[int, Path(ge=0, le=LARGEST_SEQ)]


class Entrypoints(Protocol):
    """Where the page sends messages."""

    @property
    def http_url(self) -> str:
        """URL of the HTTP function."""

    @property
    def sandbox_url(self) -> str:
        """URL of the sandbox."""

    def tick(self, payload: str) -> str:
        """Fire a timer with this payload and return the request id."""

    def enqueue(self, body: str) -> str:
        """Put a message into the queue of the queue function and return its id."""

    @property
    def dead_letter_queue(self) -> str:
        """Name of the dead-letter queue."""

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment variables of the HTTP function, including the stack's endpoints."""

    @property
    def region(self) -> str:
        """Region in signatures."""

    @property
    def audience_bucket(self) -> str | None:
        """Bucket for the audiences of campaigns; None without a bucket."""


def push_routes(store: Store, entrypoints: Entrypoints) -> APIRouter:
    """Return the routes of the pushes that the sandbox received."""
    router = APIRouter(tags=["pushes"])

    @router.get("/api/pushes", responses={200: {"model": PushPage}})
    def list_pushes(query: Annotated[PushQuery, Query()]) -> Response:
        """List pushes, newest first."""
        criteria = Filter(
            limit=query.limit,
            before=query.before,
            after=query.after,
            outcome=query.outcome,
            target=query.target or None,
            text=query.text or None,
            delivery=query.delivery_type,
            trigger=query.trigger,
        )
        total, entries = store.find(criteria)
        return Json({"total": total, "pushes": [_row(entry) for entry in entries]})

    @router.delete("/api/pushes")
    def clear_pushes() -> Deleted:
        """Delete all pushes."""
        return Deleted(deleted=store.clear())

    @router.get("/api/pushes/{seq}", responses={200: {"model": PushDetails}})
    def show_push(seq: Seq) -> Response:
        """Show a push: request, response, attempts, preview, and the call that caused it."""
        entry = _entry(store, seq)
        message = message_of_parameters(entry["parameters"] or {})
        call = store.call_of(seq) or {}
        return Json(
            {
                "push": entry,
                "row": _row(entry),
                "message": message,
                "shown": view_of(message, at=_received(entry)),
                "attempts": [_row(attempt) for attempt in store.attempts_of(seq)],
                "call": call if "function" in call else None,
                "campaign": call.get("campaign"),
                "copies": copies_of(message, entrypoints.http_url, entrypoints.sandbox_url),
            }
        )

    @router.post("/api/pushes/{seq}/again", responses={200: {"model": Sent}})
    def send_again(seq: Seq, order: Again) -> Response:
        """Send a push again, as a new message with new message ids."""
        message = message_of_parameters(_entry(store, seq)["parameters"] or {})
        return _send(SendOrder(body=message, via=order.via), entrypoints)

    return router


def send_routes(entrypoints: Entrypoints) -> APIRouter:
    """Return the routes that compose and send messages."""
    router = APIRouter(tags=["sending"])

    @router.get("/api/schema")
    def schema() -> dict[str, Any]:
        """Return the JSON schema of a message."""
        return PushMessage.model_json_schema()

    @router.post("/api/shown", responses={200: {"model": Shown}})
    def show_message(message: dict[str, Any]) -> Response:
        """Preview a message in each channel, without sending it."""
        return Json(view_of(message))

    @router.post("/api/send", responses={200: {"model": Sent}})
    def send(order: SendOrder) -> Response:
        """Send a message through the HTTP function, as the payload of a timer, or through the queue."""
        return _send(order, entrypoints)

    return router


def fault_routes(faults: PushFaults, changes: Changes) -> APIRouter:
    """Return the routes of the sandbox's faults."""
    router = APIRouter(tags=["faults"])

    @router.get("/api/faults", responses={200: {"model": ActiveFaults}})
    def list_faults() -> Response:
        """List the active faults."""
        return Json({"faults": faults.active()})

    @router.get("/api/faults/schema")
    def fault_schema() -> dict[str, Any]:
        """Return the JSON schema of a fault."""
        return FAULT_ORDER.json_schema()

    @router.post("/api/faults", status_code=201, responses={201: {"model": OrderedFault}})
    def order_fault(order: dict[str, Any]) -> Response:
        """Inject a fault; without `next` and `rate` it affects one request."""
        try:
            ordered = faults.order(FAULT_ORDER.validate_json(json.dumps(order)))
        except ValidationError as error:
            errors = [
                {"type": "fault", "loc": ("body", *filter(None, [wrong["field"]])), "msg": wrong["message"]}
                for wrong in order_errors(error)
            ]
            raise RequestValidationError(errors) from None
        changes.announce("faults")
        return Json(ordered, 201)

    @router.delete("/api/faults")
    def clear_faults() -> Deleted:
        """Cancel all faults."""
        deleted = Deleted(deleted=faults.clear())
        changes.announce("faults")
        return deleted

    return router


def queue_routes(queues: MnsStore, entrypoints: Entrypoints) -> APIRouter:
    """Return the routes of the queues and the dead letters."""
    router = APIRouter(tags=["queues"])
    sending_back = Lock()

    @router.get("/api/queues", responses={200: {"model": QueueList}})
    def list_queues() -> Response:
        """List the queues with their message counts."""
        listed = [queue_json(queue) for queue in queues.queues()]
        return Json({"deadLetterQueue": entrypoints.dead_letter_queue, "queues": listed})

    @router.get("/api/queues/{name}/messages", responses={200: {"model": Messages}})
    def list_messages(name: str) -> Response:
        """Show the messages of a queue, at most 100, without receiving them."""
        try:
            messages = queues.messages(name, limit=PEEK)
            return Json({"messages": [message_json(message) for message in messages]})
        except MnsError as error:
            raise HTTPException(error.status, error.text) from None

    @router.post("/api/queues/{name}/messages/{message_id}/back")
    def send_back(name: str, message_id: str) -> MessageId:
        """Send the message of a dead letter to the queue of the queue function, then delete the dead letter.

        The message has the targets that received nothing. If the dead letter has no message, its original
        body is sent. If the queue refuses the message, the dead letter stays.
        """
        if name != entrypoints.dead_letter_queue:
            raise HTTPException(
                409, f"Only dead letters of {entrypoints.dead_letter_queue} can be sent back."
            )
        with sending_back:  # a double click sends the dead letter only once
            dead_letter = queues.find(name, message_id)
            if dead_letter is None:
                raise HTTPException(404, "This dead letter does not exist.")
            try:
                sent = entrypoints.enqueue(message_in_dead_letter(message_json(dead_letter)["text"]))
            except NotSendable as error:
                raise HTTPException(409, str(error)) from None
            except MnsError as error:
                raise HTTPException(error.status, error.text) from None
            queues.remove(name, message_id)
        return MessageId(message_id=sent)

    return router


def figure_routes(store: Store, calls: CallLog, queues: MnsStore, entrypoints: Entrypoints) -> APIRouter:
    """Return the route of the overview's figures."""
    router = APIRouter(tags=["figures"])

    @router.get("/api/overview", responses={200: {"model": Figures}})
    def show_overview() -> Response:
        """Show the figures of the last half hour."""
        dead_letters = queues.queue(entrypoints.dead_letter_queue)
        return Json({**overview(store, calls.calls()), "deadLetters": dead_letters.active_messages})

    return router


def _entry(store: Store, seq: int) -> dict[str, Any]:
    entry = store.get(seq)
    if entry is None:
        raise HTTPException(404, f"Push {seq} does not exist.")
    return entry


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the `PushRow` of an entry."""
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
    started = time.perf_counter()
    response = urllib3.request("POST", url, body=text.encode(), headers=_JSON, retries=False, timeout=90)
    try:
        body = json.loads(response.data)
    except ValueError:
        body = {"detail": response.data.decode(errors="replace")}
    if isinstance(body, dict):
        body["durationMs"] = round((time.perf_counter() - started) * 1000, 1)
    return _sent(order, response.status, body)


def _sent(order: SendOrder, status: int | None, result: Any) -> Response:
    """Respond with a `Sent`."""
    return Json({"via": order.via, "status": status, "answer": result})


_JSON = {"Content-Type": "application/json"}
