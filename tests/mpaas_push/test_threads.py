from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from mpaas_push.threads import side_by_side

if TYPE_CHECKING:
    import pytest


def test_items_are_worked_on_side_by_side_each_once() -> None:
    together = threading.Barrier(4, timeout=20)
    done: list[int] = []

    def work(item: int) -> None:
        together.wait()
        done.append(item)

    side_by_side(work, range(8), threads=4)

    assert sorted(done) == list(range(8))


def test_a_thread_that_cannot_be_started_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done: list[int] = []

    side_by_side(done.append, range(8), threads=4)

    assert done == list(range(8))


def test_nothing_is_begun_after_the_deadline() -> None:
    done: list[int] = []

    side_by_side(done.append, range(8), threads=4, until=time.monotonic() - 1)

    assert done == []
