"""The timer that the demo selects in a user's own descriptor."""

from __future__ import annotations

import pytest

from mpaas_local.demo import message_timer
from mpaas_local.fc.timer_trigger import Timer, Timers

CAMPAIGN = '{"campaign": "daily-{date}"}'


@pytest.mark.parametrize(
    ("payloads", "chosen"),
    [
        ([CAMPAIGN, '{"title": "Good morning"}'], "timer_push/1"),
        (['{"messages": []}', CAMPAIGN], "timer_push/0"),
        (["not JSON"], "timer_push/0"),
        ([CAMPAIGN], None),
        ([], None),
    ],
)
def test_demo_ticks_a_timer_that_sends_messages(payloads: list[str], chosen: str | None) -> None:
    with Timers() as timers:
        for number, payload in enumerate(payloads):
            timer = Timer(
                function="timer_push",
                name=str(number),
                expression="0 0 9 * * *",
                payload=payload,
                enabled=False,
            )
            timers.add(timer, lambda *_, **__: "")

        assert message_timer(timers) == chosen
