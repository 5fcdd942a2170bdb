"""The ways of sending that are compared: ours, the official sample's, and official clients on threads."""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aliyunsdkcore.client import AcsClient
from aliyunsdkmpaas.request.v20190821.PushSimpleRequest import PushSimpleRequest

from mpaas_push import Credentials, Invocation, PushClient, PushMessage, Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

MESSAGE = {
    "taskName": "order-shipped",
    "title": "你的订单已发货",
    "content": "It will arrive tomorrow between 9 and 12. Open the app to follow it.",
    "appId": "ONEX570DA89211721",
    "workspaceId": "default",
    "deliveryType": 3,
    "targets": ["user-4711"],
    "expiredSeconds": 600,
}
KEY, SECRET = "benchmark-key-id", "benchmark-secret"
INVOCATION = Invocation(request_id="benchmark", credentials=Credentials(KEY, SECRET))


def official_request(port: int, number: int = 0) -> PushSimpleRequest:
    """Fill the official request class as the sample of the official page does."""
    request = PushSimpleRequest()
    request.set_endpoint(f"127.0.0.1:{port}")
    request.set_accept_format("JSON")
    request.set_AppId(MESSAGE["appId"])
    request.set_WorkspaceId(MESSAGE["workspaceId"])
    request.set_TaskName(MESSAGE["taskName"])
    request.set_Title(MESSAGE["title"])
    request.set_Content(MESSAGE["content"])
    request.set_DeliveryType(MESSAGE["deliveryType"])
    request.set_ExpiredSeconds(MESSAGE["expiredSeconds"])
    request.set_TargetMsgkey(json.dumps({"user-4711": f"message-{number}"}))
    return request


def sample(port: int, count: int) -> None:
    """Send as the official sample does: a client per call, one call after the other."""
    for number in range(count):
        AcsClient(KEY, SECRET, "cn-hangzhou").do_action_with_exception(official_request(port, number))


def warm_official(port: int) -> Callable[[], Any]:
    """Return a call of one warm official client."""
    client = AcsClient(KEY, SECRET, "cn-hangzhou")
    return lambda: client.do_action_with_exception(official_request(port))


def modern_official(port: int) -> Callable[[], Any]:
    """Return a call of one warm client of `alibabacloud-mpaas20201028`."""
    from alibabacloud_mpaas20201028.client import Client  # slow to import, not always measured
    from alibabacloud_mpaas20201028.models import PushSimpleRequest as ModernRequest
    from alibabacloud_tea_openapi.models import Config

    client = Client(
        Config(
            access_key_id=KEY,
            access_key_secret=SECRET,
            endpoint=f"127.0.0.1:{port}",
            protocol="http",
            max_idle_conns=100,
        )
    )
    return lambda: client.push_simple(
        ModernRequest(
            app_id=MESSAGE["appId"],
            workspace_id=MESSAGE["workspaceId"],
            task_name=MESSAGE["taskName"],
            title=MESSAGE["title"],
            content=MESSAGE["content"],
            delivery_type=MESSAGE["deliveryType"],
            expired_seconds=MESSAGE["expiredSeconds"],
            target_msgkey='{"user-4711":"message-1"}',
        )
    )


def on_threads(call: Callable[[], Any], workers: ThreadPoolExecutor) -> Callable[[int], None]:
    """Return a function that makes many calls on a pool of threads."""

    def call_all(count: int) -> None:
        for future in [workers.submit(call) for _ in range(count)]:
            future.result()

    return call_all


def firebase(port: int) -> Callable[[int], None]:
    """Return `send_each` of firebase-admin, pointed at the loopback server."""
    import firebase_admin  # slow to import, not always measured
    from firebase_admin import credentials, messaging

    class Anonymous(credentials.Base):  # type: ignore[misc]  # the SDK has no types
        def get_credential(self) -> Any:
            return import_module("google.auth.credentials").AnonymousCredentials()

    messaging._MessagingService.FCM_URL = f"http://127.0.0.1:{port}/v1/projects/{{0}}/messages:send"  # noqa: SLF001 - no setting
    app = firebase_admin.initialize_app(Anonymous(), {"projectId": "benchmark"}, name=f"on-{port}")
    notification = messaging.Notification(title=MESSAGE["title"], body=MESSAGE["content"])

    def send_all(count: int) -> None:
        batch = messaging.send_each(
            [messaging.Message(notification=notification, token="user-4711") for _ in range(count)], app=app
        )
        if batch.failure_count:
            raise RuntimeError(batch.responses[0].exception)

    return send_all


def our_client(port: int) -> PushClient:
    """Return our client, pointed at the loopback server."""
    return PushClient(Settings.from_env({"MPAAS_ENDPOINT": f"http://127.0.0.1:{port}"}))


def our_batch(client: PushClient) -> Callable[[int], None]:
    """Return a function that sends many messages in one invocation, reading and checking each."""

    def send_all(count: int) -> None:
        messages = [PushMessage.parse(MESSAGE) for _ in range(count)]
        for (outcome,) in client.send_all(messages, invocation=INVOCATION):
            if not outcome.accepted:
                raise RuntimeError(outcome)

    return send_all
