"""The examples of docs/http.md, unchanged, against a trigger that verifies signatures."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from mpaas_push.__main__ import main
from tests.descriptors import parse_trigger
from tests.functions.http_stack import ROLE, HttpStack, message

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "http.md").read_text("utf-8")


def example(marker: str) -> str:
    """Return the fenced block after a marker."""
    block = re.search(r"```\w+\n(.*?)```", PAGE.partition(f"<!-- {marker} -->")[2], re.DOTALL)
    assert block
    return block[1]


@pytest.fixture(scope="module")
def trigger() -> Iterator[HttpStack]:
    with HttpStack(verify_signatures=True) as stack:
        yield stack


@pytest.fixture(autouse=True)
def caller(monkeypatch: pytest.MonkeyPatch, trigger: HttpStack) -> None:
    for name in ("MPAAS_AK_ENV", "MPAAS_SK_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", ROLE.access_key_id)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", ROLE.access_key_secret)
    monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", ROLE.security_token or "")
    monkeypatch.setenv("PUSH_HTTP_URL", trigger.url)


@pytest.mark.parametrize(
    ("marker", "printed"), [("httpx", "200 {'accepted': 1}\n"), ("requests", "200 ok\n")]
)
def test_python_examples_succeed(marker: str, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(example(marker), "http.md", "exec"), {})

    assert capsys.readouterr().out == printed


def test_unsigned_request_is_refused(trigger: HttpStack) -> None:
    assert trigger.get("/v1/health").status == 400


def test_command_line_examples_succeed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "push.json").write_text(json.dumps(message()), "utf-8")
    commands = [shlex.split(line) for line in example("call").splitlines() if "mpaas_push call" in line]

    with HttpStack() as local:
        monkeypatch.setenv("PUSH_HTTP_URL", local.url)
        assert [main(words[words.index("call") :]) for words in commands] == [0, 0, 0]

    assert '"accepted": 1' in capsys.readouterr().out


def test_trigger_with_tokens_can_be_deployed() -> None:
    config = yaml.safe_load(example("jwt"))["triggerConfig"]

    trigger = parse_trigger({"triggerName": "http", "triggerType": "http", "triggerConfig": config})

    assert trigger.trigger_config.auth_type == "jwt"
