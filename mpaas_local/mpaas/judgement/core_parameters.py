"""Rules for the core parameters and the complete message (pushsimple.md: Core parameters)."""

from __future__ import annotations

from mpaas_local.mpaas.call import is_utf8
from mpaas_local.mpaas.judgement.parameters import DELIVERY_TYPES, ENUMERATIONS
from mpaas_local.mpaas.judgement.push import Pairs, Push, read_long, refuse

__all__ = [
    "MAX_TARGETS",
    "check_app",
    "check_delivery_type",
    "check_encoding",
    "check_enumerations",
    "check_expiry",
    "check_payload_size",
    "check_targets",
    "check_texts",
]


MAX_TARGETS = 10
"""Maximum number of pairs in TargetMsgkey (pushsimple.md: Core parameters)."""


def check_encoding(push: Push) -> None:
    """Refuse names and values that are not UTF-8."""
    for name, value in push.parameters.items():
        if not is_utf8(name) or not is_utf8(value):
            refuse("3031", name, "is not UTF-8")


def check_app(push: Push) -> None:
    """Refuse a missing app or workspace, and ids that this sandbox does not accept."""
    for name in ("AppId", "WorkspaceId"):
        if not push.text(name).strip():
            refuse("3003", name, "is missing")
    behaviour = push.behaviour
    for name, code, allowed in (
        ("AppId", "3007", behaviour.app_ids),
        ("WorkspaceId", "8012", behaviour.workspace_ids),
        ("TenantId", "8013", behaviour.tenant_ids),
    ):
        if allowed is not None and push.has(name) and push.text(name) not in allowed:
            refuse(code, name, f"is {push.text(name)!r}; this sandbox accepts {', '.join(sorted(allowed))}")


def check_texts(push: Push) -> None:
    """Refuse an empty task name, title or content."""
    for name, code in (("TaskName", "3019"), ("Title", "3024"), ("Content", "3024")):
        if not push.text(name).strip():
            refuse(code, name, "is empty")


def check_delivery_type(push: Push) -> None:
    """Refuse an undocumented delivery type."""
    if push.text("DeliveryType") not in DELIVERY_TYPES:
        allowed = ", ".join(sorted(DELIVERY_TYPES))
        refuse("3009", "DeliveryType", f"is {push.text('DeliveryType')!r}; allowed: {allowed}")


def check_targets(push: Push) -> None:
    """Refuse missing, duplicate or too many targets, and faulty message ids."""
    name = "TargetMsgkey"
    if not push.has(name):
        refuse("3021", name, "is missing")
    pairs = push.json_object(name, "3021")
    if not pairs.items:
        refuse("3021", name, "has no target")
    if len(pairs.items) > MAX_TARGETS:
        refuse("3029", name, f"has {len(pairs.items)} targets; at most {MAX_TARGETS} are allowed")
    duplicate = pairs.duplicate_key()
    if duplicate is not None:
        refuse("3028", name, f"has the duplicate target {duplicate!r}")
    _check_message_ids(push, name, pairs)


def _check_message_ids(push: Push, name: str, pairs: Pairs) -> None:
    seen: set[str] = set()
    for target, message_id in pairs.items:
        if not target.strip():
            refuse("3021", name, "has an empty target")
        if not isinstance(message_id, str):
            refuse("3010", name, f"has a message id for {target!r} that is not a string")
        if not message_id.strip():
            refuse("3021", name, f"has an empty message id for {target!r}")
        if message_id in seen:
            detail = f"uses the message id {message_id!r} for more than one target"
            if push.behaviour.same_ids == "refuse":
                refuse("3010", name, detail)
            push.notes.append(f"{name} {detail}")
        seen.add(message_id)


def check_expiry(push: Push) -> None:
    """Refuse a validity that is missing, not positive or too long."""
    seconds = read_long(push.text("ExpiredSeconds"))
    if seconds is None or seconds < 1:
        refuse("3020", "ExpiredSeconds", f"is {push.text('ExpiredSeconds')!r}; it must be 1 or more seconds")
    longest = push.behaviour.longest_expiry
    if longest is not None and seconds > longest:
        refuse("3026", "ExpiredSeconds", f"is {seconds}; at most {longest} is allowed")


def check_enumerations(push: Push) -> None:
    """Refuse an undocumented value of an enumeration."""
    for name, allowed in ENUMERATIONS:
        if push.has(name) and push.text(name) not in allowed:
            refuse("3028", name, f"is {push.text(name)!r}; allowed: {', '.join(sorted(allowed))}")


def check_payload_size(push: Push) -> None:
    """Refuse a message that is too long, if the behaviour sets a limit."""
    limit = push.behaviour.payload_bytes
    if limit is None:
        return
    size = sum(len(push.text(name).encode()) for name in ("Title", "Content", "Uri", "ExtendedParams"))
    if size > limit:
        others = "Title, Uri and ExtendedParams"
        refuse("3050", "Content", f"and {others} have {size} bytes; at most {limit} are allowed")
