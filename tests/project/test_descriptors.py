"""Descriptors are read as the real command `s` renders them; the policies allow exactly what the code calls."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from project.descriptor import Descriptor, read_functions
from project.policies import CAMPAIGN_ACTIONS, DEPLOYMENT_ACTIONS, FUNCTION_ACTIONS, access_faults
from tests.descriptors import PROJECT

ROOT = Path(__file__).resolve().parents[2]
CLI = Path(os.environ.get("S_CLI") or ROOT / ".local" / "deploy-check" / "node_modules" / ".bin" / "s")
STAGES = {"dev": "s.yaml", "staging": "s.staging.yaml", "prod": "s.prod.yaml"}


@cache  # a run takes half a second
def rendered(file: str) -> dict[str, Any]:
    """Return the functions of a descriptor as the real CLI renders them, offline; do not change them."""
    if not CLI.exists():
        if os.environ.get("REQUIRE_S"):
            pytest.fail(f"{CLI} is missing")
        pytest.skip(
            "the Serverless Devs CLI is not installed: npm install --prefix .local/deploy-check @serverless-devs/s"
        )
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [CLI, "preview", "-t", file, "-o", "json"],
        cwd=PROJECT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    resources = json.loads(done.stdout[done.stdout.index("{") :])["resources"]
    return {name: resource["props"] for name, resource in resources.items()}


@pytest.fixture(scope="module")
def descriptor() -> dict[str, Any]:
    return rendered("s.yaml")


EXPRESSIONS = """
edition: 3.0.0
name: expressions
vars: {seconds: 45, inside: false, stage: test, label: "${vars.stage}-label"}
template:
  base:
    runtime: python3.10
    timeout: 30
    asyncInvokeConfig: {asyncTask: true}
    environmentVariables: {A: base, B: base}
resources:
  f:
    component: fc3@0.1.22
    extend: {name: base, ignore: [asyncInvokeConfig]}
    props:
      region: cn-hangzhou
      functionName: f-${vars.stage}
      code: ./code
      timeout: ${vars.seconds}
      internetAccess: ${vars.inside}
      memorySize: ${env('NOT_SET', 512)}
      cpu: ${env('NOT_SET', "0.35")}
      description: ${this.props.functionName} for ${vars.seconds} s, ${vars.inside}, ${vars.label}
      environmentVariables: {B: "${env('HOME')}"}
