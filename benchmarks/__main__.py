"""`python -m benchmarks`: measures, prints tables, and writes them to docs/performance.md."""

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
    """Run the sections that the arguments name, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="section", help=f"any of {', '.join(SECTIONS)}; default: all"
    )
    parser.add_argument("--write", action="store_true", help="also write the tables to docs/performance.md")
    parser.add_argument(
        "--imports", action="store_true", help="instead show what the imports of a cold start cost"
    )
    options = parser.parse_args()
    unknown = sorted(set(options.sections) - SECTIONS.keys())
    if unknown:
        parser.error(f"no section {', '.join(unknown)}; the sections are {', '.join(SECTIONS)}")
    if options.imports:
        for table in imports():
            print(table, flush=True)
        return
    for name in options.sections or SECTIONS:
        text = f"{SECTIONS[name]()}\n{_origin(name)}\n"
        print(text, flush=True)
        if options.write:
            _write(name, text)


def _origin(name: str) -> str:
    """Return when, where and how a table was measured."""
    try:
        model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"))
    except OSError:
        model = None
    processor = model[1] if model else platform.machine()
    return (
        f"Measured {datetime.now().astimezone():%Y-%m-%d} by `python -m benchmarks {name}`: "
        f"CPython {platform.python_version()}, {os.cpu_count()} cores of {processor}, {platform.system()}."
    )


def _write(name: str, text: str) -> None:
    """Replace the text between a section's markers."""
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, start_marker, rest = DOCUMENT.read_text("utf-8").partition(start)
    _, end_marker, after = rest.partition(end)
    if not (start_marker and end_marker):
        raise SystemExit(f"{DOCUMENT}: {start.strip()} or {end.strip()} is missing")
    DOCUMENT.write_text(f"{before}{start}\n{text}\n{end}{after}", "utf-8")


if __name__ == "__main__":
    main()
