"""The stack that is made of s.yaml describes the same deployment, with what s.yaml only names."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from project.__main__ import main
from project.descriptor import DescriptorError, read_functions
from project.ros_template import make_template, template_text
from tests.descriptors import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PSEUDO = {"ALIYUN::Region": "cn-hangzhou", "ALIYUN::AccountId": "000000000000"}


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return make_template(PROJECT)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that a test may change."""
    return shutil.copytree(PROJECT, tmp_path / "project")


def changed(project: Path, old: str, new: str) -> dict[str, Any]:
    """The template once a line of s.yaml has changed."""
    path = project / "s.yaml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    return make_template(project)


class Ros:
    """Computes a template with parameters, as ROS would."""

    def __init__(self, template: dict[str, Any], parameters: dict[str, Any]) -> None:
        defaults = {name: each["Default"] for name, each in template["Parameters"].items()}
        self.values = PSEUDO | defaults | parameters
        self.resources = template["Resources"]
        self.conditions = template["Conditions"]

    def computed(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.computed(each) for each in value]
        if not isinstance(value, dict):
            return value
        match value:
            case {"Ref": name}:
                return self.values[name]
            case {"Fn::Sub": text}:
                return re.sub(r"\$\{([^}]+)\}", lambda found: str(self.values[found[1]]), text)
            case {"Fn::GetAtt": [resource, attribute]}:
                return self.attribute(resource, attribute)
        return {key: self.computed(each) for key, each in value.items()}

    def attribute(self, resource: str, attribute: str) -> Any:
        properties = self.resources[resource]["Properties"]
        if attribute == "Arn":
            return f"acs:ram::{PSEUDO['ALIYUN::AccountId']}:role/{self.computed(properties['RoleName'])}"
        if attribute == "LayerVersionArn":
            name = self.computed(properties["LayerName"])
            return f"acs:fc:cn-hangzhou:000000000000:layers/{name}/versions/1"
        return self.computed(properties[attribute])

    def wanted(self, resource: dict[str, Any]) -> bool:
        if "Condition" not in resource:
            return True
        one, other = self.conditions[resource["Condition"]]["Fn::Not"]["Fn::Equals"]
        return bool(self.computed(one) != other)


def deployed(template: dict[str, Any], **parameters: Any) -> dict[str, dict[str, Any]]:
    """The resources of a stack."""
    ros = Ros(template, parameters)
    return {name: ros.computed(each) for name, each in ros.resources.items() if ros.wanted(each)}


def of(resources: dict[str, dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each["Properties"] for each in resources.values() if each["Type"] == f"ALIYUN::{kind}"]


def lowered(value: Any) -> Any:
    """Names of ROS begin with capitals, those of s.yaml do not."""
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: lowered(each) for key, each in value.items()}
    return [lowered(each) for each in value] if isinstance(value, list) else value


