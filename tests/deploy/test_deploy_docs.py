"""The page on deploying names what the descriptors, the policies and the commands need."""

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
"""Whose service-linked roles component fc3 looks for, and would create, when it deploys a trigger; beside that
which calls functions (@serverless-cd/srm-aliyun-ram20150501 0.0.2-beta.10, `SOURCE_TYPE`)."""


def commands() -> list[list[str]]:
    """The shell commands of the page, word by word."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    return [line.split() for line in "\n".join(blocks).replace("\\\n", " ").splitlines()]


def test_every_role_of_eventbridge_that_a_deployment_looks_for_is_made() -> None:
    triggers = [
        trigger.trigger_config.event_source_config.event_source_type
        for function in read_functions(PROJECT / "s.sources.yaml", {}).values()
        for trigger in function.triggers
        if isinstance(trigger, EventBridge)
    ]
    (loop,) = (words for words in commands() if words[:2] == ["for", "service"])

    assert set(loop[3:]) == {"sendevent-fc"}.union(*(SOURCES[each] for each in triggers))


def test_policies_have_names_of_their_stage() -> None:
    made = [words for words in commands() if words[:3] == ["aliyun", "ram", "CreatePolicy"]]

    assert [words[words.index("--PolicyName") + 1] for words in made] == [
        "mpaas-push-$stage",
        "mpaas-push-deployer-$stage",
    ]
    assert [re.findall(r"cat (\S+)\)", " ".join(words)) for words in made] == [
        ["$stage-function.json"],
        ["$stage-deployer.json"],
    ]


def test_the_stack_is_given_parameters_that_it_has_and_all_without_a_default_of_use() -> None:
    parameters = make_template(PROJECT)["Parameters"]
    (create,) = (words for words in commands() if words[:3] == ["aliyun", "ros", "CreateStack"])
    given = [word for flag, word in pairwise(create) if flag.endswith("ParameterKey")]

    assert set(given) <= parameters.keys()
    assert {"Stage", "CodeBucket", "CodePrefix", "AppId", "UploadsBucket"} == set(given)
    numbers = re.findall(r"Parameters\.(\d)\.ParameterKey", " ".join(create))
    assert numbers == [str(number) for number in range(1, len(given) + 1)]


def test_a_layer_version_is_replaced_when_a_stack_is_updated() -> None:
    assert re.search(r"`UpdateStack`[^.]*`--ReplacementOption Enabled`", PAGE)


@pytest.mark.parametrize("stage", stages(PROJECT))
def test_the_production_concurrency_of_the_page_is_that_of_the_overlay(stage: str) -> None:
    concurrency = read_functions(stage_file(PROJECT, stage), {})["queue_push"].concurrency_config
    assert concurrency
    reserved = concurrency.reserved_concurrency

    default = make_template(PROJECT)["Parameters"]["QueuePushInstances"]["Default"]
    if stage == "prod":
        assert f"`QueuePushInstances` with the value {reserved}" in PAGE
    else:
        assert reserved == default


def test_every_target_that_the_page_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    assert {words[1] for words in commands() if words[:1] == ["make"]} <= targets
