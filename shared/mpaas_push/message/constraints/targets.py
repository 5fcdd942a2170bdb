"""The targets of a message: target ids, and the message id of each.

For speed, most checks test all targets of a message at once; only if that fails do they test each one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mpaas_push.errors import Fault, mask_id
from mpaas_push.invisible import invisible_character
from mpaas_push.message.constraints.constraint import Constraint, Level, documented, unconfirmed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mpaas_push.message.fields import MessageFields

__all__ = ["TARGETS", "iterate_targets", "target_path"]

_TARGETS = ("targets", "targetMsgkey")
_MISSING_VALUES = frozenset(
    {"null", "(null)", "nil", "<nil>", "none", "undefined", "nan", "[object object]", "true", "false"}
)
_ORDINARY = re.compile(r"[\w@.:+/=~-]+", re.ASCII)
_PLACEHOLDER = (
    r"(?s)\$\{|\{\{|<%|%\(\w+\)[sd]"  # of templates, anywhere in the id
    r"|^(\{.*\}|<.*>|\[.*\]|#.+#|%.+%|%[sd]|\$\w+)$"
)


@documented(
    "one-kind-of-target",
    source="Simple push page: targetMsgkey is required; `targets` is this project's shorthand for "
    "it; pushsimple.md: Core parameters",
    reads=("targets", "targetMsgkey"),
    always=True,
)
def one_kind_of_target(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if message.targets is None:
        if message.target_msgkey is None:
            yield Fault(
                "targetMsgkey",
                "a target is required: give `targetMsgkey` (target id to message id) or `targets` "
                "(target ids; message ids are then derived)",
            )
    elif message.target_msgkey is not None:
        yield Fault("targets", "give either `targets` or `targetMsgkey`, not both")
    if message.targets is not None and not message.targets:
        yield Fault("targets", "must name at least one target")
    if message.target_msgkey is not None and not message.target_msgkey:
        yield Fault("targetMsgkey", "must name at least one target")


@documented(
    "targets-distinct",
    source="Simple push page: targetMsgkey is a map, so a target is in it once; "
    "pushsimple.md: Core parameters",
    reads=("targets",),
)
def distinct_targets(message: MessageFields, _: datetime) -> Iterator[Fault]:
    targets = message.targets
    if targets is not None and len(set(targets)) != len(targets):
        first: dict[str, int] = {}
        for index, target in enumerate(targets):
            if first.setdefault(target, index) != index:
                yield Fault(
                    f"targets.{index}", f"is the same target as `targets.{first[target]}`; remove one"
                )


@documented(
    "message-ids-distinct",
    source='Simple push page: the business message id "must be unique"; '
    "pushsimple.md: Core parameters, The same message id twice",
    reads=("targetMsgkey",),
)
def distinct_message_ids(message: MessageFields, _: datetime) -> Iterator[Fault]:
    pairs = message.target_msgkey
    if pairs is not None and len(set(pairs.values())) != len(pairs):
        first: dict[str, str] = {}
        for target, message_id in pairs.items():
            if first.setdefault(message_id, target) != target:
                yield Fault(
                    f"targetMsgkey.{mask_id(target)}",
                    "has the same message id as another target; message ids must be distinct, "
                    "for example <event id>-1, <event id>-2",
                )


@unconfirmed(
    "targets-not-blank",
    source="UNSURE: result code 3021 mentions empty ones; pushsimple.md: Result codes",
    reads=_TARGETS,
    level=Level.ERROR,
)
def blank_targets(message: MessageFields, _: datetime) -> Iterator[Fault]:
    ids = message.target_msgkey or {}
    if not _has_blank("".join([*(message.targets or ()), *ids, *ids.values()])):
        return
    for index, target in iterate_targets(message):
        if target.isspace():
            yield Fault(target_path(index, target), "must not be blank")
        elif target in ids and ids[target].isspace():
            yield Fault(target_path(index, target), "must not have a blank message id")


@unconfirmed(
    "targets-meant",
    source="UNSURE: what programs write for a missing value; pushsimple.md: What users stumble over",
    reads=_TARGETS,
)
def odd_targets(message: MessageFields, _: datetime) -> Iterator[Fault]:
    for index, target in iterate_targets(message):
        if target.lower() in _MISSING_VALUES:
            flaw = "looks like a missing value that was written as text"
        elif _ORDINARY.fullmatch(target) or target.isspace():
            continue
        elif re.search(_PLACEHOLDER, target):
            flaw = "looks like a placeholder that was not filled in"
        elif all(map(invisible_character, target)):
            flaw = "has no visible character"
        elif target != target.strip():
            flaw = "begins or ends with whitespace"
        elif hidden := invisible_character(target):
            flaw = f"contains an invisible character ({hidden})"
        else:
            continue
        yield Fault(target_path(index, target), flaw)


@unconfirmed(
    "targets-unicode-form",
    source="UNSURE: Unicode has several forms of one text; pushsimple.md: What users stumble over",
    reads=_TARGETS,
)
def unicode_variants(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if all(target.isascii() for _, target in iterate_targets(message)):
        return
    from unicodedata import normalize  # only here, because most targets are ASCII

    first: dict[str, str] = {}
    for index, target in iterate_targets(message):
        path = target_path(index, target)
        other = first.setdefault(normalize("NFKC", target), path)
        if other != path:
            yield Fault(path, f"differs from `{other}` only in its Unicode form; both may be the same target")


TARGETS: tuple[Constraint, ...] = (
    one_kind_of_target,
    distinct_targets,
    distinct_message_ids,
    blank_targets,
    odd_targets,
    unicode_variants,
)


def iterate_targets(message: MessageFields) -> Iterator[tuple[int | None, str]]:
    """Yield the index of each target in `targets`, or None for a key of `targetMsgkey`, and its id."""
    yield from enumerate(message.targets or ())
    for target in message.target_msgkey or ():
        yield None, target


def target_path(index: int | None, target: str) -> str:
    """Return the path of a target: by its index, or by its masked id if it is a key (None)."""
    return f"targetMsgkey.{mask_id(target)}" if index is None else f"targets.{index}"


def _has_blank(text: str) -> bool:
    return len(text.split(None, 1)) != 1 or text != text.strip()
