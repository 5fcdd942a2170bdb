"""s.yaml and template.yml describe the same deployment, and its permissions are what the code needs."""

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
from project.policies import CALLS, DEPLOYS, unreached_faults
from project.ros_template import RosTemplate
from tests.descriptors import PROJECT

ROOT = Path(__file__).resolve().parents[2]
CLI = Path(os.environ.get("S_CLI") or ROOT / ".local" / "deploy-check" / "node_modules" / ".bin" / "s")
STAGES = {"dev": "s.yaml", "staging": "s.staging.yaml", "prod": "s.prod.yaml"}
NAMES = {
    "HttpPush": "http_push",
    "TimerPush": "timer_push",
    "QueuePush": "queue_push",
    "EventPush": "event_push",
}
LAYER = "acs:fc:cn-hangzhou:000000000000:layers/mpaas-push-dev/versions/1"


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


@pytest.fixture(scope="module")
def stack() -> RosTemplate:
    return RosTemplate(PROJECT / "template.yml")


def lowered(value: Any) -> Any:
    """Names of ROS begin with capitals, those of s.yaml do not."""
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: lowered(each) for key, each in value.items()}
    return [lowered(each) for each in value] if isinstance(value, list) else value


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


# --- The two descriptors


def test_both_describe_the_same_functions(descriptor: dict[str, Any], stack: RosTemplate) -> None:
    functions = stack.of("FC3::Function")
    assert {NAMES[name] for name in functions} == descriptor.keys()
    for name, properties in functions.items():
        ours = descriptor[NAMES[name]]
        for key in (
            "functionName",
            "description",
            "handler",
            "runtime",
            "cpu",
            "memorySize",
            "diskSize",
            "timeout",
            "internetAccess",
            "logConfig",
        ):
            assert lowered(properties)[key] == ours[key], (name, key)
        assert properties["EnvironmentVariables"] == ours["environmentVariables"]
        assert ours["role"] == "acs:ram::000000000000:role/mpaas-push-dev"
        assert ours["layers"] == [LAYER]
        assert properties["Code"]["OssObjectName"] == f"mpaas-push/{NAMES[name]}.zip"


def test_both_describe_the_same_triggers(descriptor: dict[str, Any], stack: RosTemplate) -> None:
    ours = {
        (props["functionName"], trigger["triggerName"]): trigger
        for props in descriptor.values()
        for trigger in props["triggers"]
    }
    theirs = {(each["FunctionName"], each["TriggerName"]): each for each in stack.of("FC3::Trigger").values()}
    assert theirs.keys() == ours.keys()
    for key, trigger in theirs.items():
        assert trigger["TriggerType"] == ours[key]["triggerType"]
        assert trigger.get("SourceArn") == ours[key].get("sourceArn")
        assert trigger.get("InvocationRole") == ours[key].get("invocationRole")
        assert trigger["TriggerConfig"] == ours[key]["triggerConfig"], key


def test_both_describe_the_same_asynchronous_settings(descriptor: dict[str, Any], stack: RosTemplate) -> None:
    theirs = {each["FunctionName"]: lowered(each) for each in stack.of("FC3::AsyncInvokeConfig").values()}
    assert len(theirs) == len(descriptor)
    for props in descriptor.values():
        assert theirs[props["functionName"]] == {
            "functionName": props["functionName"],
            **props["asyncInvokeConfig"],
        }


def test_both_reserve_the_same_instances(descriptor: dict[str, Any], stack: RosTemplate) -> None:
    (reserved,) = stack.of("FC3::ConcurrencyConfig").values()
    ours = descriptor["queue_push"]
    assert reserved["FunctionName"] == ours["functionName"]
    assert reserved["ReservedConcurrency"] == ours["concurrencyConfig"]["reservedConcurrency"]


def test_every_queue_and_topic_that_is_named_is_made_by_the_stack(
    descriptor: dict[str, Any], stack: RosTemplate
) -> None:
    text = json.dumps(descriptor)
    made = {each["QueueName"] for each in stack.of("MNS::Queue").values()}
    named = set(re.findall(r"/queues/([\w-]+)", text)) | {
        props["environmentVariables"][variable]
        for props in descriptor.values()
        for variable in ("PUSH_RETRY_QUEUE", "PUSH_DEAD_LETTER_QUEUE")
    }
    named |= {
        trigger["triggerConfig"]["eventSourceConfig"]["eventSourceParameters"]["sourceMNSParameters"][
            "QueueName"
        ]
        for trigger in descriptor["queue_push"]["triggers"]
        if trigger["triggerConfig"].get("eventSourceConfig", {}).get("eventSourceType") == "MNS"
    }
    topics = {each["TopicName"] for each in stack.of("MNS::Topic").values()}

    assert named == made
    assert set(re.findall(r"/topics/([\w-]+)", text)) == topics


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


