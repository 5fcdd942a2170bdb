"""The generated stack describes the same deployment as s.yaml, and creates the resources that s.yaml names."""

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
    """Return a copy of the project that a test may change."""
    return shutil.copytree(PROJECT, tmp_path / "project")


def template_after(project: Path, old: str, new: str) -> dict[str, Any]:
    """Return the template after a change in s.yaml."""
    path = project / "s.yaml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    return make_template(project)


class Ros:
    """Evaluates a template with parameters, as ROS does."""

    def __init__(self, template: dict[str, Any], parameters: dict[str, Any]) -> None:
        defaults = {name: parameter["Default"] for name, parameter in template["Parameters"].items()}
        self.values = PSEUDO | defaults | parameters
        self.resources = template["Resources"]
        self.conditions = template["Conditions"]

    def evaluate(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.evaluate(item) for item in value]
        if not isinstance(value, dict):
            return value
        match value:
            case {"Ref": name}:
                return self.values[name]
            case {"Fn::Sub": text}:
                return re.sub(r"\$\{([^}]+)\}", lambda match: str(self.values[match[1]]), text)
            case {"Fn::GetAtt": [resource, attribute]}:
                return self.attribute(resource, attribute)
        return {key: self.evaluate(item) for key, item in value.items()}

    def attribute(self, resource: str, attribute: str) -> Any:
        properties = self.resources[resource]["Properties"]
        if attribute == "Arn":
            return f"acs:ram::{PSEUDO['ALIYUN::AccountId']}:role/{self.evaluate(properties['RoleName'])}"
        if attribute == "LayerVersionArn":
            name = self.evaluate(properties["LayerName"])
            return f"acs:fc:cn-hangzhou:000000000000:layers/{name}/versions/1"
        return self.evaluate(properties[attribute])

    def is_created(self, resource: dict[str, Any]) -> bool:
        if "Condition" not in resource:
            return True
        one, other = self.conditions[resource["Condition"]]["Fn::Not"]["Fn::Equals"]
        return bool(self.evaluate(one) != other)


def deployed(template: dict[str, Any], **parameters: Any) -> dict[str, dict[str, Any]]:
    """Return the resources of a stack."""
    ros = Ros(template, parameters)
    return {
        name: ros.evaluate(resource) for name, resource in ros.resources.items() if ros.is_created(resource)
    }


