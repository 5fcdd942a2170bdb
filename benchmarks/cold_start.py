"""Interpreter start, imports and first call, each time in a new process."""

from __future__ import annotations

import compileall
import json
import os
import re
import statistics
import subprocess
import sys
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import senders
from benchmarks.cpu import http_event
from benchmarks.measure import measured
from benchmarks.report import Table, verdict
from benchmarks.server import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
COLD = ROOT / "benchmarks" / "cold"
ROUNDS = 41

SAMPLE = "official sample"
TARGETS = {"`http_push`": 1.8, "a function without the event handler": 1.3}


@contextmanager
def _starters() -> Iterator[dict[str, Callable[..., str]]]:
    """Give one starter for each candidate: it starts a new interpreter and returns its standard error."""
    for folder in (ROOT / "shared", ROOT / "functions", COLD):
        compileall.compile_dir(folder, quiet=1)  # as in an instance; the dependencies are compiled already
    with serving() as port:
        environment = {
            "PATH": os.environ["PATH"],
            "MPAAS_ENDPOINT": f"http://127.0.0.1:{port}",
            "MPAAS_AK_ENV": senders.KEY,
            "MPAAS_SK_ENV": senders.SECRET,
            "PYTHONPATH": str(ROOT / "functions" / "http_push"),
        }

        def starter(script: str, argument: str) -> Callable[..., str]:
            def start(*options: str) -> str:
                command = [sys.executable, *options, str(COLD / script), argument]
                return subprocess.run(
                    command,
                    env=environment,
                    check=True,
                    text=True,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                ).stderr

            return start

        http, plain = TARGETS
        yield {
            SAMPLE: starter("official_sample.py", str(port)),
            http: starter("http_function.py", http_event(senders.MESSAGE).decode()),
            plain: starter("plain_function.py", json.dumps(senders.MESSAGE)),
        }


def cold_start() -> Table:
    """Compare cold starts."""
    with _starters() as starters:
        found = measured(starters, rounds=ROUNDS)
    rows = [[SAMPLE, f"{found[SAMPLE].median * 1000:.0f}", "1", ""]]
    for name, most in TARGETS.items():
        ratio = found[name].over(found[SAMPLE])
        rows.append([name, f"{found[name].median * 1000:.0f}", f"{ratio:.2f}", verdict(ratio, most=most)])
    return Table(
        "Cold start",
        f"Wall time of a new process: interpreter, imports, first call; exit not counted. Median of {ROUNDS} "
        "interleaved rounds.",
        ["what", "ms", "ratio", "target"],
        rows,
    )


def imports(starts: int = 7) -> Iterator[Table]:
    """Show what each candidate's imports cost, the dearest packages first."""
    with _starters() as starters:
        for name, start in starters.items():
            modules: dict[str, list[int]] = defaultdict(list)
            for _ in range(starts):
                for own, module in re.findall(
                    r"import time: +(\d+) \| +\d+ \| +(\S+)", start("-X", "importtime")
                ):
                    modules[module].append(int(own))
            packages: dict[str, list[float]] = defaultdict(list)
            for module, costs in modules.items():
                packages[module.partition(".")[0]].append(statistics.median(costs))
            dearest = sorted(packages.items(), key=lambda package: -sum(package[1]))[:20]
            yield Table(
                f"Imports of {name}",
                f"Each module's own time by `-X importtime`, median of {starts} starts, summed by package.",
                ["package", "modules", "ms"],
                [[package, str(len(costs)), f"{sum(costs) / 1000:.1f}"] for package, costs in dearest],
            )
