"""The history of campaigns, for their curves: a bounded number of samples of each."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mpaas_local.inbox.campaigns.http_function import FunctionRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mpaas_local.inbox.campaigns.http_function import HttpFunction

__all__ = ["CampaignWatch", "History"]

SAMPLES = 300
"""Maximum number of samples of one campaign; beyond it, every other sample is dropped."""
CAMPAIGNS = 100
"""Campaigns with a history: as many as the HTTP function lists."""
FRESH_SECONDS = 0.5
"""For how long the list is reused for further requests, such as those of several pages."""
SAMPLE_SECONDS, UNWATCHED_SAMPLE_SECONDS = 1.0, 10.0
"""Between two samples of a campaign while a page is open, and while none is."""
PAGE_OPEN_SECONDS = 30.0
"""For how long after its last request a page counts as open."""
STOP_SECONDS = 5.0
"""Longest wait for the last sample."""


@dataclass
class History:
    """The samples of one campaign, oldest first, each as the JSON of a `Sample`."""

    samples: list[dict[str, Any]] = field(default_factory=list)
    _spacing: float = 0.0

    def record(self, campaign: Mapping[str, Any], now: float) -> None:
        """Add a sample of a campaign; it replaces the newest one if that is closer than the spacing."""
        sample = {name: campaign[name] for name in ("state", "counts", "bytesDone", "pace")}
        if not self.samples:
            empty = {"state": "running", "counts": dict.fromkeys(sample["counts"], 0), "bytesDone": 0}
            self.samples.append({**sample, **empty, "at": _seconds(campaign["startedAt"])})
        finished = campaign["finishedAt"]
        at = max(self.samples[-1]["at"], _seconds(finished) if finished else now)
        is_close = at == self.samples[-1]["at"] or at - self.samples[-2:][0]["at"] < self._spacing
        if len(self.samples) > 1 and is_close:
            self.samples.pop()
        self.samples.append({**sample, "at": at})
        if len(self.samples) > SAMPLES:
            self._spacing = 2 * max(self._spacing, SAMPLE_SECONDS)
            self.samples = [*self.samples[:-1:2], self.samples[-1]]


class CampaignWatch:
    """Requests campaigns from the HTTP function, and samples them while one of them runs. Thread-safe."""

    def __init__(self, function: HttpFunction, announce: Callable[[str], None]) -> None:
        """Create a watch; it sends no request yet.

        Args:
            function: The HTTP function.
            announce: Called with ``campaigns`` at every sample.
        """
        self._function = function
        self._announce = announce
        self._histories: dict[tuple[str, str], History] = {}
        self._states: dict[tuple[str, str], str] = {}
        self._latest: tuple[float, list[dict[str, Any]]] = (float("-inf"), [])
        self._last_request = float("-inf")
        self._lock = threading.Lock()
        self._sampling = threading.Lock()
        self._stopped = threading.Event()
        self._sampler: threading.Thread | None = None

    def list_all(self) -> list[dict[str, Any]]:
        """Return the latest campaigns, newest first.

        Raises:
            FunctionRefused: the HTTP function refused, or did not respond.
        """
        self._last_request = time.monotonic()
        with self._sampling:
            sampled, campaigns = self._latest
            if time.monotonic() - sampled >= FRESH_SECONDS:
                campaigns = self._sample()
        return campaigns

    def get(self, campaign_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return a campaign, with document and results, and its samples.

        Raises:
            FunctionRefused: the HTTP function refused, for example an unknown id, or did not respond.
        """
        self._last_request = time.monotonic()
        _, campaign = self._function.request("GET", f"/{quote(campaign_id, safe='')}")
        self._record([campaign])
        with self._lock:
            history = self._histories.get(_key(campaign), History())  # beyond `CAMPAIGNS` there is none
            return campaign, list(history.samples)

    def note_change(self, campaign: dict[str, Any]) -> None:
        """Record a campaign that was just started or changed, and make every page request it again."""
        self._latest = (float("-inf"), self._latest[1])
        self._record([campaign])
        self._announce("campaigns")

    def stop(self) -> None:
        """End the sampling."""
        self._stopped.set()
        if self._sampler:
            self._sampler.join(STOP_SECONDS)

    def _sample(self) -> list[dict[str, Any]]:
        _, body = self._function.request("GET", "")
        campaigns: list[dict[str, Any]] = body["campaigns"]
        self._latest = (time.monotonic(), campaigns)
        self._record(campaigns)
        return campaigns

    def _record(self, campaigns: list[dict[str, Any]]) -> None:
        with self._lock:
            for campaign in campaigns:
                key = _key(campaign)
                self._histories.setdefault(key, History()).record(campaign, time.time())
                self._states[key] = "ended" if campaign["finishedAt"] else campaign["state"]
            while len(self._histories) > CAMPAIGNS:
                oldest = min(self._histories, key=lambda key: key[1])
                del self._histories[oldest], self._states[oldest]
            is_idle = self._sampler is None or not self._sampler.is_alive()
            if is_idle and self._pause() and not self._stopped.is_set():
                self._sampler = threading.Thread(
                    target=self._sample_repeatedly, name="campaign-watch", daemon=True
                )
                self._sampler.start()

    def _sample_repeatedly(self) -> None:
        pause: float | None = SAMPLE_SECONDS
        while pause and not self._stopped.wait(pause):
            # An open page sends a request after each announcement, which is a sample as well.
            if not self._was_requested_within(2 * SAMPLE_SECONDS):
                with suppress(FunctionRefused), self._sampling:  # it may respond the next time
                    self._sample()
            self._announce("campaigns")
            with self._lock:
                pause = self._pause()

    def _pause(self) -> float | None:
        """Return the seconds until the next sample; None if nothing changes or no page is open."""
        states = set(self._states.values())
        is_active = "running" in states
        if self._was_requested_within(PAGE_OPEN_SECONDS) and (is_active or states & {"waiting", "paused"}):
            return SAMPLE_SECONDS
        return UNWATCHED_SAMPLE_SECONDS if is_active else None

    def _was_requested_within(self, seconds: float) -> bool:
        return time.monotonic() - self._last_request < seconds


def _key(campaign: Mapping[str, Any]) -> tuple[str, str]:
    """Identify one run of a campaign: after its record has expired, its id may be used again."""
    return campaign["campaign"], campaign["startedAt"]


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()
