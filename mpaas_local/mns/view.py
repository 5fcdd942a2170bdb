"""A read-only view for people: queues and their messages as JSON, without a signature."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast, get_args

from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from mpaas_local.mns.errors import MnsError
from mpaas_local.mns.model import State, decode_body
from mpaas_local.view_json import view_json, view_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from mpaas_local.mns.model import Message, Queue
    from mpaas_local.mns.store import MnsStore

__all__ = ["message_json", "queue_json", "view_routes"]

_PAGE = 100
_LARGEST_PAGE = 1000
_LARGEST_NUMBER = 2**31
_NUMBER = re.compile("[0-9]{1,18}")


def view_routes(store: MnsStore) -> list[Route]:
    """`GET /.local/queues`, and `GET /.local/queues/{name}/messages?state=&limit=&offset=`."""

    def queues(_: Request) -> Any:
        return {"queues": [queue_json(queue) for queue in store.queues()]}

    def messages(request: Request) -> Any:
        name: str = request.path_params["name"]
        query = request.query_params
        unknown = set(query) - {"state", "limit", "offset"}
        if unknown:
            raise ValueError(
                f"unknown parameters: {', '.join(sorted(unknown))}; allowed: state, limit, offset"
            )
        state = query.get("state")
        if state is not None and state not in get_args(State):
            raise ValueError(f"state is {state!r}; allowed: {', '.join(get_args(State))}")
        page = store.messages(
            name,
            cast("State | None", state),
            limit=_number(query, "limit", _PAGE, _LARGEST_PAGE),
            offset=_number(query, "offset", 0, _LARGEST_NUMBER),
        )
        return {
            "queue": queue_json(store.queue(name)),
            "messages": [message_json(message) for message in page],
        }

    return [
        Route("/.local/queues", _json_endpoint(queues), methods=["GET"]),
        Route("/.local/queues/{name}/messages", _json_endpoint(messages), methods=["GET"]),
    ]


def _json_endpoint(show: Callable[[Request], Any]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        try:
            return view_json(await run_in_threadpool(show, request))
        except MnsError as error:
            return view_problem(error.status, error.code, error.text)
        except ValueError as error:
            return view_problem(400, "Bad Request", str(error))

    return endpoint


def queue_json(queue: Queue) -> dict[str, Any]:
    """A queue as the view shows it."""
    attributes = {_camel(name): value for name, value in asdict(queue.attributes).items()}
    return {
        "name": queue.name,
        "activeMessages": queue.active_messages,
        "inactiveMessages": queue.inactive_messages,
        "delayMessages": queue.delay_messages,
        "createTime": queue.create_time,
        "lastModifyTime": queue.last_modify_time,
        **attributes,
    }


def message_json(message: Message) -> dict[str, Any]:
    """A message as the view shows it; `text` is the body decoded from base64."""
    return {
        "messageId": message.id,
        "state": message.state,
        "messageBody": message.body,
        "text": decode_body(message.body),
        "messageBodyMD5": message.body_md5,
        "priority": message.priority,
        "enqueueTime": message.enqueue_time,
        "firstDequeueTime": message.first_dequeue_time,
        "nextVisibleTime": message.next_visible_time,
        "dequeueCount": message.dequeue_count,
        "messageGroupId": message.group_id,
        "userProperties": [asdict(item) for item in message.user_properties],
        "systemProperties": [asdict(item) for item in message.system_properties],
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _number(query: Mapping[str, str], name: str, default: int, high: int) -> int:
    text = query.get(name, str(default))
    if not (_NUMBER.fullmatch(text) and int(text) <= high):
        raise ValueError(f"{name} is {text!r}; must be an integer from 0 to {high}")
    return int(text)
