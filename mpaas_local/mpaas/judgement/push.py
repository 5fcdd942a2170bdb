"""A push under judgement: its parameters as text and JSON, the notes on it, the exception that refuses it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpaas_local.mpaas.judgement.behaviour import Behaviour

__all__ = [
    "MAX_INT",
    "MAX_LONG",
    "Pairs",
    "Push",
    "Refused",
    "read_json",
    "read_long",
    "refuse",
    "refuse_duplicate_key",
]

MAX_INT = 2**31 - 1
MAX_LONG = 2**63 - 1

_LONG = re.compile(r"[+-]?[0-9]{1,19}")


@dataclass(frozen=True)
class Pairs:
    """A JSON object as written, duplicate keys included."""

    items: tuple[tuple[str, Any], ...]

    def duplicate_key(self) -> str | None:
        """The first key that occurs twice."""
        seen: set[str] = set()
        for key, _ in self.items:
            if key in seen:
                return key
            seen.add(key)
        return None


class Refused(Exception):
    """A rule refuses the push: the result code, the field, and what is wrong with it."""

    def __init__(self, code: str, field: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.field = field
        self.detail = detail


@dataclass(frozen=True)
class Push:
    """The push that the rules judge.

    Attributes:
        parameters: Those of the API version.
        behaviour: Decides where the reference leaves a choice.
        now_ms: The current time in milliseconds since 1970.
        notes: Collects what looks wrong in an accepted push.
    """

    parameters: Mapping[str, str]
    behaviour: Behaviour
    now_ms: int
    notes: list[str]

    def text(self, name: str) -> str:
        """A parameter, empty if it was not sent."""
        return self.parameters.get(name, "")

    def has(self, name: str) -> bool:
        """Whether a parameter was sent and is not empty."""
        return bool(self.text(name))

    def has_object(self, name: str) -> bool:
        """Whether an object was sent, as JSON or flattened to `name.key`."""
        return self.has(name) or any(field.startswith(name + ".") for field in self.parameters)

    def json_object(self, name: str, code: str) -> Pairs:
        """A parameter as a JSON object; refuses anything else with this code."""
        try:
            value = read_json(self.text(name))
        except ValueError:
            refuse(code, name, "is not JSON")
        if not isinstance(value, Pairs):
            refuse(code, name, "is not a JSON object")
        return value

    def string_map(self, name: str) -> dict[str, str]:
        """A parameter as a JSON object of strings, empty if it was not sent; refuses anything else."""
        if not self.has(name):
            return {}
        pairs = self.json_object(name, "3028")
        refuse_duplicate_key(pairs, name, "3028")
        for key, value in pairs.items:
            if not isinstance(value, str):
                refuse("3028", f"{name}.{key}", "is not a string")
        return dict(pairs.items)


def refuse_duplicate_key(pairs: Pairs, name: str, code: str) -> None:
    """Refuse a parameter whose JSON object has a key twice."""
    duplicate = pairs.duplicate_key()
    if duplicate is not None:
        refuse(code, name, f"has the duplicate key {duplicate!r}")


def refuse(code: str, field: str, detail: str) -> NoReturn:
    """Refuse the push."""
    raise Refused(code, field, detail)


def read_json(text: str) -> Any:
    """Parse JSON, with objects as `Pairs`.

    Raises:
        ValueError: It is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(
            text, object_pairs_hook=lambda pairs: Pairs(tuple(pairs)), parse_constant=_refuse_constant
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_long(text: str) -> int | None:
    """Read a 64-bit integer; None if the text is not one."""
    return int(text) if _LONG.fullmatch(text) and abs(int(text)) <= MAX_LONG else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