def test_no_trigger_answers_everybody_and_every_product_but_mns_is_off(descriptor: dict[str, Any]) -> None:
    for props in descriptor.values():
        for trigger in props["triggers"]:
            config = trigger["triggerConfig"]
            assert config.get("authType", "function") in {"function", "jwt"}
            source = config.get("eventSourceConfig", {}).get("eventSourceType", "MNS")
            assert source in {"MNS", "Default"} or config["triggerEnable"] is False


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
            if isinstance(node, ast.Attribute) and node.attr in MNS_CALLS:
                found.add(f"mns:{node.attr}")  # by the SDK's client; what is sent is built from its requests
    return found


FC_CALLS = {"invoke_function", "invoke_function_with_options"}
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
    assert allowed == CALLS  # which `validate` compares policies with


def test_pushes_are_limited_to_the_app_and_messages_to_the_deployments_queues() -> None:
    (push,) = (each for each in policy("function")["Statement"] if "mpaas:PushSimple" in each["Action"])
    assert push["Condition"] == {"StringEquals": {"mpaas:AppId": ["${AppId}"]}}
    (send,) = (each for each in policy("function")["Statement"] if "mns:SendMessage" in each["Action"])
    assert [resource.rpartition("/queues/")[2] for resource in send["Resource"]] == [
        "mpaas-push-retry-${Stage}/messages",
        "mpaas-push-dead-${Stage}/messages",
        "mpaas-push-failed-${Stage}/messages",
    ]


def test_the_stack_gives_the_role_that_policy(stack: RosTemplate) -> None:
    (role,) = stack.of("RAM::Role").values()

    assert role["Policies"][0]["PolicyDocument"] == stack.resolved(policy("function"))
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": ["fc.aliyuncs.com"]}


@pytest.mark.parametrize("name", ["function", "deployer"])
def test_every_line_of_a_policy_is_explained(name: str) -> None:
    text = (ROOT / "docs" / "permissions.md").read_text("utf-8")
    for statement in policy(name)["Statement"]:
        for action in statement["Action"]:
            assert f"`{action}`" in text, action


def test_queues_and_worker_of_the_functions_are_within_reach(stack: RosTemplate) -> None:
    functions = read_functions(PROJECT / "s.yaml", {}).values()
    (role,) = stack.of("RAM::Role").values()

    for document in (policy("function"), role["Policies"][0]["PolicyDocument"]):
        assert list(unreached_faults(document, functions)) == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mpaas-push-retry-", "nothing lets PUSH_RETRY_QUEUE of s.yaml, mpaas-push-retry-dev, be sent to"),
        (
            "mpaas-push-dead-",
            "nothing lets PUSH_DEAD_LETTER_QUEUE of s.yaml, mpaas-push-dead-dev, be sent to",
        ),
        ("mpaas-push-failed-", "nothing lets the failure destination of s.yaml, "),
        (
            "mpaas-queue-push-",
            "nothing lets PUSH_WORKER_FUNCTION of s.yaml, mpaas-queue-push-dev, be invoked",
        ),
    ],
)
def test_a_queue_or_worker_out_of_reach_is_named(stack: RosTemplate, name: str, told: str) -> None:
    functions = read_functions(PROJECT / "s.yaml", {}).values()
    (role,) = stack.of("RAM::Role").values()

    for document in (policy("function"), role["Policies"][0]["PolicyDocument"]):
        renamed = json.loads(json.dumps(document).replace(name, "another-"))
        (fault, *_) = unreached_faults(renamed, functions, "Policies.0")
        assert fault.field == "Policies.0.Statement"
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
                assert re.search(rf"mpaas-((\*-)?push|\*)-{stage}(/|$)|notificationrole$", resource), resource


def test_no_deployer_makes_a_trigger_that_answers_everybody() -> None:
    (denial,) = (each for each in policy("deployer")["Statement"] if each["Effect"] == "Deny")

    assert set(denial["Action"]) == {"fc:CreateTrigger", "fc:UpdateTrigger"}
    assert denial["Resource"] == ["*"]
    assert denial["Condition"] == {"StringEquals": {"fc:EnableHTTPTriggerAnonymous": ["true"]}}
