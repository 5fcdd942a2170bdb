"""Title, content and the other texts of a message, such as task name, address and SMS parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpaas_push.errors import Fault
from mpaas_push.message.constraints.constraint import Constraint, Level, unconfirmed
from mpaas_push.message.constraints.targets import iterate_targets, target_path
from mpaas_push.message.fields import ALIASES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mpaas_push.message.fields import MessageFields

__all__ = ["TITLE_AND_CONTENT"]

_REPLACEMENT = "\ufffd"


@unconfirmed(
    "texts-not-blank",
    source="UNSURE: result codes 3003, 3019 and 3024 mention empty ones; pushsimple.md: Result codes",
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
    source="UNSURE: result code 3031 requires UTF-8, and U+FFFD replaces what was not UTF-8; "
    "pushsimple.md: Result codes",
    reads=("targets", "targetMsgkey", *_TEXTS_AND_OBJECTS),
    level=Level.ERROR,
)
def replacement_characters(message: MessageFields, _: datetime) -> Iterator[Fault]:
    flaw = "contains U+FFFD, which replaces a character that was lost in decoding; send the original text"
    values = vars(message)
    if faulty := [name for name in message.model_fields_set & _ATTRIBUTES if _has_replacement(values[name])]:
        yield from (Fault(alias, flaw) for name, alias in ALIASES.items() if name in faulty)
    ids = message.target_msgkey or {}
    if _REPLACEMENT in "".join([*(message.targets or ()), *ids, *ids.values()]):
        for index, target in iterate_targets(message):
            if _REPLACEMENT in target or _REPLACEMENT in ids.get(target, ""):
                yield Fault(target_path(index, target), flaw)


_ATTRIBUTES = {name for name, alias in ALIASES.items() if alias in _TEXTS_AND_OBJECTS}


def _has_replacement(value: Any) -> bool:
    if type(value) is str:
        return _REPLACEMENT in value
    return any(_REPLACEMENT in key or _REPLACEMENT in str(child) for key, child in (value or {}).items())


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
