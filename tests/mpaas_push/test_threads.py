from __future__ import annotations

import threading
import time

import pytest

from mpaas_push.threads import run_concurrently


def test_items_are_worked_on_side_by_side_each_once() -> None:
    together = threading.Barrier(4, timeout=60)
    done: list[int] = []

    def work(item: int) -> None:
        together.wait()
        done.append(item)

    run_concurrently(work, range(8), threads=4)

    assert sorted(done) == list(range(8))


def test_a_thread_that_cannot_be_started_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done: list[int] = []

    run_concurrently(done.append, range(8), threads=4)

    assert done == list(range(8))


def test_nothing_goes_on_behind_a_caller_that_is_interrupted() -> None:
    both = threading.Barrier(2, timeout=60)
    begun: list[int] = []
    done: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        if item < 2:
            both.wait()
        if threading.current_thread() is caller:
            raise KeyboardInterrupt
        time.sleep(0.05)
        done.append(item)

    caller = threading.current_thread()
    with pytest.raises(KeyboardInterrupt):
        run_concurrently(work, range(8), threads=2)
    seen = len(done)

    assert len(begun) == seen + 1
    assert "push-helper" not in {thread.name for thread in threading.enumerate()}


def test_nothing_is_begun_after_the_deadline() -> None:
    done: list[int] = []

    run_concurrently(done.append, range(8), threads=4, until=time.monotonic() - 1)

    assert done == []
