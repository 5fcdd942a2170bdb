from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mpaas_local.mpaas import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Sandbox:
    """The sandbox with default settings, an empty inbox and no ordered faults."""
    running_sandbox.clear()
    return running_sandbox
