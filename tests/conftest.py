"""How property tests run: by what they find, not by how fast this machine is at the moment."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "project",
    deadline=None,
    database=None,
    derandomize=bool(
        os.environ.get("CI")
    ),  # what passed once passes again; at a desk, chance goes on looking
    # The first text on a new machine takes seconds: tables of Unicode are made then.
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("project")
