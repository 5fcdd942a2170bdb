"""The base of models that are read from a user's document: frozen, strict, camelCase, no unknown fields."""

from pydantic import BaseModel, ConfigDict

__all__ = ["StrictModel", "to_camel"]


def to_camel(name: str) -> str:
    """Return a snake_case name in camelCase; `pydantic.alias_generators` needs five regular expressions."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


class StrictModel(BaseModel):
    """A model whose fields are named as in JSON; its errors show no input."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
        defer_build=True,  # most instances read documents of one or two kinds
    )
