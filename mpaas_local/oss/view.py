"""Routes for people, without signatures: buckets and objects as JSON, and ordered faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from mpaas_local.clock import utc_text
from mpaas_local.fault_book import describe_errors, order_errors
from mpaas_local.oss.errors import OssError
from mpaas_local.oss.injected_faults import FAULT_ORDER
from mpaas_local.view_json import view_json, view_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from mpaas_local.oss.injected_faults import ObjectFaults
    from mpaas_local.oss.model import StoredObject
    from mpaas_local.oss.store import OssStore

__all__ = ["VIEW", "view"]

VIEW = ".local"
"""First segment of their paths; no bucket can have this name."""

_PAGE = 1000


async def view(
    request: Request, path: str, query: Mapping[str, str], store: OssStore, faults: ObjectFaults
) -> Response:
    """Respond to a request below `/.local/`.

    * `GET buckets` lists the buckets, `GET buckets/{name}/objects?prefix=` the first thousand objects of one.
    * `POST faults` orders a fault, `GET faults` lists the active orders, `DELETE faults` cancels them.

    Raises:
        OssError: `NoSuchBucket`, or `NoSuchKey` for any other path.
    """
    match request.method, path:
        case "POST", "faults":
            try:
                order = FAULT_ORDER.validate_json(await request.body())
            except ValidationError as error:
                return view_problem(422, "Invalid fault order", describe_errors(order_errors(error)))
            return view_json(faults.order(order), 201)
        case "GET", "faults":
            return view_json({"faults": faults.active()})
        case "DELETE", "faults":
            return view_json({"deleted": faults.clear()})
        case "GET", _:
            return await run_in_threadpool(_show, store, path, query)
        case _:
            raise OssError("MethodNotAllowed")


def _show(store: OssStore, path: str, query: Mapping[str, str]) -> Response:
    match path.split("/"):
        case ["buckets"]:
            buckets = [
                {"name": bucket.name, "created": utc_text(bucket.created)} for bucket in store.buckets()
            ]
            return view_json({"buckets": buckets})
        case ["buckets", name, "objects"]:
            listing = store.list_objects(name, prefix=query.get("prefix", ""), limit=_PAGE)
            return view_json(
                {
                    "objects": [_object_json(stored) for stored in listing.objects],
                    "more": listing.next_position is not None,
                }
            )
        case _:
            raise OssError("NoSuchKey", Key=path)


def _object_json(stored: StoredObject) -> dict[str, Any]:
    return {
        "key": stored.key,
        "size": stored.size,
        "eTag": stored.etag,
        "lastModified": utc_text(stored.modified),
        "headers": dict(stored.headers),
    }