"""


def test_expressions_are_resolved_as_by_the_command(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(EXPRESSIONS)

    ours = Descriptor(path).resolved_props("f", {"HOME": os.environ["HOME"]})

    assert ours == rendered(str(path))["f"] | {"code": "./code"}  # the CLI renders an absolute path


@pytest.mark.parametrize(("stage", "file"), STAGES.items())
def test_each_stage_has_its_own_names(stage: str, file: str) -> None:
    functions = rendered(file)

    assert {props["functionName"] for props in functions.values()} == {
        f"mpaas-{name.replace('_', '-')}-{stage}" for name in functions
    }
    others = "|".join(set(STAGES) - {stage})
    names = json.dumps({name: {**props, "layers": []} for name, props in functions.items()})
    assert not re.search(rf"-({others})\b", names)


def test_functions_are_read_as_the_cli_renders_them(descriptor: dict[str, Any]) -> None:
    for resource, function in read_functions(PROJECT / "s.yaml", {}).items():
        ours = function.model_dump(by_alias=True, exclude_unset=True)
        code = descriptor[resource]["code"]
        assert ours.pop("code") in code  # the CLI renders an absolute path
        assert ours | {"code": code} == descriptor[resource]


def test_no_trigger_is_anonymous(descriptor: dict[str, Any]) -> None:
    for props in descriptor.values():
        for trigger in props["triggers"]:
            assert trigger["triggerConfig"].get("authType", "function") in {"function", "jwt"}


# --- Permissions


def policy(name: str) -> Any:
    return json.loads((ROOT / "deploy" / "policies" / f"{name}.json").read_text("utf-8"))


def called_actions() -> set[str]:
    """Return the actions of cloud APIs that the layer and the functions call, as policies name them."""
    actions = set()
    for path in [*(ROOT / "shared").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aliyunsdkmpaas.request"):
                for alias in node.names:
                    request = getattr(import_module(str(node.module)), alias.name)()
                    actions.add(f"mpaas:{request.get_action_name()}")
            if isinstance(node, ast.ImportFrom) and node.module == "mns.mns_request":
                actions |= {
                    f"mns:{alias.name.removeprefix('Batch').removesuffix('Request')}" for alias in node.names
                }
            if isinstance(node, ast.Attribute) and node.attr in FC_CALLS:
                actions.add("fc:InvokeFunction")
            if isinstance(node, ast.Constant) and str(node.value).endswith("/invocations"):
                actions.add("fc:InvokeFunction")
            if isinstance(node, ast.Constant) and node.value in OSS_CALLS:
                actions.add(OSS_CALLS[node.value])
            if isinstance(node, ast.Attribute) and node.attr in MNS_CALLS:
                actions.add(
                    f"mns:{node.attr}"
                )  # a call through the SDK's client, which the layer does not use
    return actions


FC_CALLS = {"invoke_function", "invoke_function_with_options"}
OSS_CALLS = {
    "head_object": "oss:GetObject",
    "get_object": "oss:GetObject",
    "put_object": "oss:PutObject",
    "delete_object": "oss:DeleteObject",
    "list_objects_v2": "oss:ListObjects",
}
MNS_CALLS = {
    "receive_message",
    "batch_receive_message",
    "delete_message",
    "batch_delete_message",
    "peek_message",
    "publish_message",
    "create_queue",
    "create",
    "list_queue",
}


def test_function_policy_allows_exactly_what_the_code_calls() -> None:
    allowed = {action for statement in policy("function")["Statement"] for action in statement["Action"]}

    assert allowed == called_actions() | {"log:PostLogStoreLogs"}  # Function Compute writes the logs
    assert allowed == FUNCTION_ACTIONS | CAMPAIGN_ACTIONS.keys()  # the actions that `validate` expects


def test_function_policy_is_limited_to_the_app_and_the_queues_of_the_stage() -> None:
    statements = policy("function")["Statement"]
    (push,) = (item for item in statements if "mpaas:PushSimple" in item["Action"])
    assert push["Condition"] == {"StringEquals": {"mpaas:AppId": ["${AppId}"]}}
    (send,) = (item for item in statements if "mns:SendMessage" in item["Action"])
    assert [resource.rpartition("/queues/")[2] for resource in send["Resource"]] == [
        "mpaas-push-retry-${Stage}/messages",
        "mpaas-push-dead-${Stage}/messages",
        "mpaas-push-failed-${Stage}/messages",
    ]


@pytest.mark.parametrize("name", ["function", "deployer"])
def test_every_action_of_a_policy_is_documented(name: str) -> None:
    text = (ROOT / "docs" / "permissions.md").read_text("utf-8")
    for statement in policy(name)["Statement"]:
        for action in statement["Action"]:
            assert f"`{action}`" in text, action


def test_function_policy_allows_the_queues_and_the_worker() -> None:
    functions = read_functions(PROJECT / "s.yaml", {}).values()

    assert list(access_faults(policy("function"), functions)) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "mpaas-push-retry-",
            "does not allow mns:SendMessage on mpaas-push-retry-dev (PUSH_RETRY_QUEUE in s.yaml)",
        ),
        (
            "mpaas-push-dead-",
            "does not allow mns:SendMessage on mpaas-push-dead-dev (PUSH_DEAD_LETTER_QUEUE in s.yaml)",
        ),
        ("mpaas-push-failed-", "does not allow mns:SendMessage on acs:mns:"),
        (
            "/audiences/",
            "does not allow oss:GetObject on /audiences/* of a bucket (mpaas-campaign-push-dev in",
        ),
        (
            "mpaas-queue-push-",
            "does not allow fc:InvokeFunction on mpaas-queue-push-dev (PUSH_WORKER_FUNCTION in s.yaml)",
        ),
    ],
)
def test_inaccessible_queue_or_worker_is_reported(name: str, message: str) -> None:
    functions = read_functions(PROJECT / "s.yaml", {}).values()
    renamed = json.loads(json.dumps(policy("function")).replace(name, "another-"))

    (fault, *_) = access_faults(renamed, functions)

    assert fault.field == "Statement"
    assert fault.message.startswith(message)


def test_denied_queue_is_inaccessible() -> None:
    document = policy("function")
    for statement in document["Statement"]:
        statement["Effect"] = "Deny"

    assert list(access_faults(document, read_functions(PROJECT / "s.yaml", {}).values()))


def test_deployer_policy_allows_exactly_what_a_deployment_calls() -> None:
    allowed = {
        action
        for statement in policy("deployer")["Statement"]
        if statement["Effect"] == "Allow"
        for action in statement["Action"]
    }

    assert allowed == {action for actions in DEPLOYMENT_ACTIONS.values() for action in actions}


@pytest.mark.parametrize("stage", STAGES)
def test_deployer_policy_is_limited_to_the_stage(stage: str) -> None:
    document = json.dumps(policy("deployer")).replace("${Stage}", stage)
    for statement in json.loads(document)["Statement"]:
        if statement["Effect"] == "Allow" and statement["Resource"] != ["*"]:
            for resource in statement["Resource"]:
                assert re.search(
                    rf"mpaas-((\*-)?push|\*)-{stage}(/|$)|notificationrole$|:\$\{{UploadsBucket\}}$", resource
                ), resource


def test_deployer_policy_denies_anonymous_triggers() -> None:
    (denial,) = (item for item in policy("deployer")["Statement"] if item["Effect"] == "Deny")

    assert set(denial["Action"]) == {"fc:CreateTrigger", "fc:UpdateTrigger"}
    assert denial["Resource"] == ["*"]
    assert denial["Condition"] == {"StringEquals": {"fc:EnableHTTPTriggerAnonymous": ["true"]}}
