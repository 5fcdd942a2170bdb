"""Campaigns as deployed: http_push and campaign_push in their own instances, with OSS, Redis and the sandbox."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
import urllib3

from mpaas_local.account import Account
from mpaas_local.fc.api import Callee, create_api
from mpaas_local.fc.asynchronous import AsyncConfig, AsyncQueue
from mpaas_local.fc.function import Function
from mpaas_local.fc.host import FunctionHost
from mpaas_local.fc.http_trigger import create_gateway
from mpaas_local.mpaas import AccessKey, Sandbox
from mpaas_local.mpaas.store import Filter
from mpaas_local.oss.server import OssServer
from mpaas_local.oss.store import OssStore
from mpaas_local.server import Server
from mpaas_push.campaign.objects import OssObjects
from mpaas_push.credentials import Credentials
from mpaas_push.settings import Settings
from tests.fork_server import start_forked
from tests.functions.http_stack import ROLE, Response, assert_described

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

ROOT = Path(__file__).resolve().parents[2]
BUCKET = "marketing"


def document(campaign: str = "double11", **changes: Any) -> dict[str, Any]:
    return {
        "campaign": campaign,
        "message": {
            "taskName": "double11",
            "title": "It starts at eight",
            "content": "Half price on everything.",
            "deliveryType": 3,
            "expiredSeconds": 14400,
        },
        "audience": {"bucket": BUCKET, "key": f"audiences/{campaign}.csv", "target": "user_id"},
    } | changes


@dataclass(kw_only=True)
class CampaignStack:
    """A context manager: `put` an audience, then `start` a campaign."""

    folder: Path
    redis_url: str
    environment: dict[str, str] = field(default_factory=dict)
    timeout: float = 60
    workers: int = 2
    duplicates: float = 0.0
    seed: int = 1
    lines: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        if self.redis_url:
            with redis.Redis.from_url(self.redis_url) as client:
                client.flushall()  # campaigns of another stack may have the same ids
        with ExitStack() as opened:
            keys = {ROLE.access_key_id: AccessKey(ROLE.access_key_secret, ROLE.security_token)}
            self.sandbox = opened.enter_context(Sandbox(access_keys=keys))
            store = OssStore(self.folder / "oss")
            opened.callback(store.close)
            self.oss = opened.enter_context(OssServer(store, access_keys=keys))
            store.create_bucket(BUCKET)
            callees: dict[str, Callee] = {}
            api = opened.enter_context(Server(create_api(callees, access_keys=keys)))
            environment = {
                "MPAAS_ENDPOINT": self.sandbox.url,
                "MPAAS_APP_ID": "ONEX570DA89211721",
                "MPAAS_WORKSPACE_ID": "test",
                "PUSH_FC_ENDPOINT": api.url,
                "PUSH_OSS_ENDPOINT": self.oss.endpoint,
                "PUSH_LEDGER_URL": self.redis_url,
                "PUSH_CAMPAIGN_FUNCTION": "campaign_push",
                "PUSH_LOG_LEVEL": "WARNING",
            } | self.environment

            def host(name: str, timeout: float, limit: int) -> FunctionHost:
                function = Function(
                    name=name,
                    folder=ROOT / "functions" / name,
                    timeout=timeout,
                    layers=(ROOT / "shared",),
                    environment=environment,
                )
                account = Account(credentials=ROLE)
                return opened.enter_context(
                    FunctionHost(function, account=account, limit=limit, on_log=self._log, start=start_forked)
                )

            self.http_host = host("http_push", 60, 4)
            self.timer_host = host("timer_push", 60, 1)
            self.host = host("campaign_push", self.timeout, self.workers)
            self.queue = opened.enter_context(
                AsyncQueue(
                    "campaign_push",
                    self.host.invoke,
                    config=AsyncConfig(task_mode=True),
                    account=Account(credentials=ROLE),
                    concurrency=self.workers,
                    duplicates=self.duplicates,
                    seed=self.seed,
                )
            )
            callees["campaign_push"] = Callee(self.host.invoke, self.queue)
            self.url = opened.enter_context(Server(create_gateway(self.http_host))).url
            self.http = opened.enter_context(urllib3.PoolManager(retries=False, timeout=60))
            settings = Settings(oss_endpoint=self.oss.endpoint)
            keys_of_role = Credentials(ROLE.access_key_id, ROLE.access_key_secret, ROLE.security_token)
            self.objects = OssObjects(settings, keys_of_role)
            opened.callback(self.objects.close)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _log(self, _: str, __: str, line: str) -> None:
        self.lines.append(line)

    def put(self, key: str, text: str) -> None:
        self.objects.write(BUCKET, key, text.encode())

    def request(self, method: str, path: str, body: Any = None) -> Response:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        raw = self.http.request(method, self.url + path, body=data, headers=headers)
        response = Response(raw.status, raw.headers, raw.data)
        _, _, campaign, *action = [*path.partition("?")[0].split("/")[1:], ""][:4]
        described = "/".join(["/v1/campaigns", *(["{id}"] if campaign else []), *filter(None, action)])
        assert_described(method, described, response)
        return response

    def start(self, body: Any) -> Response:
        return self.request("POST", "/v1/campaigns", body)

    def show(self, campaign: str = "double11") -> Any:
        response = self.request("GET", f"/v1/campaigns/{campaign}")
        assert response.status == 200, response.data
        return response.json

    def wait(
        self, campaign: str = "double11", *, states: tuple[str, ...] = ("done",), seconds: float = 60
    ) -> Any:
        """Wait until a campaign has one of the states; return it."""
        return self.wait_until(lambda shown: shown["state"] in states, campaign, seconds=seconds)

    def wait_until(
        self, condition: Callable[[Any], bool], campaign: str = "double11", *, seconds: float = 60
    ) -> Any:
        """Wait until a condition holds for a campaign; return it."""
        deadline = time.monotonic() + seconds
        while not condition(shown := self.show(campaign)):
            assert time.monotonic() < deadline, (shown, self.lines[-20:])
            time.sleep(0.2)  # the functions under test need the processor as well
        return shown

    def reached(self) -> Counter[str]:
        """How often mPaaS accepted a push for each target."""
        counts: Counter[str] = Counter()
        before = None
        while True:
            _, entries = self.sandbox.store.find(Filter(limit=1000, outcome="accepted", before=before))
            counts.update(pair["target"] for entry in entries for pair in entry["targets"])
            if len(entries) < 1000:
                return counts
            before = entries[-1]["seq"]
