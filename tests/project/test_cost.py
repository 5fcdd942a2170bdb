"""The cost of pushes, as computed by the functions and printed by the command."""

from __future__ import annotations

import re
import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest

from mpaas_push.campaign.cost import compute_units
from project.__main__ import main
from project.cost import Assumptions, PushPrices, PushSource, costs, push_sources
from project.descriptor import read_functions
from tests.descriptors import PROJECT

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text("utf-8")
FUNCTIONS = read_functions(PROJECT / "s.yaml", {})
FREE = PushPrices(**{price.name: 0.0 for price in fields(PushPrices)})
QUEUE = PushSource(function="queue_push", trigger="pushes", pushes=100, queue=True, stream=True)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["cost", "--folder", str(PROJECT), *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_compute_units_are_those_of_the_official_example() -> None:
    """3 million calls of 200 ms with 0.25 vCPU and 512 MB: 22,500 + 45,000 + 150,000 CU."""
    assert compute_units(3_000_000, 0.2, cpu=0.25, memory_gb=0.5) == pytest.approx(217_500)


def test_disk_is_billed_beyond_512_mb() -> None:
    small, large = (compute_units(1, 1, cpu=0, memory_gb=0, disk_gb=size) for size in (0.5, 10))

    assert large - small == pytest.approx(0.475)


def test_enabled_triggers_are_push_sources() -> None:
    sources = [
        (source.function, source.trigger, source.pushes) for source in push_sources(FUNCTIONS, Assumptions())
    ]

    assert sources == [
        ("queue_push", "pushes", 100),
        ("queue_push", "announcements", 1),
        ("http_push", "http", 1),
        ("event_push", "events", 1),
        ("event_push", "uploads", 1),
    ]


def test_each_service_has_its_price() -> None:
    assumed = Assumptions(
        ms_one=100,
        ms_hundred=1090,
        mns_requests=3,
        log_bytes=400,
        log_bytes_call=1000,
        request_bytes=2000,
        response_bytes=500,
    )
    function, million = FUNCTIONS["queue_push"], 1_000_000

    def cost(source: PushSource, prices: PushPrices) -> dict[str, float]:
        return costs(source, function, million, assumed, prices)

    # 10,000 calls of 1.09 s with 0.35 vCPU and half a GB
    assert cost(QUEUE, replace(FREE, million_cu=1e6))["Function Compute"] == pytest.approx(
        10_000 * (1.09 * 0.425 + 0.0075)
    )
    assert cost(QUEUE, replace(FREE, million_mns_requests=1e6))["MNS"] == pytest.approx(3 * million)
    assert cost(replace(QUEUE, queue=False), replace(FREE, million_mns_requests=1e6))["MNS"] == 0
    assert cost(QUEUE, replace(FREE, million_stream_messages=1e6))["EventBridge"] == million
    assert cost(QUEUE, replace(FREE, log_gb=1e9))["Log Service"] == million * 400 + 10_000 * 1000
    assert cost(QUEUE, replace(FREE, egress_gb=1e9))["egress"] == million * 2000
    http = PushSource(function="http_push", trigger="http", responds=True)
    assert cost(http, replace(FREE, egress_gb=1e9))["egress"] == million * 2500
    assert sum(cost(QUEUE, FREE).values()) == 0


def test_ten_targets_share_a_request_and_an_eleventh_needs_another() -> None:
    prices = replace(FREE, egress_gb=1e9)
    for targets, requests in ((1, 1), (10, 1), (11, 2), (25, 3)):
        assumed = Assumptions(targets=targets, request_bytes=1)
        assert costs(QUEUE, FUNCTIONS["queue_push"], 1000, assumed, prices)["egress"] == 1000 * requests


def test_cost_of_an_invocation_is_never_negative() -> None:
    assert Assumptions(ms_one=52, ms_hundred=1).seconds(1000) == 0


def test_queues_and_topics_have_a_monthly_cost(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "--pushes", "0", "--price-queue-day", "1", "--price-topic-day", "10")

    assert any(line.endswith("5 queues and 1 topic of MNS: 450.00 USD") for line in lines)


def test_unsure_prices_are_listed_unless_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--price-log-gb, --price-egress-gb" in run(capsys)[-1]

    line = run(capsys, "--price-log-gb", "0.06", "--price-egress-gb", "0.1")[-1]

    assert line.startswith("UNSURE prices")
    assert "--price-topic-day" in line
    assert "--price-log-gb" not in line


def test_costs_depend_on_the_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "s.prod.yaml").write_text(
        "extend: s.yaml\nvars: {stage: prod}\ntemplate: {function: {memorySize: 1024, cpu: 1}}\n"
    )

    def http(stage: str) -> str:
        assert main(["cost", "--folder", str(folder), "--stage", stage]) == 0
        lines = capsys.readouterr().out.splitlines()
        return next(line for line in lines if line.startswith("http_push"))

    assert http("prod") != http("dev") == http("staging")
    assert main(["cost", "--folder", str(folder), "--stage", "sources"]) == 1


@pytest.mark.parametrize(
    "argument",
    [
        "--pushes=-1",
        "--pushes=many",
        f"--pushes={'9' * 400}",
        "--price-million-cu=-1",
        "--price-million-cu=nan",
        "--ms-one=inf",
    ],
)
def test_invalid_number_is_refused(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["cost", argument])
    assert re.search(r"must be a (whole )?number, 0 or more", capsys.readouterr().err)


def test_unreadable_descriptor_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--folder", str(tmp_path)]) == 1

    assert "s.yaml: cannot be read" in capsys.readouterr().err


def test_documented_table_is_the_output_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    shown = PAGE.partition("<!-- cost -->\n```\n")[2].partition("\n```")[0]

    assert shown.splitlines() == [line.rstrip() for line in run(capsys, "--pushes", "1000000")]


def test_documented_prices_are_the_defaults() -> None:
    for price in fields(PushPrices):
        assert (
            f"| `--price-{price.name.replace('_', '-')}` | {price.default:g} | {price.metadata['what']} |"
            in PAGE
        )
