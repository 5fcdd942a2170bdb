"""docs/deploy.md has the roles, policies and parameters that deployments need."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from project.descriptor import read_functions
from project.ros_template import make_template
from project.stages import stage_file, stages
from project.triggers import EventBridge
from tests.descriptors import PROJECT

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "deploy.md").read_text("utf-8")
SOURCES = {
    "Default": {"source-cms", "source-actiontrail"},
    "MNS": {"sendevent-mns"},
    "RocketMQ": {"source-rocketmq"},
    "RabbitMQ": {"source-rabbitmq"},
    "Kafka": {"source-kafka", "connect-vpc"},
}
"""Services whose service-linked roles component fc3 checks, and would create, when it deploys a trigger of a source;
in addition to the role for calling functions (@serverless-cd/srm-aliyun-ram20150501 0.0.2-beta.10, `SOURCE_TYPE`)."""


def commands() -> list[list[str]]:
    """Return the shell commands of the page, each as a list of words."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    return [line.split() for line in "\n".join(blocks).replace("\\\n", " ").splitlines()]


def test_page_creates_every_service_role_of_eventbridge_that_a_deployment_checks() -> None:
    sources = [
        trigger.trigger_config.event_source_config.event_source_type
        for function in read_functions(PROJECT / "s.sources.yaml", {}).values()
        for trigger in function.triggers
        if isinstance(trigger, EventBridge)
    ]
    (loop,) = (words for words in commands() if words[:2] == ["for", "service"])

    assert set(loop[3:]) == {"sendevent-fc"}.union(*(SOURCES[source] for source in sources))


def test_page_names_policies_after_their_stage() -> None:
    creations = [words for words in commands() if words[:3] == ["aliyun", "ram", "CreatePolicy"]]

    assert [words[words.index("--PolicyName") + 1] for words in creations] == [
        "mpaas-push-$stage",
        "mpaas-push-deployer-$stage",
    ]
    assert [re.findall(r"cat (\S+)\)", " ".join(words)) for words in creations] == [
        ["$stage-function.json"],
        ["$stage-deployer.json"],
    ]


def test_page_sets_existing_parameters_and_all_without_a_useful_default() -> None:
    parameters = make_template(PROJECT)["Parameters"]
    (create,) = (words for words in commands() if words[:3] == ["aliyun", "ros", "CreateStack"])
    names = [word for flag, word in pairwise(create) if flag.endswith("ParameterKey")]

    assert set(names) <= parameters.keys()
    assert {"Stage", "CodeBucket", "CodePrefix", "AppId", "UploadsBucket"} == set(names)
    numbers = re.findall(r"Parameters\.(\d)\.ParameterKey", " ".join(create))
    assert numbers == [str(number) for number in range(1, len(names) + 1)]


def test_page_updates_stacks_with_replacement() -> None:
    assert re.search(r"`UpdateStack`[^.]*`--ReplacementOption Enabled`", PAGE)


@pytest.mark.parametrize("stage", stages(PROJECT))
def test_documented_production_concurrency_is_that_of_the_overlay(stage: str) -> None:
    concurrency = read_functions(stage_file(PROJECT, stage), {})["queue_push"].concurrency_config
    assert concurrency
    reserved = concurrency.reserved_concurrency

    default = make_template(PROJECT)["Parameters"]["QueuePushInstances"]["Default"]
    if stage == "prod":
        assert f"`QueuePushInstances` with the value {reserved}" in PAGE
    else:
        assert reserved == default


def test_documented_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    assert {words[1] for words in commands() if words[:1] == ["make"]} <= targets
