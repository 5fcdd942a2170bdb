"""JSON as the services of the cloud write it: without spaces, in UTF-8."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["compact_json"]


def compact_json(value: Any) -> bytes:
    """Return JSON without spaces, in UTF-8; characters that cannot be encoded become question marks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