def properties_of(resources: dict[str, dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the properties of every resource of a kind."""
    return [
        resource["Properties"] for resource in resources.values() if resource["Type"] == f"ALIYUN::{kind}"
    ]


def uncapitalized(value: Any) -> Any:
    """Return a value with the keys of s.yaml; those of ROS are capitalized."""
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: uncapitalized(item) for key, item in value.items()}
    return [uncapitalized(item) for item in value] if isinstance(value, list) else value


def test_command_writes_the_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = (project / "template.yml").read_text("utf-8")
    (project / "template.yml").unlink()

    assert main(["template", "--folder", str(project)]) == 0

    assert (project / "template.yml").read_text("utf-8") == written
    assert "37 resources" in capsys.readouterr().out


def test_template_text_is_yaml_of_the_template(template: dict[str, Any]) -> None:
    assert yaml.safe_load(template_text(template)) == template


def test_functions_triggers_and_settings_equal_the_descriptor(template: dict[str, Any]) -> None:
    resources = deployed(template)
    functions = {item["FunctionName"]: item for item in properties_of(resources, "FC3::Function")}
    triggers = {
        (item["FunctionName"], item["TriggerName"]): item for item in properties_of(resources, "FC3::Trigger")
    }
    calls = {item["FunctionName"]: item for item in properties_of(resources, "FC3::AsyncInvokeConfig")}
    reserved = {item["FunctionName"]: item for item in properties_of(resources, "FC3::ConcurrencyConfig")}

    for function in read_functions(PROJECT / "s.yaml", {}).values():
        ours = function.model_dump(by_alias=True, exclude_unset=True)
        name = ours["functionName"]
        theirs = functions.pop(name)
        variables, code = theirs.pop("EnvironmentVariables"), theirs.pop("Code")
        separate = {"region", "code", "triggers", "asyncInvokeConfig", "concurrencyConfig"}
        assert uncapitalized(theirs) | {"environmentVariables": variables} == {
            key: value for key, value in ours.items() if key not in separate
        }
        assert code["OssObjectName"] == f"mpaas-push/{ours['code'].rpartition('/')[2]}.zip"
        assert uncapitalized(calls.pop(name)) == ours["asyncInvokeConfig"] | {"functionName": name}
        if concurrency := ours.get("concurrencyConfig"):
            assert uncapitalized(reserved.pop(name)) == concurrency | {"functionName": name}
        for trigger in ours["triggers"]:
            written = triggers.pop((name, trigger["triggerName"]))
            config = written.pop("TriggerConfig")
            assert uncapitalized(written) | {"triggerConfig": config} == trigger | {"functionName": name}
    assert not functions
    assert not triggers
    assert not calls
    assert not reserved


def test_every_referenced_queue_and_topic_is_created(template: dict[str, Any]) -> None:
    resources = deployed(template)
    queues = {queue["QueueName"] for queue in properties_of(resources, "MNS::Queue")}
    topics = {topic["TopicName"] for topic in properties_of(resources, "MNS::Topic")}
    text = json.dumps([item for item in resources.values() if item["Type"].startswith("ALIYUN::FC3")])

    named = re.findall(r'/queues/([\w-]+)|"QueueName": "([\w-]+)"|_QUEUE": "([\w-]+)"', text)
    assert {"".join(groups) for groups in named} == queues
    assert set(re.findall(r"/topics/([\w-]+)", text)) == topics


def test_visibility_timeout_exceeds_the_function_timeout(project: Path) -> None:
    template = template_after(project, "timeout: 60", "timeout: 300")

    assert {queue["VisibilityTimeout"] for queue in properties_of(deployed(template), "MNS::Queue")} == {330}


def test_role_has_the_function_policy_and_network_access_if_needed(project: Path) -> None:
    text = (PROJECT / "deploy" / "policies" / "function.json").read_text("utf-8")
    for name, value in (PSEUDO | {"Stage": "dev", "AppId": "unset", "UploadsBucket": "uploads"}).items():
        text = text.replace(f"${{{name}}}", value)
    (role,) = properties_of(deployed(make_template(project)), "RAM::Role")
    assert role["RoleName"] == "mpaas-push-dev"
    assert role["Policies"][0]["PolicyDocument"] == json.loads(text)
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": ["fc.aliyuncs.com"]}
    assert "PolicyAttachments" not in role

    network = "    vpcConfig: {vpcId: v, vSwitchIds: [s], securityGroupId: g}\n    logConfig:"
    (role,) = properties_of(deployed(template_after(project, "    logConfig:", network)), "RAM::Role")
    assert role["PolicyAttachments"] == {"System": ["AliyunECSNetworkInterfaceManagementAccess"]}


def test_provision_config_is_a_separate_resource(project: Path) -> None:
    warm = "provisionConfig: {defaultTarget: 2, alwaysAllocateCPU: false}\n    internetAccess:"
    resources = deployed(template_after(project, "internetAccess:", warm))

    kept = properties_of(resources, "FC3::ProvisionConfig")
    assert len(kept) == len(properties_of(resources, "FC3::Function"))
    assert kept[0].keys() == {"FunctionName", "DefaultTarget", "AlwaysAllocateCPU"}
    assert (kept[0]["DefaultTarget"], kept[0]["AlwaysAllocateCPU"]) == (2, False)
    assert "ProvisionConfig" not in properties_of(resources, "FC3::Function")[0]


def test_layer_has_the_runtime_of_the_descriptor(project: Path) -> None:
    resources = deployed(template_after(project, "runtime: python3.10", "runtime: python3.12"))

    (layer,) = properties_of(resources, "FC3::LayerVersion")
    assert layer["CompatibleRuntime"] == ["python3.12"]
    assert {function["Runtime"] for function in properties_of(resources, "FC3::Function")} == {"python3.12"}


def test_example_source_is_created_if_its_instance_is_set(template: dict[str, Any]) -> None:
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


def test_source_copied_into_the_descriptor_is_always_created(project: Path) -> None:
    sources = (project / "s.sources.yaml").read_text("utf-8").replace("&stream", "&other")
    block = sources[sources.index("  rocketmq_push:") : sources.index("  rabbitmq_push:")]
    block = block.replace("${env('ROCKETMQ_INSTANCE_ID', 'rmq-cn-unset')}", "rmq-cn-1").replace(
        "triggerEnable: false", "triggerEnable: true"
    )
    template = template_after(project, "resources:\n", f"resources:\n{block}")

    config = deployed(template)["RocketmqPushRocketmqTrigger"]["Properties"]["TriggerConfig"]
    parameters = config["eventSourceConfig"]["eventSourceParameters"]["sourceRocketMQParameters"]
    assert parameters["InstanceId"] == "rmq-cn-1"
    assert "RocketMQInstanceId" not in template["Parameters"]
    assert "KafkaInstanceId" in template["Parameters"]


def test_additional_setting_becomes_a_parameter(project: Path) -> None:
    line = "PUSH_LEDGER_URL: "
    template = template_after(project, line, f"PUSH_LATE: ${{env('OUR_LATE', 'send')}}\n      {line}")

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
def test_additional_setting_that_may_be_secret_is_hidden_in_the_console(
    project: Path, name: str, default: str, hidden: bool
) -> None:
    line = "      PUSH_LEDGER_URL:"
    template = template_after(project, line, f"      {name}: ${{env('{name}', '{default}')}}\n{line}")

    parameter = template["Parameters"]["".join(word.title() for word in name.split("_"))]
    assert ("NoEcho" in parameter) is hidden


@pytest.mark.parametrize("name", ["role", "layer", "retry_queue", "queue_push_async", "stage", "ledger_url"])
def test_identifiers_are_unique(project: Path, name: str) -> None:
    with pytest.raises(DescriptorError, match="two parts of the stack would be called"):
        template_after(project, "  timer_push:\n", f"  {name}:\n")


@pytest.mark.parametrize("folder", ["others/queue_push", "others/layer"])
def test_package_names_are_unique(project: Path, folder: str) -> None:
    with pytest.raises(DescriptorError, match="rename one"):
        template_after(project, "code: ./functions/timer_push", f"code: ./{folder}")


@pytest.mark.parametrize("text", ["<<<<<<< HEAD", None])
def test_unreadable_policy_is_a_fault(project: Path, text: str | None) -> None:
    policy = project / "deploy" / "policies" / "function.json"
    policy.unlink() if text is None else policy.write_text(text)

    with pytest.raises(DescriptorError, match=r"function\.json of the role cannot be read"):
        template_after(project, "timeout: 60", "timeout: 60")


def references(value: Any) -> Iterator[str]:
    """Yield the names that a value refers to."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "Ref":
                yield item
            elif key == "Fn::GetAtt":
                yield item[0]
            elif key == "Fn::Sub":
                yield from re.findall(r"\$\{([^}]+)\}", item)
            elif key in {"DependsOn", "Condition"} and not isinstance(item, dict):
                yield from [item] if isinstance(item, str) else item
            else:
                yield from references(item)


def test_every_reference_is_defined(template: dict[str, Any]) -> None:
    parameters, resources, conditions = (template[key] for key in ("Parameters", "Resources", "Conditions"))

    assert set(references(template)) <= {*parameters, *resources, *conditions, *PSEUDO}
    assert not parameters.keys() & resources.keys()
    assert parameters["Stage"]["AllowedValues"] == ["dev", "prod", "staging"]
