"""Rules for the SMS that may follow a push (pushsimple.md: SMS)."""

from __future__ import annotations

from mpaas_local.mpaas.judgement.push import MAX_INT, Push, read_long, refuse

__all__ = ["check_sms"]


def check_sms(push: Push) -> None:
    """Refuse an SMS strategy without signature, template or parameters."""
    if push.has("SmsTemplateParam"):
        push.json_object("SmsTemplateParam", "3028")
    if not push.has("SmsStrategy"):
        return
    strategy = read_long(push.text("SmsStrategy"))
    if strategy is None or not 0 <= strategy <= MAX_INT:
        refuse("3028", "SmsStrategy", f"is {push.text('SmsStrategy')!r}; it must be an integer, 0 or more")
    if strategy == 0:
        return
    if strategy > 2:  # the two modes of the console (pushsimple.md: Strategies and SMS and Live Activity)
        push.notes.append(f"SmsStrategy {strategy} is not 0, 1 or 2")
    for name in ("SmsSignName", "SmsTemplateCode", "SmsTemplateParam"):
        if not push.has(name):
            refuse("3028", name, f"is required with SmsStrategy {strategy}")
