"""Constraints on what texts and targets hold: blanks, characters that a decoder lost, ids that nobody meant.

No page states them: each can be switched. Those that judge every message look at all of its targets together
before they look at each.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mpaas_push.errors import Fault, mask_id
from mpaas_push.invisible import invisible_character
from mpaas_push.message.constraints.constraint import Constraint, Level, unconfirmed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mpaas_push.message.fields import MessageFields

__all__ = ["TEXTS"]

_REPLACEMENT = "\ufffd"
_TARGETS = ("targets", "targetMsgkey")
_NEVER_MEANT = frozenset(
    {"null", "(null)", "nil", "<nil>", "none", "undefined", "nan", "[object object]", "true", "false"}
)
_ORDINARY = re.compile(r"[\w@.:+/=~-]+", re.ASCII)
_PLACEHOLDER = re.compile(
    r"\$\{|\{\{|<%|%\(\w+\)[sd]"  # of templates, wherever they stand
    r"|^(\{.*\}|<.*>|\[.*\]|#.+#|%.+%|%[sd]|\$\w+)$",
    re.DOTALL,
)


@unconfirmed(
    "texts-not-blank",
    source="UNSURE: result codes 3003, 3019 and 3024 speak of empty ones; pushsimple.md: Result codes",
    reads=("taskName", "title", "content", "appId", "workspaceId"),
    level=Level.ERROR,
)
def blank_texts(message: MessageFields, _: datetime) -> Iterator[Fault]:
    for name, text in (
        ("taskName", message.task_name),
        ("title", message.title),
        ("content", message.content),
        ("appId", message.app_id),
        ("workspaceId", message.workspace_id),
    ):
        if text is not None and text.isspace():
            yield Fault(name, "must not be blank")


@unconfirmed(
    "targets-not-blank",
    source="UNSURE: result code 3021 speaks of empty ones; pushsimple.md: Result codes",
    reads=_TARGETS,
    level=Level.ERROR,
)
def blank_targets(message: MessageFields, _: datetime) -> Iterator[Fault]:
    ids = message.target_msgkey or {}
    if not _has_blank("".join([*(message.targets or ()), *ids, *ids.values()])):
        return
    for index, target in _targets(message):
        if target.isspace():
            yield Fault(_path(index, target), "must not be blank")
        elif target in ids and ids[target].isspace():
            yield Fault(_path(index, target), "must not have a blank message id")


@unconfirmed(
    "replacement-character",
    source="UNSURE: result code 3031 asks for UTF-8, and U+FFFD stands for what was none; "
    "pushsimple.md: Result codes",
    reads=(
        *("taskName", "title", "content", "uri", "targets", "targetMsgkey", "extendedParams"),
        *("smsSignName", "smsTemplateParam"),
    ),
    level=Level.ERROR,
)
def replacement_characters(message: MessageFields, _: datetime) -> Iterator[Fault]:
    lost = "holds U+FFFD, which stands for a character that was lost in decoding; send the original text"
    for name, text in (
        ("taskName", message.task_name),
        ("title", message.title),
        ("content", message.content),
        ("uri", message.uri),
        ("smsSignName", message.sms_sign_name),
    ):
        if text is not None and _REPLACEMENT in text:
            yield Fault(name, lost)
    for name, values in (
        ("extendedParams", message.extended_params),
        ("smsTemplateParam", message.sms_template_param),
    ):
        if values and any(_REPLACEMENT in str(value) or _REPLACEMENT in key for key, value in values.items()):
            yield Fault(name, lost)
    ids = message.target_msgkey or {}
    if _REPLACEMENT in "".join([*(message.targets or ()), *ids, *ids.values()]):
        for index, target in _targets(message):
            if _REPLACEMENT in target or _REPLACEMENT in ids.get(target, ""):
                yield Fault(_path(index, target), lost)


@unconfirmed(
    "targets-meant",
    source="UNSURE: what programs write for a value that is missing; pushsimple.md: What users stumble over",
    reads=_TARGETS,
)
def odd_targets(message: MessageFields, _: datetime) -> Iterator[Fault]:
    for index, target in _targets(message):
        if target.lower() in _NEVER_MEANT:
            flaw = "looks like a missing value that was written as text"
        elif _ORDINARY.fullmatch(target) or target.isspace():
            continue
        elif _PLACEHOLDER.search(target):
            flaw = "looks like a placeholder that was not filled"
        elif all(map(invisible_character, target)):
            flaw = "has no visible character"
        elif target != target.strip():
            flaw = "begins or ends with a blank"
        elif hidden := invisible_character(target):
            flaw = f"holds a character that cannot be seen ({hidden})"
        else:
            continue
        yield Fault(_path(index, target), flaw)


@unconfirmed(
    "targets-unicode-form",
    source="UNSURE: Unicode has several forms of one text; pushsimple.md: What users stumble over",
    reads=_TARGETS,
)
def same_in_another_form(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if all(target.isascii() for _, target in _targets(message)):
        return
    from unicodedata import normalize  # most targets are ASCII

    first: dict[str, str] = {}
    for index, target in _targets(message):
        path = _path(index, target)
        other = first.setdefault(normalize("NFKC", target), path)
        if other != path:
            yield Fault(path, f"differs from `{other}` in its Unicode form only; they may be one target")


TEXTS: tuple[Constraint, ...] = (
    blank_texts,
    blank_targets,
    replacement_characters,
    odd_targets,
    same_in_another_form,
)


def _targets(message: MessageFields) -> Iterator[tuple[int | None, str]]:
    """Yield the index of each of `targets`, None for a key of `targetMsgkey`, and its id."""
    yield from enumerate(message.targets or ())
    for target in message.target_msgkey or ():
        yield None, target


def _path(index: int | None, target: str) -> str:
    return f"targetMsgkey.{mask_id(target)}" if index is None else f"targets.{index}"


def _has_blank(text: str) -> bool:
    return len(text.split(None, 1)) != 1 or text != text.strip()
