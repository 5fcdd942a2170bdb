"""Rules for iOS Live Activities (pushsimple.md: Live Activity)."""

from __future__ import annotations

from mpaas_local.mpaas.judgement.push import Push, read_long, refuse

__all__ = ["check_live_activity"]


_LATEST_SECONDS = 10**11


def check_live_activity(push: Push) -> None:
    """Refuse faulty content states and dismissal dates."""
    if push.has("ActivityContentState"):
        push.json_object("ActivityContentState", "3028")
    if push.has("DismissalDate"):
        seconds = read_long(push.text("DismissalDate"))
        if seconds is None or seconds < 0:
            refuse("3028", "DismissalDate", "must be a Unix time in seconds")
        if seconds > _LATEST_SECONDS:
            push.notes.append("DismissalDate looks like milliseconds; it must be a Unix time in seconds")
    if not push.behaviour.live_activity_rules or push.text("DeliveryType") not in {"5", "6"}:
        return
    if not push.has("ActivityEvent"):
        refuse("3028", "ActivityEvent", f"is required with DeliveryType {push.text('DeliveryType')}")
    if push.text("ActivityEvent") != "end" and not push.has_object("ActivityContentState"):
        refuse("3028", "ActivityContentState", "is required unless ActivityEvent is end")
