"""Responses of the routes for people: indented JSON and problem documents (RFC 9457)."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

__all__ = ["PROBLEM_JSON", "problem_document", "view_json", "view_problem"]

PROBLEM_JSON = "application/problem+json"


def view_json(body: Any, status: int = 200, media_type: str = "application/json") -> Response:
    """Return indented JSON that must not be cached."""
    text = json.dumps(body, ensure_ascii=False, indent=2) + "\n"
    return Response(text.encode(), status, media_type=media_type, headers={"cache-control": "no-store"})


def view_problem(status: int, title: str, detail: str) -> Response:
    """Return a problem document."""
    return view_json(problem_document(status, title, detail), status, PROBLEM_JSON)


def problem_document(status: int, title: str, detail: str) -> dict[str, Any]:
    """Return the body of a problem document."""
    return {"type": "about:blank", "title": title, "status": status, "detail": detail}
