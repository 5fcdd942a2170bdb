"""JSON as the cloud's services write it: without spaces, in UTF-8."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["compact_json"]


def compact_json(value: Any) -> bytes:
    """Write JSON without spaces, in UTF-8; what cannot be encoded becomes a question mark."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
