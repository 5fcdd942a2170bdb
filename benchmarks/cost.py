"""The cost of a million pushes on Function Compute, by its billing formula, from measured wall times."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import senders
from benchmarks.measure import measured
from benchmarks.report import Table
from benchmarks.server import serving
from mpaas_push.campaign.cost import compute_units

CPU, MEMORY_GB, LATENCY, PUSHES = 0.35, 0.5, 0.05, 100


@dataclass(frozen=True)
class Measurement:
    """A way of sending: the number of pushes of one invocation, and its wall time in seconds."""

    name: str
    pushes: int
    seconds: float

    def cu(self, pushes: int) -> float:
        """Return the CU of a number of pushes."""
        return compute_units(pushes / self.pushes, self.seconds, cpu=CPU, memory_gb=MEMORY_GB)


def cost() -> Table:
    """Compare the cost of a million pushes."""
    with serving(LATENCY) as port, senders.our_client(port) as client:
        ours = senders.our_batch(client)
        times = measured(
            {
                "batch": lambda: ours(PUSHES),
                "one": lambda: ours(1),
                "sample": lambda: senders.sample(port, 1),
            },
            rounds=15,
        )
    ways = [
        Measurement("official sample, one push an invocation", 1, times["sample"].median),
        Measurement(
            "official sample, 100 an invocation, one after the other", PUSHES, times["sample"].median * PUSHES
        ),
        Measurement("mpaas-push, one push an invocation", 1, times["one"].median),
        Measurement("mpaas-push, 100 an invocation", PUSHES, times["batch"].median),
    ]
    million = 1_000_000
    first = ways[0].cu(million)
    return Table(
        "Function Compute cost of a million pushes",
        f"CU by the billing formula, {CPU} vCPU and {MEMORY_GB:g} GB, warm, {LATENCY * 1000:.0f} ms server "
        "latency, one target a push, from wall times measured here (FC's vCPU share is smaller than this "
        "machine's core). Without egress and cold starts; ten targets a push cost a tenth per target.",
        ["way", "ms an invocation", "CU", "of the sample's"],
        [
            [
                way.name,
                f"{way.seconds * 1000:.0f}",
                f"{way.cu(million):,.0f}",
                f"{way.cu(million) / first:.2f}",
            ]
            for way in ways
        ],
    )
