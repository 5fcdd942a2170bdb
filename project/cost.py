"""`cost`: the cost of a number of pushes by each trigger, computed from the descriptor.

Function Compute bills the configured resources for the time that a function runs, and calls; MNS bills
requests and queues; EventBridge the messages of streams; Log Service the written logs; CDT outbound traffic.
docs/operations.md names the page of each price.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field, fields, replace
from math import ceil, inf
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from mpaas_push.campaign.cost import CampaignPrices, compute_units
from mpaas_push.targets import TARGETS_PER_REQUEST
from project.descriptor import read_functions
from project.stages import read_settings, stage_file
from project.triggers import EventBridge, Http, Timer, Topic
from project.wiring import mns_queues, mns_topics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from project.function import FunctionProperties
    from project.triggers import Trigger

__all__ = ["Assumptions", "PushPrices", "PushSource", "add_to", "costs", "push_sources"]

DAYS, MILLION, GB = 30, 1_000_000, 1e9


@dataclass(frozen=True, kw_only=True)
class PushPrices:
    """Prices in USD, of Hangzhou where regions differ, without free quotas.

    A price is UNSURE if its page does not show the number, or no longer shows it.
    """

    million_cu: float = field(
        default=CampaignPrices.million_units,
        metadata={"what": "a million CU of Function Compute, of the first 100 million in a month"},
    )
    million_mns_requests: float = field(
        default=0.29, metadata={"what": "a million requests to MNS", "unsure": True}
    )
    queue_day: float = field(default=0.08, metadata={"what": "a queue of MNS for a day"})
    topic_day: float = field(default=0.32, metadata={"what": "a topic of MNS for a day", "unsure": True})
    million_stream_messages: float = field(
        default=0.41, metadata={"what": "a million messages of at most 64 KB in event streams"}
    )
    log_gb: float = field(default=0.061, metadata={"what": "a GB written to Log Service", "unsure": True})
    egress_gb: float = field(
        default=CampaignPrices.egress_gb, metadata={"what": "a GB sent to the internet", "unsure": True}
    )


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What a push consumes, as measured (docs/performance.md: cost), and how pushes arrive."""

    targets: int = field(default=1, metadata={"what": "targets of one push; ten share a request to mPaaS"})
    a_request: int = field(default=1, metadata={"what": "pushes in one HTTP request"})
    batch: int = field(
        default=100, metadata={"what": "messages in one batch; at most CountBasedWindow of the trigger"}
    )
    ms_one: float = field(default=52.0, metadata={"what": "milliseconds of an invocation with one push"})
    ms_hundred: float = field(
        default=135.0, metadata={"what": "milliseconds of an invocation with 100 pushes"}
    )
    mns_requests: float = field(
        default=3.0, metadata={"what": "MNS requests a message: send, receive, delete"}
    )
    log_bytes: float = field(default=380.0, metadata={"what": "bytes logged for a request to mPaaS"})
    log_bytes_call: float = field(
        default=1000.0, metadata={"what": "bytes logged for an invocation, request metrics included"}
    )
    request_bytes: float = field(default=1600.0, metadata={"what": "bytes of a request to mPaaS, with TLS"})
    response_bytes: float = field(
        default=900.0, metadata={"what": "bytes of the response to an HTTP request"}
    )

    def seconds(self, pushes: float) -> float:
        """Return the duration of an invocation, on the line through the two measurements; at least 0."""
        per_push = (self.ms_hundred - self.ms_one) / 99
        return max(self.ms_one + per_push * (pushes - 1), 0) / 1000


@dataclass(frozen=True, kw_only=True)
class PushSource:
    """How pushes arrive: a trigger of a function.

    Attributes:
        function: Name of the function in the descriptor.
        trigger: Name of the trigger.
        pushes: Pushes in one invocation.
        queue: Whether they come from an MNS queue.
        topic: Whether they come from an MNS topic.
        stream: Whether an event stream delivers them.
        responds: Whether the invocation responds to a client.
    """

    function: str
    trigger: str
    pushes: int = 1
    queue: bool = False
    topic: bool = False
    stream: bool = False
    responds: bool = False


def push_sources(functions: Mapping[str, FunctionProperties], assumed: Assumptions) -> Iterator[PushSource]:
    """Yield the enabled triggers, except those of the retry queue and of campaigns (docs/campaigns.md), and
    except timers: a tick costs as much as an HTTP request with its pushes.
    """
    retries = {function.environment_variables.get("PUSH_RETRY_QUEUE") for function in functions.values()}
    for name, function in functions.items():
        if function.environment_variables.get("PUSH_CAMPAIGN_FUNCTION") == function.function_name:
            continue
        for trigger in function.triggers:
            if isinstance(trigger, EventBridge):
                config = trigger.trigger_config
                if not config.trigger_enable or config.event_source_config.queue in retries:
                    continue
            if not isinstance(trigger, Timer):
                yield _push_source(name, trigger, assumed)


