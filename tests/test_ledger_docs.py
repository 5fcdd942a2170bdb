"""The statements of docs/ledger.md about the server are true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from mpaas_push import Credentials, Invocation, PushClient, PushMessage
from mpaas_push.ledger import Ledger
from mpaas_push.ledger.redis_client import CONNECTIONS
from mpaas_push.settings import Settings
from tests.mpaas_push.message.examples import minimal
from tests.servers import Server

if TYPE_CHECKING:
    from tests.redis_server import RedisServer

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "ledger.md").read_text("utf-8")
INVOCATION = Invocation(request_id="1-2", credentials=Credentials("LTAI-test-id", "test-secret"))


def send(url: str, count: int = 1) -> None:
    messages = [
        PushMessage.parse(minimal() | {"targetMsgkey": {f"user-{index}": f"order-4711-{index}"}})
        for index in range(count)
    ]
    with Server() as server, PushClient.from_env(server.env | {"PUSH_LEDGER_URL": url}) as client:
        outcomes = client.send_all(messages, invocation=INVOCATION)

    assert all(outcome.accepted for (outcome,) in outcomes)


def test_documented_user_has_the_rights_that_the_ledger_needs(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    command, _ = re.findall(r"^ACL SETUSER .+$", TEXT, re.MULTILINE)  # the other one is for campaigns
    with redis.Redis.from_url(redis_server.url) as client:
        client.execute_command(*command.split())
        try:
            url = redis_server.url.replace("//", "//pushes:password@")
            send(url)
            ledger = Ledger(Settings(ledger_url=url))
            failure = ledger.health()
            ledger.close()
        finally:
            client.execute_command("ACL", "DELUSER", "pushes")

    assert failure is None
    assert caplog.records == []


def test_documented_size_of_a_record_is_accurate(redis_server: RedisServer) -> None:
    (size,) = re.findall(r"A record takes (\d+) bytes", TEXT)
    send(redis_server.url, 20)

    with redis.Redis.from_url(redis_server.url) as client:
        sizes = [client.memory_usage(key) or 0 for key in client.keys("mpaas-push:request:*")]

    assert len(sizes) == 20
    assert sum(sizes) / len(sizes) == pytest.approx(int(size), rel=0.15)


def test_script_uses_exactly_the_documented_commands() -> None:
    script = Path(__file__).resolve().parents[1] / "shared" / "mpaas_push" / "ledger" / "ledger.lua"
    used = set(re.findall(r"redis\.p?call\('(\w+)'", script.read_text("utf-8")))
    (sentence,) = re.findall(r"uses nothing but (.+?) on the one key", TEXT, re.DOTALL)

    assert used == set(re.findall(r"`(\w+)`", sentence))


def test_limit_of_connections_is_documented() -> None:
    assert f"at most {CONNECTIONS} connections" in TEXT
