"""The queues, topics and policies that `deploy.prepare` creates, on the local queue server by the official SDK."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from mpaas_local.mns import MnsServer
from mpaas_local.mns.model import QueueAttributes
from mpaas_local.mpaas import AccessKey
from project.descriptor import read_functions
from project.wiring import mns_queues, mns_topics
from tests.descriptors import PROJECT
from tests.servers import closed_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"admin": AccessKey("swordfish")}
ENV = {
    "ALIBABA_CLOUD_ACCOUNT_ID": "1000000000000000",
    "ALIBABA_CLOUD_REGION_ID": "cn-shanghai",
    "MPAAS_APP_ID": "ONEX1",
    "UPLOADS_BUCKET": "our-uploads",
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "admin",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "swordfish",
}


@pytest.fixture
def queues() -> Iterator[MnsServer]:
    with MnsServer(access_keys=KEYS) as server:
        yield server


Prepare = Callable[[str, dict[str, str]], tuple[int, str]]


@pytest.fixture
def prepare(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Return a function that runs the command, which writes policies to `tmp_path`, and returns its exit code and
    output.
    """
    from deploy.prepare import main  # late: it imports the SDKs of four services

    def run(stage: str, env: dict[str, str]) -> tuple[int, str]:
        options = ["--stage", stage, "--policies", str(tmp_path), "--folder", str(PROJECT)]
        monkeypatch.setattr(sys, "argv", ["prepare", *options])
        with patch.dict(os.environ, env, clear=True), warnings.catch_warnings():
            # The SDK calls its own deprecated setters, and does not close its sockets.
            warnings.simplefilter("ignore")
            code = main()
            gc.collect()
        printed = capsys.readouterr()
        assert "swordfish" not in printed.out + printed.err
        return code, printed.out + printed.err

    return run


def test_queues_and_topic_are_created_once(queues: MnsServer, prepare: Prepare) -> None:
    env = ENV | {"PUSH_MNS_ENDPOINT": queues.endpoint}

    code, printed = prepare("staging", env)

    assert code == 0, printed
    names = {f"mpaas-push{part}-staging" for part in ("", "-retry", "-dead", "-batches", "-failed")}
    assert {name for name in names if f"queue   {name}\n" in printed} == names
    assert "topic   mpaas-push-staging\n" in printed
    assert {queue.name for queue in queues.store.queues()} == names
    # Messages are hidden longer than a function may run (`timeout: 60`).
    assert {queue.attributes.visibility_timeout for queue in queues.store.queues()} == {90}

    assert prepare("staging", env)[0] == 0


@pytest.mark.parametrize(
    ("before", "after", "message"), [(30, 90, "raised from 30 s to 90 s"), (600, 600, "not changed")]
)
def test_visibility_timeout_of_an_existing_queue_is_raised_if_too_short(
    queues: MnsServer, prepare: Prepare, before: int, after: int, message: str
) -> None:
    queues.store.create_queue(
        "mpaas-push-staging", QueueAttributes(visibility_timeout=before, delay_seconds=7)
    )

    code, printed = prepare("staging", ENV | {"PUSH_MNS_ENDPOINT": queues.endpoint})

    assert code == 0, printed
    (line,) = (text for text in printed.splitlines() if text.startswith("queue   mpaas-push-staging "))
    assert message in line
    attributes = queues.store.queue("mpaas-push-staging").attributes
    assert (attributes.visibility_timeout, attributes.delay_seconds) == (after, 7)


def test_rabbitmq_queue_is_not_an_mns_queue(tmp_path: Path) -> None:
    project = shutil.copytree(PROJECT, tmp_path / "project")
    path = project / "s.sources.yaml"
    old = "VirtualHostName: push\n                  QueueName: mpaas-push-${vars.stage}"
    text = path.read_text("utf-8")
    assert old in text
    text = text.replace(old, old.replace("mpaas-push-", "of-rabbitmq-")).replace(
        "stage: sources", "stage: dev"
    )
    path.write_text(text)

    functions = read_functions(path, {}).values()

    assert mns_queues(functions) == {
        f"mpaas-push{part}-dev" for part in ("", "-retry", "-dead", "-batches", "-failed")
    }
    assert mns_topics(functions) == {"mpaas-push-dev"}


def test_policies_are_written_with_the_names_of_the_stage(
    queues: MnsServer, tmp_path: Path, prepare: Prepare
) -> None:
    prepare("prod", ENV | {"PUSH_MNS_ENDPOINT": queues.endpoint})

    written = {path.stem: path.read_text() for path in tmp_path.glob("*.json")}
    assert written.keys() == {"prod-function", "prod-deployer", "prod-trust"}
    assert "${" not in "".join(written.values())
    function = json.loads(written["prod-function"])["Statement"]
    assert function[0]["Condition"] == {"StringEquals": {"mpaas:AppId": ["ONEX1"]}}
    assert function[1]["Resource"][0] == (
        "acs:mns:cn-shanghai:1000000000000000:/queues/mpaas-push-retry-prod/messages"
    )
    assert "fc.aliyuncs.com" in written["prod-trust"]


def test_missing_setting_is_reported_and_nothing_is_created(tmp_path: Path, prepare: Prepare) -> None:
    code, printed = prepare("dev", {name: ENV[name] for name in ENV if name != "MPAAS_APP_ID"})

    assert code == 2
    assert "MPAAS_APP_ID is not set" in printed
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"ALIBABA_CLOUD_ACCESS_KEY_ID": "nobody"},
            "queue   mpaas-push-batches-dev: InvalidAccessKeyId at http://",
        ),
        ({"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "x"}, "check ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
    ],
)
def test_failed_creation_is_reported_with_advice(
    queues: MnsServer, prepare: Prepare, wrong: dict[str, str], message: str
) -> None:
    code, printed = prepare("dev", ENV | {"PUSH_MNS_ENDPOINT": queues.endpoint} | wrong)

    assert code == 1
    assert message in printed


def test_unreachable_endpoint_is_reported(prepare: Prepare) -> None:
    endpoint = f"http://127.0.0.1:{closed_port()}"

    code, printed = prepare("dev", ENV | {"PUSH_MNS_ENDPOINT": endpoint})

    assert code == 1
    assert f"queue   mpaas-push-batches-dev: NetWorkException at {endpoint}: no response" in printed
    assert "PUSH_MNS_ENDPOINT" in printed
    assert printed.count("NetWorkException") == 1  # the other queues are not tried


def test_nothing_is_created_without_a_key(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.prepare", "--folder", str(PROJECT), "--policies", str(tmp_path)]

    result = subprocess.run(
        command,
        cwd=ROOT,
        env=ENV | {"ALIBABA_CLOUD_ACCESS_KEY_SECRET": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 2
    assert "ALIBABA_CLOUD_ACCESS_KEY_SECRET" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())
