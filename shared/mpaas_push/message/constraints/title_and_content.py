"""Title and content, with the other texts of a message: task name, address, and what SMS says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpaas_push.errors import Fault
from mpaas_push.message.constraints.constraint import Constraint, Level, unconfirmed
from mpaas_push.message.constraints.targets import each_target, target_path
from mpaas_push.message.fields import ALIASES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mpaas_push.message.fields import MessageFields

__all__ = ["TITLE_AND_CONTENT"]

_REPLACEMENT = "\ufffd"


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


_TEXTS_AND_OBJECTS = (
    *("taskName", "title", "content", "appId", "workspaceId", "tenantId", "uri", "smsSignName"),
    *("smsTemplateCode", "miChannelId", "channelId", "vendorTemplate"),
    *("extendedParams", "imageUrls", "iconUrls", "smsTemplateParam", "thirdChannelCategory"),
    *("notifyLevel", "activityContentState", "transparentMessagePayload"),
)


@unconfirmed(
    "replacement-character",
    source="UNSURE: result code 3031 asks for UTF-8, and U+FFFD stands for what was none; "
    "pushsimple.md: Result codes",
    reads=("targets", "targetMsgkey", *_TEXTS_AND_OBJECTS),
    level=Level.ERROR,
)
def replacement_characters(message: MessageFields, _: datetime) -> Iterator[Fault]:
    lost = "holds U+FFFD, which stands for a character that was lost in decoding; send the original text"
    given = vars(message)
    if faulty := [name for name in message.model_fields_set & _ATTRIBUTES if _was_lost(given[name])]:
        yield from (Fault(alias, lost) for name, alias in ALIASES.items() if name in faulty)
    ids = message.target_msgkey or {}
    if _REPLACEMENT in "".join([*(message.targets or ()), *ids, *ids.values()]):
        for index, target in each_target(message):
            if _REPLACEMENT in target or _REPLACEMENT in ids.get(target, ""):
                yield Fault(target_path(index, target), lost)


_ATTRIBUTES = {name for name, alias in ALIASES.items() if alias in _TEXTS_AND_OBJECTS}


def _was_lost(value: Any) -> bool:
    if type(value) is str:
        return _REPLACEMENT in value
    return any(_REPLACEMENT in key or _REPLACEMENT in str(below) for key, below in (value or {}).items())


@unconfirmed(
    "uri-form",
    source="UNSURE: inferred from the examples of uri and pushAction; pushsimple.md: Other rules",
    reads=("pushAction", "uri"),
)
def click_address(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if not message.push_action and message.uri is not None and ":" not in message.uri:
        yield Fault(
            "uri",
            "with pushAction 0 should start with http://, https:// or a scheme of the app, such as mpaas://; "
            "a native page needs pushAction 1",
        )


TITLE_AND_CONTENT: tuple[Constraint, ...] = (blank_texts, replacement_characters, click_address)