def test_the_file_is_what_the_command_writes(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = (project / "template.yml").read_text("utf-8")
    (project / "template.yml").unlink()

    assert main(["template", "--folder", str(project)]) == 0

    assert (project / "template.yml").read_text("utf-8") == written
    assert "37 resources" in capsys.readouterr().out


def test_the_text_of_a_template_is_read_as_what_it_was_made_of(template: dict[str, Any]) -> None:
    assert yaml.safe_load(template_text(template)) == template


def test_functions_triggers_and_settings_are_those_of_the_descriptor(template: dict[str, Any]) -> None:
    resources = deployed(template)
    functions = {each["FunctionName"]: each for each in of(resources, "FC3::Function")}
    triggers = {(each["FunctionName"], each["TriggerName"]): each for each in of(resources, "FC3::Trigger")}
    calls = {each["FunctionName"]: each for each in of(resources, "FC3::AsyncInvokeConfig")}
    reserved = {each["FunctionName"]: each for each in of(resources, "FC3::ConcurrencyConfig")}

    for function in read_functions(PROJECT / "s.yaml", {}).values():
        ours = function.model_dump(by_alias=True, exclude_unset=True)
        name = ours["functionName"]
        theirs = functions.pop(name)
        variables, code = theirs.pop("EnvironmentVariables"), theirs.pop("Code")
        apart = {"region", "code", "triggers", "asyncInvokeConfig", "concurrencyConfig"}
        assert lowered(theirs) | {"environmentVariables": variables} == {
            key: value for key, value in ours.items() if key not in apart
        }
        assert code["OssObjectName"] == f"mpaas-push/{ours['code'].rpartition('/')[2]}.zip"
        assert lowered(calls.pop(name)) == ours["asyncInvokeConfig"] | {"functionName": name}
        if concurrency := ours.get("concurrencyConfig"):
            assert lowered(reserved.pop(name)) == concurrency | {"functionName": name}
        for trigger in ours["triggers"]:
            written = triggers.pop((name, trigger["triggerName"]))
            config = written.pop("TriggerConfig")
            assert lowered(written) | {"triggerConfig": config} == trigger | {"functionName": name}
    assert not functions
    assert not triggers
    assert not calls
    assert not reserved


def test_every_queue_and_topic_that_is_named_is_made(template: dict[str, Any]) -> None:
    resources = deployed(template)
    queues = {each["QueueName"] for each in of(resources, "MNS::Queue")}
    topics = {each["TopicName"] for each in of(resources, "MNS::Topic")}
    text = json.dumps([each for each in resources.values() if each["Type"].startswith("ALIYUN::FC3")])

    named = re.findall(r'/queues/([\w-]+)|"QueueName": "([\w-]+)"|_QUEUE": "([\w-]+)"', text)
    assert {"".join(each) for each in named} == queues
    assert set(re.findall(r"/topics/([\w-]+)", text)) == topics


def test_no_message_comes_again_while_a_function_may_be_at_work_on_it(project: Path) -> None:
    template = changed(project, "timeout: 60", "timeout: 300")

    assert {each["VisibilityTimeout"] for each in of(deployed(template), "MNS::Queue")} == {330}


def test_the_role_has_the_policy_of_the_functions_and_a_network_if_they_do(project: Path) -> None:
    text = (PROJECT / "deploy" / "policies" / "function.json").read_text("utf-8")
    for name, value in (PSEUDO | {"Stage": "dev", "AppId": "unset", "UploadsBucket": "uploads"}).items():
        text = text.replace(f"${{{name}}}", value)
    (role,) = of(deployed(make_template(project)), "RAM::Role")
    assert role["RoleName"] == "mpaas-push-dev"
    assert role["Policies"][0]["PolicyDocument"] == json.loads(text)
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": ["fc.aliyuncs.com"]}
    assert "PolicyAttachments" not in role

    network = "    vpcConfig: {vpcId: v, vSwitchIds: [s], securityGroupId: g}\n    logConfig:"
    (role,) = of(deployed(changed(project, "    logConfig:", network)), "RAM::Role")
    assert role["PolicyAttachments"] == {"System": ["AliyunECSNetworkInterfaceManagementAccess"]}


def test_instances_that_are_kept_warm_are_a_resource_of_their_own(project: Path) -> None:
    warm = "provisionConfig: {defaultTarget: 2, alwaysAllocateCPU: false}\n    internetAccess:"
    resources = deployed(changed(project, "internetAccess:", warm))

    kept = of(resources, "FC3::ProvisionConfig")
    assert len(kept) == len(of(resources, "FC3::Function"))
    assert kept[0].keys() == {"FunctionName", "DefaultTarget", "AlwaysAllocateCPU"}
    assert (kept[0]["DefaultTarget"], kept[0]["AlwaysAllocateCPU"]) == (2, False)
    assert "ProvisionConfig" not in of(resources, "FC3::Function")[0]


def test_the_layer_is_for_the_runtime_of_the_descriptor(project: Path) -> None:
    resources = deployed(changed(project, "runtime: python3.10", "runtime: python3.12"))

    (layer,) = of(resources, "FC3::LayerVersion")
    assert layer["CompatibleRuntime"] == ["python3.12"]
    assert {each["Runtime"] for each in of(resources, "FC3::Function")} == {"python3.12"}


def test_a_message_source_is_made_if_its_instance_is_given(template: dict[str, Any]) -> None:
    assert not [name for name in deployed(template) if name.startswith(("Kafka", "Rocket", "Rabbit"))]

    resources = deployed(template, KafkaInstanceId="alikafka_pre-cn-1", Stage="prod")

    assert resources.keys() - deployed(template).keys() == {
        *("KafkaPush", "KafkaPushAsync", "KafkaPushKafkaTrigger")
    }
    assert resources["KafkaPush"]["Properties"]["FunctionName"] == "mpaas-kafka-push-prod"
    config = resources["KafkaPushKafkaTrigger"]["Properties"]["TriggerConfig"]
    assert config["triggerEnable"] is True
    parameters = config["eventSourceConfig"]["eventSourceParameters"]["sourceKafkaParameters"]
    assert (parameters["InstanceId"], parameters["Topic"]) == ("alikafka_pre-cn-1", "mpaas-push-prod")


def test_a_source_that_was_copied_into_the_descriptor_is_always_made(project: Path) -> None:
    sources = (project / "s.sources.yaml").read_text("utf-8").replace("&stream", "&other")
    block = sources[sources.index("  rocketmq_push:") : sources.index("  rabbitmq_push:")]
    block = block.replace("${env('ROCKETMQ_INSTANCE_ID', 'rmq-cn-unset')}", "rmq-cn-1").replace(
        "triggerEnable: false", "triggerEnable: true"
    )
    template = changed(project, "resources:\n", f"resources:\n{block}")

    config = deployed(template)["RocketmqPushRocketmqTrigger"]["Properties"]["TriggerConfig"]
    parameters = config["eventSourceConfig"]["eventSourceParameters"]["sourceRocketMQParameters"]
    assert parameters["InstanceId"] == "rmq-cn-1"
    assert "RocketMQInstanceId" not in template["Parameters"]
    assert "KafkaInstanceId" in template["Parameters"]


def test_a_setting_of_ones_own_becomes_a_parameter(project: Path) -> None:
    line = "PUSH_LEDGER_URL: "
    template = changed(project, line, f"PUSH_LATE: ${{env('OUR_LATE', 'send')}}\n      {line}")

    assert template["Parameters"]["OurLate"] == {
        "Type": "String",
        "Default": "send",
        "Description": "OUR_LATE of .env",
    }
    variables = template["Resources"]["HttpPush"]["Properties"]["EnvironmentVariables"]
    assert variables["PUSH_LATE"] == {"Ref": "OurLate"}


@pytest.mark.parametrize(
    ("name", "default", "hidden"),
    [
        ("MPAAS_SK_ENV", "", True),
        ("OUR_DATABASE_URL", "", True),
        ("OUR_DATABASE_URL", "redis://user:sword@host", True),
        ("OUR_SHOP_URL", "https://shop.example.com", False),
        ("OUR_COLOUR", "", False),
    ],
)
def test_a_setting_of_ones_own_that_may_be_secret_is_not_shown_in_the_console(
    project: Path, name: str, default: str, hidden: bool
) -> None:
    line = "      PUSH_LEDGER_URL:"
    template = changed(project, line, f"      {name}: ${{env('{name}', '{default}')}}\n{line}")

    parameter = template["Parameters"]["".join(word.title() for word in name.split("_"))]
    assert ("NoEcho" in parameter) is hidden


@pytest.mark.parametrize("name", ["role", "layer", "retry_queue", "queue_push_async", "stage", "ledger_url"])
def test_no_part_of_a_stack_replaces_another(project: Path, name: str) -> None:
    with pytest.raises(DescriptorError, match="two parts of the stack would be called"):
        changed(project, "  timer_push:\n", f"  {name}:\n")


@pytest.mark.parametrize("folder", ["others/queue_push", "others/layer"])
def test_no_package_replaces_another(project: Path, folder: str) -> None:
    with pytest.raises(DescriptorError, match="rename one"):
        changed(project, "code: ./functions/timer_push", f"code: ./{folder}")


@pytest.mark.parametrize("text", ["<<<<<<< HEAD", None])
def test_a_policy_that_cannot_be_read_is_a_fault(project: Path, text: str | None) -> None:
    policy = project / "deploy" / "policies" / "function.json"
    policy.unlink() if text is None else policy.write_text(text)

    with pytest.raises(DescriptorError, match=r"function\.json of the role cannot be read"):
        changed(project, "timeout: 60", "timeout: 60")


def names(value: Any) -> Iterator[str]:
    """Everything that a value refers to."""
    if isinstance(value, list):
        for each in value:
            yield from names(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key == "Ref":
                yield each
            elif key == "Fn::GetAtt":
                yield each[0]
            elif key == "Fn::Sub":
                yield from re.findall(r"\$\{([^}]+)\}", each)
            elif key in {"DependsOn", "Condition"} and not isinstance(each, dict):
                yield from [each] if isinstance(each, str) else each
            else:
                yield from names(each)


def test_every_name_is_a_parameter_a_resource_or_a_condition(template: dict[str, Any]) -> None:
    parameters, resources, conditions = (template[each] for each in ("Parameters", "Resources", "Conditions"))

    assert set(names(template)) <= {*parameters, *resources, *conditions, *PSEUDO}
    assert not parameters.keys() & resources.keys()
    assert parameters["Stage"]["AllowedValues"] == ["dev", "prod", "staging"]
