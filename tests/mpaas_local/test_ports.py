from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from mpaas_local.ports import unassigned_port

ROOT = Path(__file__).resolve().parents[2]


def test_unassigned_port_is_free_and_below_those_that_systems_assign() -> None:
    port = unassigned_port()
    assert 20_000 <= port < 32_000
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_search_for_a_port_ends_if_no_socket_can_be_opened() -> None:
    code = (
        "import resource; from mpaas_local.ports import unassigned_port;"
        " resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0)); unassigned_port()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Too many open files" in done.stderr
