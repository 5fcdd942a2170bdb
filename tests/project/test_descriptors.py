"""A descriptor is read as the real command renders it, and its permissions are what the code needs."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from project.descriptor import Descriptor, read_functions
from project.policies import CALLS, CAMPAIGN_CALLS, DEPLOYS, unreached_faults
from tests.descriptors import PROJECT

ROOT = Path(__file__).resolve().parents[2]
CLI = Path(os.environ.get("S_CLI") or ROOT / ".local" / "deploy-check" / "node_modules" / ".bin" / "s")
STAGES = {"dev": "s.yaml", "staging": "s.staging.yaml", "prod": "s.prod.yaml"}


def rendered(file: str) -> dict[str, Any]:
    """The functions of a descriptor as the real CLI renders them, without a cloud."""
    if not CLI.exists():
        if os.environ.get("REQUIRE_S"):
            pytest.fail(f"{CLI} is missing")
        pytest.skip(
            "the Serverless Devs CLI is not here: npm install --prefix .local/deploy-check @serverless-devs/s"
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
    return {name: each["props"] for name, each in resources.items()}


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


def test_expressions_are_resolved_as_the_command_does(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(EXPRESSIONS)

    ours = Descriptor(path).resolved_props("f", {"HOME": os.environ["HOME"]})

    assert ours == rendered(str(path))["f"] | {"code": "./code"}  # there, the path is absolute


@pytest.mark.parametrize(("stage", "file"), STAGES.items())
def test_each_stage_has_names_of_its_own(stage: str, file: str) -> None:
    functions = rendered(file)

    assert {props["functionName"] for props in functions.values()} == {
        f"mpaas-{name.replace('_', '-')}-{stage}" for name in functions
    }
    others = "|".join(set(STAGES) - {stage})
    names = json.dumps({name: {**props, "layers": []} for name, props in functions.items()})
    assert not re.search(rf"-({others})\b", names)


def test_the_local_stack_reads_what_the_cli_renders(descriptor: dict[str, Any]) -> None:
    for resource, function in read_functions(PROJECT / "s.yaml", {}).items():
        ours = function.model_dump(by_alias=True, exclude_unset=True)
        assert ours.pop("code") in descriptor[resource].pop("code")  # there, the path is absolute
        assert ours == descriptor[resource]


def test_no_trigger_answers_everybody(descriptor: dict[str, Any]) -> None:
    for props in descriptor.values():
        for trigger in props["triggers"]:
            assert trigger["triggerConfig"].get("authType", "function") in {"function", "jwt"}


# --- Permissions


def policy(name: str) -> Any:
    return json.loads((ROOT / "deploy" / "policies" / f"{name}.json").read_text("utf-8"))


def calls_of_the_code() -> set[str]:
    """Every action of a cloud API that the layer and the functions call, by its name in policies."""
    found = set()
    for path in [*(ROOT / "shared").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aliyunsdkmpaas.request"):
                for alias in node.names:
                    request = getattr(import_module(str(node.module)), alias.name)()
                    found.add(f"mpaas:{request.get_action_name()}")
            if isinstance(node, ast.ImportFrom) and node.module == "mns.mns_request":
                found |= {
                    f"mns:{alias.name.removeprefix('Batch').removesuffix('Request')}" for alias in node.names
                }
            if isinstance(node, ast.Attribute) and node.attr in FC_CALLS:
                found.add("fc:InvokeFunction")
            if isinstance(node, ast.Constant) and str(node.value).endswith("/invocations"):
                found.add("fc:InvokeFunction")
            if isinstance(node, ast.Constant) and node.value in OSS_CALLS:
                found.add(OSS_CALLS[node.value])
            if isinstance(node, ast.Attribute) and node.attr in MNS_CALLS:
                found.add(f"mns:{node.attr}")  # by the SDK's client; what is sent is built from its requests
    return found


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


def test_the_functions_may_do_what_the_code_calls_and_nothing_else() -> None:
    allowed = {action for statement in policy("function")["Statement"] for action in statement["Action"]}

    assert allowed == calls_of_the_code() | {"log:PostLogStoreLogs"}  # Function Compute writes the logs
    assert allowed == CALLS | CAMPAIGN_CALLS.keys()  # which `validate` compares policies with


def test_pushes_are_limited_to_the_app_and_messages_to_the_deployments_queues() -> None:
    (push,) = (each for each in policy("function")["Statement"] if "mpaas:PushSimple" in each["Action"])
    assert push["Condition"] == {"StringEquals": {"mpaas:AppId": ["${AppId}"]}}
    (send,) = (each for each in policy("function")["Statement"] if "mns:SendMessage" in each["Action"])
    assert [resource.rpartition("/queues/")[2] for resource in send["Resource"]] == [
        "mpaas-push-retry-${Stage}/messages",
        "mpaas-push-dead-${Stage}/messages",
        "mpaas-push-failed-${Stage}/messages",
    ]


@pytest.mark.parametrize("name", ["function", "deployer"])
def test_every_line_of_a_policy_is_explained(name: str) -> None:
    text = (ROOT / "docs" / "permissions.md").read_text("utf-8")
    for statement in policy(name)["Statement"]:
        for action in statement["Action"]:
            assert f"`{action}`" in text, action


def test_queues_and_worker_of_the_functions_are_within_reach() -> None:
    functions = read_functions(PROJECT / "s.yaml", {}).values()

    assert list(unreached_faults(policy("function"), functions)) == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "mpaas-push-retry-",
            "does not allow mns:SendMessage on mpaas-push-retry-dev, PUSH_RETRY_QUEUE of s.yaml",
        ),
        (
            "mpaas-push-dead-",
            "does not allow mns:SendMessage on mpaas-push-dead-dev, PUSH_DEAD_LETTER_QUEUE of s.yaml",
        ),
        ("mpaas-push-failed-", "does not allow mns:SendMessage on acs:mns:"),
        (
            "mpaas-queue-push-",
            "does not allow fc:InvokeFunction on mpaas-queue-push-dev, PUSH_WORKER_FUNCTION of s.yaml",
        ),
    ],
)
def test_a_queue_or_worker_out_of_reach_is_named(name: str, told: str) -> None:
    functions = read_functions(PROJECT / "s.yaml", {}).values()
    renamed = json.loads(json.dumps(policy("function")).replace(name, "another-"))

    (fault, *_) = unreached_faults(renamed, functions)

    assert fault.field == "Statement"
    assert fault.message.startswith(told)


def test_what_is_denied_is_not_within_reach() -> None:
    document = policy("function")
    for statement in document["Statement"]:
        statement["Effect"] = "Deny"

    assert list(unreached_faults(document, read_functions(PROJECT / "s.yaml", {}).values()))


def test_the_deployer_may_do_what_a_deployment_calls_and_nothing_else() -> None:
    allowed = {
        action
        for statement in policy("deployer")["Statement"]
        if statement["Effect"] == "Allow"
        for action in statement["Action"]
    }

    assert allowed == {action for actions in DEPLOYS.values() for action in actions}


@pytest.mark.parametrize("stage", STAGES)
def test_the_deployer_touches_nothing_beside_the_stage(stage: str) -> None:
    document = json.dumps(policy("deployer")).replace("${Stage}", stage)
    for statement in json.loads(document)["Statement"]:
        if statement["Effect"] == "Allow" and statement["Resource"] != ["*"]:
            for resource in statement["Resource"]:
                assert re.search(
                    rf"mpaas-((\*-)?push|\*)-{stage}(/|$)|notificationrole$|:\$\{{UploadsBucket\}}$", resource
                ), resource


def test_no_deployer_makes_a_trigger_that_answers_everybody() -> None:
    (denial,) = (each for each in policy("deployer")["Statement"] if each["Effect"] == "Deny")

    assert set(denial["Action"]) == {"fc:CreateTrigger", "fc:UpdateTrigger"}
    assert denial["Resource"] == ["*"]
    assert denial["Condition"] == {"StringEquals": {"fc:EnableHTTPTriggerAnonymous": ["true"]}}
