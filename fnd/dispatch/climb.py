"""Whether a fast function's containers help: climbing by doubling, each step to be shown by calls finished per second.

Where processors, or the daemon itself, are what calls wait for, another container only stretches everybody's runs, and
the wait that metering computes from them never falls: it would launch for ever. No measurement of CPU is needed to see
this. The rate at which calls finish either rises with the containers or does not.
"""

from __future__ import annotations

import math
from typing import Final

UNPROVEN: Final = 2
"""Containers that need no proof."""
GAIN: Final = 0.5
"""The part of a perfect gain that a step must show: with twice the containers, half as many calls again a second."""
DOUBT: Final = 3.0
"""How far beyond that line a rate must lie to be believed, over the square root of the runs it was taken from: about
three times its standard error for runs whose lengths vary as widely as exponential ones. Until then more runs count."""
FEWEST_RUNS: Final = 48
MOST_RUNS: Final = 500
"""Runs after which doubt ends."""
SATURATED: Final = 0.7
"""The part of their time that containers must have been busy for the rate to say anything."""
STRETCH: Final = 2.0
"""How much more than in proportion to the containers runs may grow before the function itself has become slower."""
SHORTEST_HOLD: Final = 5.0
LONGEST_HOLD: Final = 60.0
"""Seconds from a step that did not help to the next try; each that fails doubles them."""


class Climb:
    """One pool's way up. Rates are in calls per second."""

    __slots__ = (
        "_held_until", "_hold", "_rate", "_run", "_trying", "_window_began", "_window_containers", "_window_runs",
        "proven", "retreat",
    )  # fmt: skip

    def __init__(self) -> None:
        self.proven = UNPROVEN
        """Containers that need no proof, or have given it."""
        self.retreat = 0
        """How many containers to go back to after a step that did not help; 0: no step is to be taken back."""
        self._rate = 0.0
        self._run = 0.0
        self._trying = True
        self._held_until = 0.0
        self._hold = SHORTEST_HOLD
        self._window_began = 0.0
        self._window_containers = 0
        self._window_runs = 0

    def allowed(self, containers: int, runs: int, mean_run: float, now: float, concurrency: int = 1) -> int:
        """Return how many containers there may be, `containers` of them being there, all busy, and calls waiting.

        `runs` have finished so far and took `mean_run` seconds of late, `concurrency` of them at once in each.
        """
        finished = runs - self._window_runs
        if containers != self._window_containers or containers < self.proven:
            self._open_window(containers, runs, now)
        elif finished >= FEWEST_RUNS:
            elapsed = max(now - self._window_began, 1e-6)
            idle = finished * mean_run < SATURATED * containers * concurrency * elapsed
            if idle or self._judge(containers, finished, finished / elapsed, mean_run, now):
                self._open_window(containers, runs, now)
        return self.limit

    @property
    def limit(self) -> int:
        """How many containers there may be, as far as is known."""
        return 2 * self.proven if self._trying and self._rate else self.proven

    def stretched(self, containers: int) -> float:
        """Return how long, in seconds, runs may take merely because so many containers share what fewer had before.

        The containers of a whole step count even when they are not there, for the mean still remembers them.
        """
        return STRETCH * self._run * max(containers / self.proven, 2.0)

    def _open_window(self, containers: int, runs: int, now: float) -> None:
        self._window_containers = containers
        self._window_runs = runs
        self._window_began = now

    def _judge(self, containers: int, finished: int, rate: float, mean_run: float, now: float) -> bool:
        """Draw conclusions from a rate; False if there is none yet."""
        step = containers / self.proven - 1
        if self._trying and self._rate and step > 0:
            if step < 0.5:
                return True  # Too small a step to tell from noise; it may go on to twice.
            excess = rate / self._rate - 1 - GAIN * step
            if abs(excess) < DOUBT / math.sqrt(finished) and finished < MOST_RUNS:
                return False
            if excess < 0:
                self._trying = False
                self._held_until = now + self._hold
                self._hold = min(2 * self._hold, LONGEST_HOLD)
                self.retreat = self.proven
                return True
            self._hold = SHORTEST_HOLD
        elif not self._trying and now < self._held_until and rate >= self._rate / 2:
            return True
        # A first step, a step that helped, or another try: because time passed, or the function became another.
        self.proven = containers
        self._rate = rate
        self._run = mean_run
        self._trying = True
        return True