def _push_source(name: str, trigger: Trigger, assumed: Assumptions) -> PushSource:
    source = PushSource(function=name, trigger=trigger.trigger_name)
    match trigger:
        case Http():
            return replace(source, pushes=max(1, assumed.a_request), responds=True)
        case Topic():
            return replace(source, topic=True)
        case EventBridge(trigger_config=config) if trigger.is_stream:
            window = config.run_options.batch_window.count_based_window if config.run_options else 1
            queue = bool(config.event_source_config.queue)
            return replace(source, pushes=max(1, min(assumed.batch, window)), queue=queue, stream=True)
        case _:
            return source


def costs(
    source: PushSource, function: FunctionProperties, pushes: int, assumed: Assumptions, prices: PushPrices
) -> dict[str, float]:
    """Return the cost of a number of pushes in USD, by service."""
    requests_each = max(1, ceil(assumed.targets / TARGETS_PER_REQUEST))
    requests, calls = pushes * requests_each, pushes / source.pushes
    units = compute_units(
        calls,
        assumed.seconds(source.pushes * requests_each),
        cpu=function.cpu,
        memory_gb=function.memory_size / 1024,
        disk_gb=function.disk_size / 1024,
    )
    mns_requests = assumed.mns_requests if source.queue else 2 if source.topic else 0  # published, pushed
    logged = requests * assumed.log_bytes + calls * assumed.log_bytes_call
    sent = requests * assumed.request_bytes + (calls * assumed.response_bytes if source.responds else 0)
    return {
        "Function Compute": units / MILLION * prices.million_cu,
        "MNS": pushes * mns_requests / MILLION * prices.million_mns_requests,
        "EventBridge": pushes / MILLION * prices.million_stream_messages if source.stream else 0.0,
        "Log Service": logged / GB * prices.log_gb,
        "egress": sent / GB * prices.egress_gb,
    }


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = subparsers.add_parser(
        "cost",
        help="compute the cost of pushes from the descriptor",
        description="Compute the cost of a number of pushes in USD, for each enabled trigger of the"
        " descriptor, without cold starts, retries and free quotas. docs/operations.md names the page of each"
        " price.",
    )
    command.add_argument("--pushes", type=_count, default=1_000_000, metavar="N", help="1,000,000 by default")
    command.add_argument(
        "--stage", default="dev", help="stage of the descriptor and settings; dev by default"
    )
    command.add_argument(
        "--folder", type=Path, default=Path(), help="the project's folder; by default the current one"
    )
    for group in (Assumptions, PushPrices):
        for option in fields(group):
            flag = f"--{'price-' if group is PushPrices else ''}{option.name.replace('_', '-')}"
            unsure = ", UNSURE" if option.metadata.get("unsure") else ""
            what = f"{option.metadata['what']}; {option.default:g} by default{unsure}"
            command.add_argument(
                flag,
                type=_count if isinstance(option.default, int) else _amount,
                default=option.default,
                metavar="X",
                help=what,
            )
    command.set_defaults(run=_cost)


MAX_DIGITS = 15
"""Digits of the largest number of pushes that a float represents exactly."""


def _count(text: str) -> int:
    digits = text.replace(",", "")
    if not digits.isdecimal() or len(digits) > MAX_DIGITS:
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more, of at most {MAX_DIGITS} digits")
    return int(digits)


def _amount(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < inf:
        raise argparse.ArgumentTypeError("must be a number, 0 or more")
    return number


def _cost(options: argparse.Namespace) -> int:
    env = read_settings(options.folder, options.stage, os.environ)
    functions = read_functions(stage_file(options.folder, options.stage), env)
    assumed = Assumptions(**{option.name: getattr(options, option.name) for option in fields(Assumptions)})
    prices = PushPrices(
        **{option.name: getattr(options, f"price_{option.name}") for option in fields(PushPrices)}
    )
    table = Table(box=None, pad_edge=False, show_edge=False)
    services = ["Function Compute", "MNS", "EventBridge", "Log Service", "egress"]
    table.add_column(f"{options.pushes:,} pushes by", no_wrap=True)
    table.add_column("per invocation", justify="right")
    for service in (*services, "USD"):
        table.add_column(service, justify="right")
    for source in push_sources(functions, assumed):
        cost = costs(source, functions[source.function], options.pushes, assumed, prices)
        amounts = [*(cost[service] for service in services), sum(cost.values())]
        table.add_row(
            f"{source.function}, {source.trigger}",
            str(source.pushes),
            *(f"{amount:,.2f}" for amount in amounts),
        )
    Console(width=140, highlight=False).print(table)
    queues, topics = mns_queues(functions.values()), mns_topics(functions.values())
    monthly = DAYS * (len(queues) * prices.queue_day + len(topics) * prices.topic_day)
    resources = f"{len(queues)} queues and {len(topics)} topic{'' if len(topics) == 1 else 's'}"
    print(f"and each month, regardless of pushes: {resources} of MNS: {monthly:,.2f} USD")
    unsure = [
        f"--price-{option.name.replace('_', '-')}"
        for option in fields(PushPrices)
        if option.metadata.get("unsure") and getattr(prices, option.name) == option.default
    ]
    if unsure:
        print(f"UNSURE prices, which docs/operations.md explains: {', '.join(unsure)}")
    return 0
