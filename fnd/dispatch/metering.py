"""When another container is worth its launch: what waiting would cost against what launching costs.

The last of `waiting` calls gets a container after `waiting` others have finished, so with `containers` of them it waits

    waiting × mean run ÷ containers

and another is launched while that is longer than the mean start. Both means are the pool's own. Containers that serve
several calls at once count as so many times what one gives, calls that wait as so many parts of one. Four things
keep the formula honest; docs/dispatch.md has the reasoning:

- Calls that still run count: if those in progress have run longer, on average, than finished ones did, their age is
  the mean. A slow function is so noticed before its first call ends.
- A call that did wait longer than a start, for runs longer than a start, proves the estimate wrong: slow calls that
  began together also end together, and the mean knows nothing of that. So do calls that for long have found no
  container idle, though none of them waits for long.
- Evidence that is thin (few runs, or only unfinished ones) at most doubles the containers per half start time: the
  first call of a container is often slow for reasons that never come back.
- A fast function (run < start) must show that containers help (fnd.dispatch.climb).
"""

from __future__ import annotations

import math
from typing import Final

from fnd.dispatch.climb import Climb

RUN_WEIGHT: Final = 1 / 8
START_WEIGHT: Final = 1 / 4
SURE: Final = 8
"""Finished runs from which the mean is trusted."""
SHORTEST_REVIEW: Final = 0.01
"""Seconds between two looks at one pool, at least."""


class Meter:
    """One pool's measurements, in seconds, and what they say."""

    __slots__ = ("_allowance", "_widened_at", "began", "climb", "mean_run", "mean_start", "runs", "starts")

    def __init__(self) -> None:
        self.runs = 0
        """Runs finished."""
        self.mean_run = 0.0
        self.starts = 0
        self.mean_start = 0.0
        self.began = 0.0
        """The sum of the moments at which the calls in progress began; with their number, their mean age."""
        self.climb = Climb()
        self._allowance = 0
        self._widened_at = float("-inf")

    def ran(self, run: float) -> None:
        """Learn from a finished run."""
        self.runs = runs = self.runs + 1
        self.mean_run += (run - self.mean_run) * (RUN_WEIGHT if runs > SURE else 1 / runs)

    def started(self, start: float) -> None:
        """Learn from a launch that succeeded."""
        self.starts += 1
        self.mean_start += (start - self.mean_start) * max(START_WEIGHT, 1 / self.starts)

    @property
    def review_interval(self) -> float:
        """Seconds until a pool with waiters is looked at again, though nothing happened to it."""
        return max(self.mean_start / 2, SHORTEST_REVIEW)

    def wanted(
        self, waiting: int, longest_wait: float, busy: int, coming: int, now: float, concurrency: int = 1
    ) -> int:
        """Return how many more containers a hot pool should launch now.

        `waiting` calls stand in line, for `longest_wait` seconds as Pool counts them; `busy` containers, at least one,
        each run `concurrency` calls, as many as they may, and none is idle; `coming` are being launched.
        """
        containers = busy + coming
        age = now - self.began / (busy * concurrency)
        run = max(self.mean_run, age)
        waiting = -(-waiting // concurrency)
        target = busy + waiting
        fast = run < self.mean_start or run <= self.climb.stretched(busy)
        if fast or longest_wait < self.mean_start:
            target = min(target, math.ceil(waiting * run / max(self.mean_start, 1e-6)))
        if target <= containers:
            return 0
        if fast:
            target = min(target, self.climb.allowed(busy, self.runs, self.mean_run, now, concurrency))
        elif self.runs < SURE or self.mean_run < self.mean_start:
            target = min(target, self._widened(containers, now))
        return max(0, target - containers)

    def _widened(self, containers: int, now: float) -> int:
        """Return how many containers thin evidence that the function is slow allows for now."""
        if now - self._widened_at >= self.mean_start / 2:
            self._widened_at = now
            self._allowance = 2 * containers
        return self._allowance
