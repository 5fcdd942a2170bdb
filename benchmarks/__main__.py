"""`python -m benchmarks`: measure, print tables, and keep them in docs/performance.md."""

from __future__ import annotations

import argparse
import os
import platform
import re
from datetime import datetime
from pathlib import Path

from benchmarks.batches import batches
from benchmarks.campaign import campaign
from benchmarks.cold_start import cold_start, imports
from benchmarks.cost import cost
from benchmarks.cpu import own_work, push_cpu
from benchmarks.inbox import inbox
from benchmarks.large_batch import large_batch
from benchmarks.queues import queues
from benchmarks.quota import quota
from benchmarks.throughput import throughput

SECTIONS = {
    "throughput": throughput,
    "quota": quota,
    "batches": batches,
    "large": large_batch,
    "queues": queues,
    "campaign": campaign,
    "push": push_cpu,
    "work": own_work,
    "cold": cold_start,
    "cost": cost,
    "inbox": inbox,
}
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"


def main() -> None:
    """Run the sections that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="section", help=f"of {', '.join(SECTIONS)}; all if none"
    )
    parser.add_argument("--write", action="store_true", help="also put the tables into docs/performance.md")
    parser.add_argument(
        "--imports", action="store_true", help="show instead what the imports of a cold start cost"
    )
    options = parser.parse_args()
    unknown = sorted(set(options.sections) - SECTIONS.keys())
    if unknown:
        parser.error(f"no section {', '.join(unknown)}; there is {', '.join(SECTIONS)}")
    if options.imports:
        for fault in imports():
            print(fault, flush=True)
        return
    for name in options.sections or SECTIONS:
        table = f"{SECTIONS[name]()}\n{_origin(name)}\n"
        print(table, flush=True)
        if options.write:
            _write(name, table)


def _origin(name: str) -> str:
    """Say when, where and how a table was measured."""
    try:
        model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"))
    except OSError:
        model = None
    processor = model[1] if model else platform.machine()
    return (
        f"Measured {datetime.now().astimezone():%Y-%m-%d} by `python -m benchmarks {name}`: "
        f"CPython {platform.python_version()}, {os.cpu_count()} cores of {processor}, {platform.system()}."
    )


def _write(name: str, table: str) -> None:
    """Replace the text between a section's marks."""
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, marker, rest = DOCUMENT.read_text("utf-8").partition(start)
    _, ended, after = rest.partition(end)
    if not (marker and ended):
        raise SystemExit(f"{DOCUMENT}: {start.strip()} or {end.strip()} is missing")
    DOCUMENT.write_text(f"{before}{start}\n{table}\n{end}{after}", "utf-8")


if __name__ == "__main__":
    main()
