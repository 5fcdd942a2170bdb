"""One push, judged by all rules.

`judge` reads the business parameters of one PushSimple request, the sandbox's `Behaviour` and the time. Its
`Verdict` has the result code (pushsimple.md: Result codes), the field at fault, and notes on values that were
accepted although they look wrong. The rules run in the order of `_CHECKS`; the first that fails decides.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpaas_local.mpaas.judgement import appearance, core_parameters, live_activity, sms, strategies
from mpaas_local.mpaas.judgement.parameters import FLATTENED, LEGACY_PARAMETERS, LEGACY_VERSION, PARAMETERS
from mpaas_local.mpaas.judgement.push import Pairs, Push, Refused, read_json, refuse
from mpaas_local.mpaas.result_codes import result_message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mpaas_local.mpaas.judgement.behaviour import Behaviour

__all__ = ["Verdict", "judge", "read_targets", "repeated_id_verdict"]


@dataclass(frozen=True)
class Verdict:
    """The judgement of one push: `code` is None if it is accepted; `message` is the ResultMessage."""

    code: str | None
    message: str
    field: str | None
    notes: tuple[str, ...]


def judge(parameters: Mapping[str, str], version: str, behaviour: Behaviour, now: float) -> Verdict:
    """Judge the business parameters of one request; `now` is in seconds since 1970."""
    notes: list[str] = []
    try:
        known = _known_parameters(parameters, version, behaviour, notes)
        push = Push(known, behaviour, int(now * 1000), notes)
        for check in _CHECKS:
            check(push)
    except Refused as refused:
        message = result_message(refused.code, f"{refused.field} {refused.detail}")
        return Verdict(refused.code, message, refused.field, tuple(notes))
    return Verdict(None, "SUCCESS", None, tuple(notes))


def read_targets(text: str) -> tuple[tuple[str, str], ...]:
    """The readable pairs of a TargetMsgkey, for the inbox and for matching faults."""
    try:
        pairs = read_json(text)
    except ValueError:
        return ()
    if not isinstance(pairs, Pairs):
        return ()
    return tuple(
        (target, message_id if isinstance(message_id, str) else json.dumps(message_id))
        for target, message_id in pairs.items
    )


def repeated_id_verdict(target: str, message_id: str, notes: tuple[str, ...]) -> Verdict:
    """The verdict that refuses a message id that was accepted before."""
    detail = f"TargetMsgkey reuses the message id {message_id!r} for {target!r}"
    return Verdict("3010", result_message("3010", detail), "TargetMsgkey", notes)


def _known_parameters(
    parameters: Mapping[str, str], version: str, behaviour: Behaviour, notes: list[str]
) -> dict[str, str]:
    allowed = LEGACY_PARAMETERS if version == LEGACY_VERSION else PARAMETERS
    known: dict[str, str] = {}
    for name, value in parameters.items():
        stem = name.partition(".")[0]
        base = stem if stem in FLATTENED else name
        if base in allowed:
            known[name] = value
        elif base in PARAMETERS:
            if behaviour.newer_parameters == "refuse":
                refuse("3028", base, f"is not a parameter of {version}; it needs 2020-10-28")
            notes.append(f"{base} is not a parameter of {version} and was ignored; it needs 2020-10-28")
        else:
            notes.append(f"{name} is not a parameter of PushSimple and was ignored")
    return known


_CHECKS: tuple[Callable[[Push], None], ...] = (
    core_parameters.check_encoding,  # 3031 (pushsimple.md: Result codes)
    core_parameters.check_app,  # 3003, 3007, 8012, 8013 (pushsimple.md: Core parameters, Result codes)
    core_parameters.check_texts,  # 3019, 3024 (pushsimple.md: Core parameters)
    core_parameters.check_delivery_type,  # 3009 (pushsimple.md: Core parameters)
    # 3010, 3021, 3028, 3029
    # (pushsimple.md: Core parameters, Rules between fields, The same message id twice)
    core_parameters.check_targets,
    core_parameters.check_expiry,  # 3020, 3026 (pushsimple.md: Core parameters)
    appearance.check_extended_params,  # 3028, 3035, 3044 (pushsimple.md: Extended parameters)
    # 3028 (pushsimple.md: Core parameters, Strategies and SMS and Live Activity)
    core_parameters.check_enumerations,
    appearance.check_vendor_maps,  # 3028 (pushsimple.md: Image keys, Vendor categories, Notify levels)
    strategies.check_strategy,  # 3028 (pushsimple.md: Strategy content)
    sms.check_sms,  # 3028 (pushsimple.md: SMS)
    live_activity.check_live_activity,  # 3028 (pushsimple.md: Live Activity)
    appearance.check_transparent,  # 3028 (pushsimple.md: Other rules)
    core_parameters.check_payload_size,  # 3050 (pushsimple.md: Text lengths)
)
