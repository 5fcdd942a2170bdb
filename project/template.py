"""`template`: write `template.yml`, generated from `s.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from project.ros_template import make_template, template_text

if TYPE_CHECKING:
    import argparse

__all__ = ["add_to"]


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = subparsers.add_parser(
        "template",
        help="write template.yml, a ROS stack of what s.yaml describes",
        description="Write template.yml for Resource Orchestration Service, generated from s.yaml and, with"
        " conditions, from s.sources.yaml. Exit codes: 0 written; 1 s.yaml is invalid.",
    )
    command.add_argument(
        "--folder", type=Path, default=Path(), help="the project's folder; by default the current one"
    )
    command.set_defaults(run=_write)


def _write(options: argparse.Namespace) -> int:
    document = make_template(options.folder)
    path = options.folder / "template.yml"
    path.write_text(template_text(document), "utf-8")
    print(f"{path}: {len(document['Resources'])} resources")
    return 0
