"""Pydantic's errors in the project's words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from mpaas_push.model_faults import faults_of
from mpaas_push.strict_model import StrictModel


class Part(StrictModel):
    first_name: str = "x"


class Document(StrictModel):
    parts: Annotated[list[Part], Field(max_length=2, default_factory=list)]
    flag: bool = True
    ratio: Annotated[float, Field(lt=1, allow_inf_nan=False)] = 0.5
    count: Annotated[int, Field(gt=0, multiple_of=5)] = 5
    code: Annotated[str, Field(pattern="^a$", min_length=1)] = "a"
    words: Annotated[tuple[str, ...], Field(min_length=2)] = ("a", "b")
    kind: Literal["a", "b"] = "a"


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (5, "must be a document"),
        ({"parts": 5}, "parts: must be a list, not a number"),
        (
            {"parts": [{}, {"firstnam": 1}]},
            "parts.1.firstnam: unknown field `firstnam`; did you mean `firstName`?",
        ),
        ({"parts": [{"x": 1}]}, "parts.0.x: unknown field `x`; known fields: `firstName`"),
        (
            {"parts": [{"firstName": True}]},
            "parts.0.firstName: must be text, not true or false: put it in quotes",
        ),
        ({"parts": [{}, {}, {}]}, "parts: must have at most 2 elements"),
        ({"flag": "yes"}, "flag: must be true or false, not text"),
        ({"ratio": "1"}, "ratio: must be a number, not text"),
        ({"ratio": 1.0}, "ratio: must be less than 1"),
        ({"ratio": float("nan")}, "ratio: must be a finite number"),
        ({"count": 5.5}, "count: must be a whole number, not a number with a fraction"),
        ({"count": -5}, "count: must be greater than 0"),
        ({"count": 7}, "count: must be a multiple of 5"),
        ({"code": "b"}, "code: must be a"),
        ({"code": None}, "code: must be text, not null"),
        ({"words": ("a",)}, "words: must have at least 2 elements"),
        ({"kind": "c"}, "kind: must be 'a' or 'b'"),
    ],
)
def test_fault_says_what_is_allowed(data: Any, fault: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Document.model_validate(data)

    allowed = {"": "must be a document", "code": "must be a"}
    assert [*map(str, faults_of(caught.value, {"": Document, "parts.*": Part}, allowed))] == [fault]
