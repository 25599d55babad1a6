"""Launching within what can be launched: a limit for the machine, and back-off with a breaker for each pool."""

from __future__ import annotations

from typing import Any, Final

CROWDED: Final = 2.0
"""A start this many times slower than the best says that too many are starting at once."""
DECREASE: Final = 0.7
RETRY_DELAY: Final = 0.1
"""Seconds after the first failed launch; twice as long after each further one."""
PROBE_DELAY: Final = 1.0
"""Seconds that the breaker stays open at first; twice as long after each probe that fails."""
LONGEST_DELAY: Final = 60.0


def best_start(best: float, start: float, crowded: bool) -> float:
    """Return the new best start time, 0.0 standing for none yet.

    It falls at once, and rises only with starts made in peace: in a crowd a rising best would excuse the crowd.
    """
    if not best or start < best:
        return start
    return best if crowded else best + (start - best) / 16


class LaunchLimit:
    """How many launches the machine is given at once: additive increase, multiplicative decrease, as TCP does.

    What is measured is the time from launch to ready against the best known, the pool's own where it has one. While
    starts stay near their best the limit grows, doubling per start time until the first sign of crowding; a start
    CROWDED times slower than its best shrinks it, once per generation of launches. It never goes below CROWDED times
    the number of cores: so many starts that do nothing but compute just take that long. A machine whose starts only
    wait (for a registry, for a sleep) is so given hundreds at once, and one whose starts compute is given a few per
    core.
    """

    __slots__ = ("_best", "_cores", "_doubling", "_lowered_at", "in_flight", "limit")

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._best = 0.0
        self._doubling = True
        self._lowered_at = float("-inf")
        self.in_flight = 0
        """Launches begun and neither ready nor failed."""
        self.limit = 4.0 * cores

    def leaves_room(self, promised: int) -> bool:
        """Whether another launch may begin or be promised, `promised` others being so already."""
        return self.in_flight + promised < int(self.limit)

    @property
    def crowded(self) -> bool:
        """Whether starts compete with each other, so that their times say little of each alone."""
        return self.in_flight > self._cores

    def measured(self, start: float, pools_best: float, launched_at: float, now: float) -> None:
        """Learn from a launch that took `start` seconds and still is in `in_flight`; `pools_best` 0.0: unknown."""
        if not self.failed(start, pools_best, launched_at, now) and 2 * self.in_flight >= self.limit:
            self.limit += 1.0 if self._doubling else 1.0 / self.limit
        self._best = best_start(self._best, start, self.crowded)

    def failed(self, start: float, pools_best: float, launched_at: float, now: float) -> bool:
        """Learn from a launch that was not ready after `start` seconds: whether that is slow, and the crowd's doing."""
        if start <= CROWDED * (pools_best or self._best or start):
            return False
        if self.crowded and launched_at >= self._lowered_at:
            self.limit = max(CROWDED * self._cores, self.limit * DECREASE)
            self._lowered_at = now
            self._doubling = False
        return True


class LaunchFailures:
    """One pool's launches that failed in a row: when the next may be made, and whether the breaker is open.

    The first few failures delay the next attempt while callers wait. When `attempts` have failed the breaker opens:
    who waits and whoever comes is answered at once with the last reason. After a delay one call may try again (the
    probe); the delay doubles each time that fails, and a launch that succeeds forgets everything.
    """

    __slots__ = ("_failed_at", "error", "in_row", "retry_at", "total")

    def __init__(self) -> None:
        self.in_row = 0
        self.total = 0
        self.error: Any = None
        self.retry_at = float("-inf")
        """No launch before this."""
        self._failed_at = float("-inf")

    def failed(self, error: Any, attempts: int, launched_at: float, now: float, *, retry: bool) -> None:
        """Note a failure. Launches that were in flight together and fail together count as one attempt.

        `retry` false: it counts as all that were left.
        """
        self.total += 1
        self.error = error
        if launched_at < self._failed_at:
            return
        self._failed_at = now
        self.in_row = self.in_row + 1 if retry else max(self.in_row + 1, attempts)
        over = self.in_row - attempts
        delay = PROBE_DELAY * 2.0 ** min(over, 10) if over >= 0 else RETRY_DELAY * 2.0 ** (self.in_row - 1)
        self.retry_at = now + min(delay, LONGEST_DELAY)

    def succeeded(self) -> None:
        """Forget the failures: a container of this pool became ready."""
        self.in_row = 0
        self.error = None
        self.retry_at = self._failed_at = float("-inf")

    def backing_off(self, now: float) -> bool:
        """Whether the next launch is not due yet."""
        return now < self.retry_at

    def breaker_open(self, attempts: int, now: float) -> bool:
        """Whether calls that would need a launch are answered at once with `error`."""
        return self.in_row >= attempts and now < self.retry_at
