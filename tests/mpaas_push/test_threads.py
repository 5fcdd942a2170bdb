from __future__ import annotations

import threading
import time

import pytest

from mpaas_push.threads import run_concurrently


def test_each_item_is_processed_once_concurrently() -> None:
    barrier = threading.Barrier(4, timeout=60)
    done: list[int] = []

    def work(item: int) -> None:
        barrier.wait()
        done.append(item)

    run_concurrently(work, range(8), threads=4)

    assert sorted(done) == list(range(8))


def test_items_are_processed_when_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done: list[int] = []

    run_concurrently(done.append, range(8), threads=4)

    assert done == list(range(8))


def test_no_work_continues_after_the_caller_is_interrupted() -> None:
    barrier = threading.Barrier(2, timeout=60)
    started: list[int] = []
    done: list[int] = []

    def work(item: int) -> None:
        started.append(item)
        if item < 2:
            barrier.wait()
        if threading.current_thread() is caller:
            raise KeyboardInterrupt
        time.sleep(0.05)
        done.append(item)

    caller = threading.current_thread()
    with pytest.raises(KeyboardInterrupt):
        run_concurrently(work, range(8), threads=2)
    finished = len(done)

    assert len(started) == finished + 1
    assert "push-helper" not in {thread.name for thread in threading.enumerate()}


def test_no_item_is_started_after_the_deadline() -> None:
    done: list[int] = []

    run_concurrently(done.append, range(8), threads=4, until=time.monotonic() - 1)

    assert done == []
