"""What people see: buckets and objects as JSON, read only, without a signature."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from mpaas_local.clock import utc_text
from mpaas_local.oss.errors import OssError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpaas_local.oss.model import StoredObject
    from mpaas_local.oss.store import OssStore

__all__ = ["VIEW", "show"]

VIEW = ".local"
"""Where the view is: no bucket can have this name."""

_PAGE = 1000


def show(store: OssStore, path: str, query: Mapping[str, str]) -> Response:
    """`GET /.local/buckets`, and `GET /.local/buckets/{name}/objects?prefix=`, its first thousand.

    Raises:
        OssError: `NoSuchBucket`, or `NoSuchKey` for any other path.
    """
    match path.split("/"):
        case ["buckets"]:
            buckets = [{"name": each.name, "created": utc_text(each.created)} for each in store.buckets()]
            return _json({"buckets": buckets})
        case ["buckets", name, "objects"]:
            listing = store.list_objects(name, prefix=query.get("prefix", ""), limit=_PAGE)
            return _json(
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


def _json(body: Any) -> Response:
    text = json.dumps(body, ensure_ascii=False, indent=2) + "\n"
    return Response(text.encode(), media_type="application/json", headers={"cache-control": "no-store"})
