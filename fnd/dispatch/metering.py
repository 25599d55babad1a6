"""When another container is worth its launch: what waiting would cost against what launching costs.

The last of `waiting` calls gets a container after `waiting` others have finished, so with `containers` of them it waits

    waiting × mean run ÷ containers

and another is launched while that is longer than the mean start. Both means are the pool's own. Three things
keep the formula honest; docs/dispatch.md has the reasoning:

- Calls that still run count: if those in progress have run longer, on average, than finished ones did, their age is
  the mean. A slow function is so noticed before its first call ends.
- Evidence that is thin (few runs, or only unfinished ones) at most doubles the containers per half start time: the
  first call of a container is often slow for reasons that never come back.
- A fast function (run < start) must show that containers help: beyond one per core, the number may double only after
  the last doubling raised the rate of finished calls. When the processors, or the daemon, are what everybody waits
  for, runs just stretch, and the formula alone would launch for ever.
"""

from __future__ import annotations

import math
from typing import Final

RUN_WEIGHT: Final = 1 / 8
START_WEIGHT: Final = 1 / 4
SURE: Final = 8
"""Finished runs from which the mean is trusted."""
GAIN: Final = 1.3
"""How much faster calls must finish with twice the containers before the number may double again (2 is perfect)."""
RUNS_PER_CONTAINER: Final = 8
"""Runs that each container must have finished, on average, before the rate is judged: the mean has followed by then."""
SHORTEST_REVIEW: Final = 0.01
"""Seconds between two looks at one pool, at least."""


class Meter:
    """One pool's measurements, in seconds, and what they say."""

    __slots__ = (
        "_allowance", "_ceiling", "_judged_rate", "_settled_runs", "_widened_at",
        "began", "cores", "cpu_fraction", "mean_run", "mean_start", "runs", "starts",
    )  # fmt: skip

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self.runs = 0
        """Runs finished."""
        self.mean_run = 0.0
        self.starts = 0
        self.mean_start = 0.0
        self.began = 0.0
        """The sum of the moments at which the calls in progress began; with their number, their mean age."""
        self.cpu_fraction: float | None = None
        """How much of a core a container uses while it runs a call, if anybody measures it."""
        self._ceiling = cores
        self._judged_rate = 0.0
        self._settled_runs = 0
        self._allowance = 0
        self._widened_at = float("-inf")

    def ran(self, run: float) -> None:
        """Learn from a finished run."""
        self.runs = runs = self.runs + 1
        self.mean_run += (run - self.mean_run) * (RUN_WEIGHT if runs > SURE else 1 / runs)

    def started(self, start: float) -> None:
        """Learn from a launch that succeeded. The runs to judge the larger number of containers by begin here."""
        self.starts += 1
        self.mean_start += (start - self.mean_start) * max(START_WEIGHT, 1 / self.starts)
        self._settled_runs = self.runs

    @property
    def review_interval(self) -> float:
        """Seconds until a pool with waiters is looked at again, though nothing happened to it."""
        return max(self.mean_start / 2, SHORTEST_REVIEW)

    def wanted(self, waiting: int, busy: int, coming: int, now: float) -> int:
        """Return how many more containers a hot pool should launch now.

        `waiting` calls stand in line; `busy` containers each run one call, and no container is idle; `coming` are being
        launched. `busy` is at least 1.
        """
        containers = busy + coming
        age = now - self.began / busy
        run = max(self.mean_run, age)
        target = min(busy + waiting, math.ceil(waiting * run / max(self.mean_start, 1e-6)))
        if self.cpu_fraction is not None:
            target = min(target, math.ceil(self.cores / max(self.cpu_fraction, 0.01)))
        if target <= containers:
            return 0
        if run < self.mean_start:
            target = min(target, self._proven(busy, coming))
        elif self.runs < SURE or self.mean_run < self.mean_start:
            target = min(target, self._widened(containers, now))
        return max(0, target - containers)

    def _widened(self, containers: int, now: float) -> int:
        """Return how many containers thin evidence that the function is slow allows for now."""
        if now - self._widened_at >= self.mean_start / 2:
            self._widened_at = now
            self._allowance = 2 * containers
        return self._allowance

    def _proven(self, busy: int, coming: int) -> int:
        """Return how many containers a fast function may have, by what they did for it so far."""
        judgeable = not coming and self.runs - self._settled_runs >= RUNS_PER_CONTAINER * busy
        if not judgeable:
            return self._ceiling
        rate = busy / self.mean_run
        if not self._judged_rate:
            self._judged_rate = rate
            if busy < self._ceiling:
                return self._ceiling
        elif busy < self._ceiling or self._judged_rate / 2 <= rate < GAIN * self._judged_rate:
            return self._ceiling
        self._judged_rate = rate
        self._ceiling = 2 * busy
        return self._ceiling
