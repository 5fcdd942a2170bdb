from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(code: str, function: str = "http_push") -> str:
    """Run code in an interpreter of its own: what is imported here already would decide the test."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT / "functions" / function,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_push_loads_no_http_client_of_the_sdk() -> None:
    loaded = run("import mpaas_push, sys; print(*sys.modules)").split()

    assert "aliyunsdkmpaas.request.v20190821.PushSimpleRequest" in loaded
    for unused in (
        "aliyunsdkcore.vendored.requests",
        "aliyunsdkcore.client",
        "urllib.request",
        "http.client",
    ):
        assert unused not in loaded


def test_the_http_function_loads_no_resolver_of_other_services() -> None:
    loaded = run("import index, sys; print(*sys.modules)").split()

    for unused in (
        "asyncio",
        "aws_lambda_powertools.event_handler.appsync",
        "mpaas_push.message.advice",
        "openapi",
    ):
        assert unused not in loaded


@pytest.mark.parametrize("function", ["timer_push", "queue_push"])
def test_a_log_of_plain_lines_loads_no_powertools(function: str) -> None:
    """Powertools formats exceptions and JSON, which most instances never log."""
    loaded = run(
        "import index, logging, sys\n"
        "from mpaas_push.log import function_log\n"
        "function_log()\n"
        "logging.getLogger('mpaas_push.test').info('sent %d', 3)\n"
        "print(*sys.modules)",
        function,
    )

    assert '"message":"sent 3"' in loaded
    assert "aws_lambda_powertools" not in loaded.split()


@pytest.mark.parametrize("function", ["http_push", "timer_push", "queue_push", "event_push", "campaign_push"])
def test_modules_of_a_function_are_exempt_from_garbage_collection(function: str) -> None:
    """The collector would look through them again and again while they are imported."""
    told = run("import gc, index; print(gc.isenabled(), gc.get_freeze_count() > 10_000)", function)

    assert told == "True True"


def test_the_whole_sdk_works_beside_it() -> None:
    told = run(
        "import mpaas_push\n"
        "from aliyunsdkcore.client import AcsClient\n"
        "from aliyunsdkmpaas.request.v20190821.PushSimpleRequest import PushSimpleRequest\n"
        "request = PushSimpleRequest()\n"
        "AcsClient('id', 'secret', 'cn-hangzhou')\n"
        "agent = request.request_user_agent()\n"
        "print(type(agent).__module__, request.get_url('cn-hangzhou', 'id', 'secret')[:10])"
    )

    assert told == "aliyunsdkcore.vendored.requests.structures /?Version="


def test_the_whole_event_handler_works_beside_it() -> None:
    told = run(
        "import index\n"
        "from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, AppSyncResolver, Response\n"
        "from mpaas_push.triggers.http import HttpResolver\n"
        "print(issubclass(HttpResolver, APIGatewayHttpResolver.__mro__[1]))"
    )

    assert told == "True"


def test_an_sdk_that_was_there_before_is_left_alone() -> None:
    told = run(
        "from aliyunsdkcore.client import AcsClient\n"
        "import aliyunsdkcore.vendored.requests as requests\n"
        "import mpaas_push, sys\n"
        "print(sys.modules['aliyunsdkcore.vendored.requests'] is requests, requests.Session.__name__)"
    )

    assert told == "True Session"
