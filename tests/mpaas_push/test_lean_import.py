from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.code import copy_code
from tests.servers import OK, Server, reply

FUNCTIONS = Path(__file__).resolve().parents[1] / "fixtures" / "project" / "functions"
MESSAGE = {
    "taskName": "order-shipped",
    "title": "title",
    "content": "content",
    "deliveryType": 3,
    "targets": ["user-1"],
    "expiredSeconds": 600,
}


def run(code: str, function: str = "http_push", folder: Path = FUNCTIONS, **environment: str) -> str:
    """Run code in a separate interpreter, free of the modules that this process has imported."""
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=folder / function,
        env=os.environ | environment,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


def test_push_loads_no_http_client_of_the_sdk() -> None:
    loaded = run("import mpaas_push, sys; print(*sys.modules)").split()

    assert "aliyunsdkmpaas.request.v20190821.PushSimpleRequest" in loaded
    for unused_modules in (
        "aliyunsdkcore.vendored.requests",
        "aliyunsdkcore.client",
        "urllib.request",
        "http.client",
    ):
        assert unused_modules not in loaded


UNUSED_MODULES = (
    "asyncio",
    "concurrent.futures",
    "http.client",
    "mns",
    "mpaas_push.campaign.model",
    "mpaas_push.functions",
    "mpaas_push.ledger",
    "mpaas_push.queues.hand_over",
    "mpaas_push.queues.mns",
    "mpaas_push.triggers.destination_record",
    "mpaas_push.triggers.oss",
    "redis",
    "xml.etree.ElementTree",
)
"""Modules that a first push never needs."""
EVENTS: dict[str, Any] = {
    "timer_push": {
        "triggerTime": "2026-01-01T00:00:00Z",
        "triggerName": "morning",
        "payload": json.dumps(MESSAGE),
    },
    "queue_push": [json.dumps({"messageId": "1", "messageBody": json.dumps(MESSAGE)})],
    "event_push": {
        "id": "1",
        "source": "shop.orders",
        "specversion": "1.0",
        "type": "order:Shipped",
        "data": {"order": {"id": "4711", "customer": "user-1", "items": [{"name": "Tea"}]}},
    },
    "http_push": {
        "requestContext": {"http": {"method": "POST", "path": "/v1/pushes"}},
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(MESSAGE),
        "isBase64Encoded": False,
    },
}


@pytest.mark.parametrize(
    ("function", "unused_modules"),
    [
        (
            "timer_push",
            ("aws_lambda_powertools.metrics", "http", "jmespath", "mpaas_push.model_faults", "yaml"),
        ),
        (
            "queue_push",
            ("aws_lambda_powertools.metrics", "http", "jmespath", "mpaas_push.model_faults", "yaml"),
        ),
        ("event_push", ("aws_lambda_powertools.metrics", "http", "mpaas_push.model_faults", "yaml")),
        (
            "http_push",
            (
                "async_dispatch",
                "aws_lambda_powertools.event_handler.appsync",
                "aws_lambda_powertools.logging.logger",
                "aws_lambda_powertools.metrics",
                "aws_lambda_powertools.tracing",
                "aws_lambda_powertools.utilities.data_classes.alb_event",
                "jmespath",
                "openapi",
                "yaml",
            ),
        ),
    ],
)
def test_first_push_loads_no_module_that_only_other_calls_need(
    tmp_path: Path, function: str, unused_modules: tuple[str, ...]
) -> None:
    copy_code(FUNCTIONS, [function], tmp_path, "python3.10")  # as it is uploaded
    code = (
        "import index, sys\n"
        f"print(index.handler({json.dumps(EVENTS[function]).encode()!r}, None))\n"
        "print(*sys.modules)"
    )
    with Server(reply(OK)) as server:
        printed = run(
            code,
            function,
            tmp_path,
            MPAAS_ENDPOINT=f"http://127.0.0.1:{server.port}",
            MPAAS_APP_ID="app",
            MPAAS_WORKSPACE_ID="default",
            MPAAS_AK_ENV="id",
            MPAAS_SK_ENV="secret",
            PUSH_LATE="send",
            PUSH_LOG_LEVEL="WARNING",
        )

    *_, response, loaded = printed.splitlines()
    assert "accepted" in response
    assert not {*UNUSED_MODULES, *unused_modules}.intersection(loaded.split())


@pytest.mark.parametrize("function", ["http_push", "timer_push", "queue_push", "event_push", "campaign_push"])
def test_modules_of_a_function_are_exempt_from_garbage_collection(function: str) -> None:
    """The collector would otherwise traverse them repeatedly during the imports."""
    output = run("import gc, index; print(gc.isenabled(), gc.get_freeze_count() > 10_000)", function)

    assert output == "True True"


def test_complete_sdk_still_works() -> None:
    output = run(
        "import mpaas_push\n"
        "from aliyunsdkcore.client import AcsClient\n"
        "from aliyunsdkmpaas.request.v20190821.PushSimpleRequest import PushSimpleRequest\n"
        "request = PushSimpleRequest()\n"
        "AcsClient('id', 'secret', 'cn-hangzhou')\n"
        "agent = request.request_user_agent()\n"
        "print(type(agent).__module__, request.get_url('cn-hangzhou', 'id', 'secret')[:10])"
    )

    assert output == "aliyunsdkcore.vendored.requests.structures /?Version="


def test_complete_event_handler_still_works() -> None:
    output = run(
        "import index\n"
        "from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, AppSyncResolver, Response\n"
        "from mpaas_push.triggers.http import HttpResolver\n"
        "print(issubclass(HttpResolver, APIGatewayHttpResolver.__mro__[1]))"
    )

    assert output == "True"


def test_resolvers_of_other_services_still_read_their_events() -> None:
    output = run(
        "import index\n"
        "from aws_lambda_powertools import Logger, Metrics\n"
        "from aws_lambda_powertools.event_handler import ALBResolver, APIGatewayHttpResolver\n"
        "for app in ALBResolver(), APIGatewayHttpResolver():\n"
        "    app.get('/hello')(lambda: type(app.current_event).__name__)\n"
        "    http = {'method': 'GET', 'path': '/hello'}\n"
        "    event = {'httpMethod': 'GET', 'path': '/hello', 'rawPath': '/hello', 'headers': {},\n"
        "             'requestContext': {'http': http, 'stage': '$default'}}\n"
        "    print(app.resolve(event, None)['body'])"
    )

    assert output.split() == ["ALBEvent", "APIGatewayProxyEventV2"]


def test_error_in_a_route_is_not_logged_by_powertools() -> None:
    """Powertools logs the text of errors, which may contain a secret."""
    output = run(
        "import logging, sys\n"
        "logging.basicConfig(stream=sys.stdout, level=logging.DEBUG)  # as the runtime's own handler\n"
        "import index\n"
        "logging.getLogger('aws_lambda_powertools.event_handler.api_gateway').error('quoted')"
    )

    assert "quoted" not in output


def test_md5_of_the_sdk_still_works() -> None:
    output = run("import mpaas_push\nfrom aliyunsdkcore.request import md5_sum\nprint(md5_sum('abc'))")

    assert output == "kAFQmDzST7DWlj99KOF/cg=="


def test_sdk_that_was_imported_earlier_is_unchanged() -> None:
    output = run(
        "from aliyunsdkcore.client import AcsClient\n"
        "import aliyunsdkcore.vendored.requests as requests\n"
        "import mpaas_push, sys\n"
        "print(sys.modules['aliyunsdkcore.vendored.requests'] is requests, requests.Session.__name__)"
    )

    assert output == "True Session"
