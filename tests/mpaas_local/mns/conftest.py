from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mpaas_local.mns import MnsServer
from tests.clocks import ManualClock
from tests.mpaas_local.mns.sdk import QueueMeta, connected

if TYPE_CHECKING:
    from collections.abc import Iterator


class RunningServer(MnsServer):
    """A server for the whole run; each test sets its own clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        super().__init__(clock=self._time)

    def _time(self) -> float:
        return self.clock.time()

    def clear(self) -> None:
        for queue in self.store.queues():
            self.store.delete_queue(queue.name)
        for topic in self.store.topics.all():
            self.store.topics.delete(topic.name)


@pytest.fixture(scope="session")
def running_server() -> Iterator[RunningServer]:
    with RunningServer() as server:
        yield server


@pytest.fixture
def clock(running_server: RunningServer) -> ManualClock:
    running_server.clock = ManualClock()
    return running_server.clock


@pytest.fixture
def server(running_server: RunningServer, clock: ManualClock) -> MnsServer:
    """A server without queues and topics, whose delays and visibility timeouts follow `clock`."""
    del clock
    running_server.clear()
    return running_server


@pytest.fixture
def account(server: MnsServer) -> Iterator[Any]:
    with connected(server.endpoint) as account:
        yield account


@pytest.fixture
def queue(account: Any) -> Any:
    """An empty queue, visibility timeout 30 s."""
    queue = account.get_queue("orders")
    queue.create(QueueMeta())
    return queue
