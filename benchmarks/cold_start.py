"""Interpreter start, imports and first call of functions on the built layer, each time in a new process."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import tempfile
import zipfile
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import senders
from benchmarks.cpu import http_event
from benchmarks.measure import measured
from benchmarks.quota import CPUS, limited_group
from benchmarks.report import Table, verdict
from benchmarks.server import serving
from deploy.code import copy_code
from deploy.layer import RUNTIMES, build, compile_modules, install_dependencies, interpreter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.measure import Times

    Start = Callable[..., str]

ROOT = Path(__file__).resolve().parent.parent
COLD = ROOT / "benchmarks" / "cold"
ROUNDS, LIMITED_ROUNDS = 21, 21
PERIOD = 0.01
"""Seconds of a period of the quota. A start lasts whole periods: two to four of Linux's default, 0.1 s, which
would be too coarse."""

SAMPLE = "official sample"
TARGETS = {"http_push": 1.55, "timer_push": 1.35, "queue_push": 1.35, "event_push": 1.35}
FUNCTIONS = tuple(TARGETS)


def cold_start() -> Table:
    """Compare cold starts, with all of a CPU and with a third of one."""
    with tempfile.TemporaryDirectory() as temporary, _starters(Path(temporary)) as (runtime, starters):
        free = measured(starters(None), rounds=ROUNDS)
        with limited_group(PERIOD) as group:
            limited = measured(starters(group), rounds=LIMITED_ROUNDS) if group else {}
    rows = [*_rows(free, "one CPU"), *_rows(limited, f"{CPUS} CPU")]
    return Table(
        "Cold start",
        f"Wall time of a new {runtime} process: interpreter, imports, first call; exit not counted. Median "
        f"of {ROUNDS} interleaved rounds, of {LIMITED_ROUNDS} in a cgroup with a quota of {CPUS} CPU in each "
        f"{PERIOD * 1000:.0f} ms.",
        ["what", "with", "ms", "of the sample's", "target"],
        rows,
    )


def _rows(measurements: Mapping[str, Times], share: str) -> Iterator[list[str]]:
    for name, times in measurements.items():
        ratio = times.over(measurements[SAMPLE])
        target = verdict(ratio, most=TARGETS[name]) if name in TARGETS else ""
        label = name if name == SAMPLE else f"`{name}`"
        yield [
            label,
            share,
            f"{times.median * 1000:.0f}",
            f"{ratio:.2f}",
            target,
        ]


@contextmanager
def _starters(folder: Path) -> Iterator[tuple[str, Callable[[Path | None], dict[str, Start]]]]:
    """Lay out the files of an instance; yield the runtime, and what returns each candidate's starter.

    Layer and functions are built with their bytecode, as they are uploaded. Nothing may be written, as in an
    instance. The dependencies of the sample are compiled as well.

    Raises:
        RuntimeError: this machine has no interpreter of any runtime.
    """
    runtime = next((candidate for candidate in RUNTIMES if interpreter(candidate)), None)
    if runtime is None:
        raise RuntimeError(f"none of {', '.join(RUNTIMES)} is on this machine")
    # A separate environment: other packages of this machine could slow the interpreter's start.
    subprocess.run([interpreter(runtime) or "", "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = str(folder / "venv" / "bin" / "python")
    with zipfile.ZipFile(build(runtime, folder)) as package:
        package.extractall(folder / "opt")
    install_dependencies(runtime, folder / "sample")
    compile_modules(python, folder / "sample")
    copy_code(ROOT, [f"functions/{name}" for name in FUNCTIONS], folder, runtime)
    for name, event in _events().items():
        (folder / f"{name}.json").write_bytes(event)
    with serving() as port:

        def starter(site: list[Path], script: str, argument: str, group: Path | None) -> Start:
            environment = {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": ":".join(map(str, site)),
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYDANTIC_DISABLE_PLUGINS": "__all__",  # as in s.yaml
                "MPAAS_ENDPOINT": f"http://127.0.0.1:{port}",
                "MPAAS_APP_ID": "ONEX570DA89211721",
                "MPAAS_WORKSPACE_ID": "default",
                "MPAAS_AK_ENV": senders.KEY,
                "MPAAS_SK_ENV": senders.SECRET,
                "PUSH_LATE": "send",  # the events are old
            }

            def start(*options: str) -> str:
                command = [python, *options, str(COLD / script), argument]
                if group:  # the shell enters the group, then becomes the function
                    command = ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(group), *command]
                process = subprocess.run(
                    command, env=environment, check=False, text=True, capture_output=True
                )
                if process.returncode:
                    raise RuntimeError(process.stdout + process.stderr)
                return process.stderr

            return start

        def starters(group: Path | None) -> dict[str, Start]:
            ours = {
                name: starter(
                    [folder / "functions" / name, folder / "opt" / "python"],
                    "function.py",
                    str(folder / f"{name}.json"),
                    group,
                )
                for name in FUNCTIONS
            }
            return {SAMPLE: starter([folder / "sample"], "official_sample.py", str(port), group), **ours}

        yield runtime, starters


def _events() -> dict[str, bytes]:
    """Return an event for each function, which becomes one push."""
    message = json.dumps(senders.MESSAGE)
    tick = {"triggerTime": "2026-01-01T00:00:00Z", "triggerName": "morning", "payload": message}
    record = {
        "id": "1",
        "source": "acs:mns",
        "specversion": "1.0",
        "type": "mns:Queue:SendMessage",
        "datacontenttype": "application/json;charset=utf-8",
        "subject": "acs:mns:cn-hangzhou:1000000000000000:queues/mpaas-push-dev",
        "time": "2026-01-01T00:00:00Z",
        "data": {"requestId": "1", "messageId": "1", "messageBody": message},
    }
    shipped = {
        "id": "1",
        "source": "shop.orders",
        "specversion": "1.0",
        "type": "order:Shipped",
        "time": "2026-01-01T00:00:00Z",
        "data": {"order": {"id": "4711", "customer": "user-1", "items": [{"name": "Tea"}]}},
    }
    return {
        "http_push": http_event(senders.MESSAGE),
        "timer_push": json.dumps(tick).encode(),
        "queue_push": json.dumps([json.dumps(record)]).encode(),
        "event_push": json.dumps(shipped).encode(),
    }


def imports(starts: int = 7) -> Iterator[Table]:
    """Yield what each candidate's imports cost, the most expensive packages first."""
    with tempfile.TemporaryDirectory() as temporary, _starters(Path(temporary)) as (_, starters):
        for name, start in starters(None).items():
            modules: dict[str, list[int]] = defaultdict(list)
            for _ in range(starts):
                for own, module in re.findall(
                    r"import time: +(\d+) \| +\d+ \| +(\S+)", start("-X", "importtime")
                ):
                    modules[module].append(int(own))
            packages: dict[str, list[float]] = defaultdict(list)
            for module, costs in modules.items():
                packages[module.partition(".")[0]].append(statistics.median(costs))
            most_expensive = sorted(packages.items(), key=lambda package: -sum(package[1]))[:20]
            yield Table(
                f"Imports of {name}",
                f"Each module's own time by `-X importtime`, median of {starts} starts, summed by package.",
                ["package", "modules", "ms"],
                [[package, str(len(costs)), f"{sum(costs) / 1000:.1f}"] for package, costs in most_expensive],
            )
