"""Adaptive keep-alive: whether an idle container is soon needed again, told by how long earlier ones were idle.

After Shahrad et al., "Serverless in the Wild" (USENIX ATC 2020), whose hybrid histogram policy learns for each function
how long the gaps between its calls are, keeps a container over those that are likely, and where the next call is far
away stops it and has another ready in time. What differs, and why:

- Their bins are minutes wide, up to four hours. Ours would have to be as fine as an idle time-out of seconds and as far
  as hours, so the distribution is kept as it was seen: the last KEPT gaps. That takes less memory than the bins, is
  exact for functions that a timer calls, and forgets by itself.
- They choose both windows once, from the whole distribution. Here it is asked again at every age: of the gaps that are
  longer than this one is already. Bursts with long pauses between have two such answers.
- Gaps below a second are not counted: no container could be gone and back within one.
- The fn's idle time-out bounds everything. A container only leaves in order to come back if the call is more likely
  than not to find it then, and if it is away for at least as long as the call may keep it waiting.

While fewer than ENOUGH gaps are known, the idle time-out alone decides.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from typing import Final, NamedTuple

from fnd.dispatch.slot import Slot

SHORTEST_GAP: Final = 1.0
"""Seconds."""
KEPT: Final = 64
ENOUGH: Final = 8
SOONER: Final = 0.05
"""The part of calls that may come sooner than expected, and so in vain: the paper's head."""
LATER: Final = 0.02
"""The part of gaps that is so long that no container is kept for it: their tail, of 0.01, with room for one of KEPT."""
SHORTEST_STAY: Final = 30.0
"""Seconds for which one is kept at least, unless it leaves in order to come back,"""
STAY: Final = 100.0
"""and mean starts: what starts slowly is worth more memory."""
MARGIN: Final = 0.1
"""How much longer than a gap a container is kept for it, as a part of the gap."""
LEAD: Final = 2.0
"""How many mean starts, beside the shortest gap, before a call its container begins to be made ready."""
SHORTEST_ABSENCE: Final = 10.0
"""Seconds that a container must be away for, at least,"""
WORTHWHILE: Final = 20.0
"""and mean starts: a launch costs processor time, and is repaid in memory."""
GHOSTS: Final = 16


class Plan(NamedTuple):
    """What to do with a container that stays idle. Both in seconds since it was last used."""

    leave: float
    """When to stop it; inf: at its idle time-out."""
    be_back: float | None
    """When to begin to launch another one, since a call is expected; None: none is."""


_UNKNOWN: Final = Plan(math.inf, None)


class Habits:
    """One pool's gaps: how long its containers were idle before each was needed again."""

    __slots__ = ("_gaps", "_ghosts")

    def __init__(self) -> None:
        self._gaps: deque[float] = deque(maxlen=KEPT)
        self._ghosts: deque[float] = deque(maxlen=GHOSTS)
        """When containers that were stopped while idle had been used last, until a call comes for which each would
        have been there: what was ended too early must not look as if it had never been missed."""

    def used(self, slot: Slot, now: float) -> None:
        """A call takes this idle container."""
        self._note(now - slot.unused_since)

    def missed(self, now: float) -> None:
        """A call comes, and no container is idle."""
        if self._ghosts:
            self._note(now - self._ghosts.pop())

    def stopped(self, slot: Slot) -> None:
        """This idle container is stopped."""
        self._ghosts.append(slot.unused_since)

    def revive(self) -> float | None:
        """Return when the container stopped last had been used: another one takes its place."""
        return self._ghosts.pop() if self._ghosts else None

    def _note(self, gap: float) -> None:
        if gap >= SHORTEST_GAP:
            self._gaps.append(gap)

    def plan(self, idle: float, mean_start: float, idle_timeout: float) -> Plan:
        """Return what to do with a container that has been idle for `idle` seconds. O(KEPT)."""
        gaps = sorted(self._gaps)
        if len(gaps) < ENOUGH:
            return _UNKNOWN
        lead = LEAD * mean_start + SHORTEST_GAP
        shortest_absence = max(WORTHWHILE * mean_start, SHORTEST_ABSENCE)
        idle = max(idle, SHORTEST_GAP)
        while True:
            shorter = bisect_right(gaps, idle)
            longer = len(gaps) - shorter
            if longer <= LATER * len(gaps):
                return Plan(max(idle, STAY * mean_start, SHORTEST_STAY), None)
            be_back = gaps[shorter + int(SOONER * longer)] - lead
            at_last = gaps[-1 - int(SOONER * longer)]
            in_time = bisect_right(gaps, be_back + idle_timeout) - shorter
            if be_back - idle >= max(shortest_absence, at_last - be_back) and 2 * in_time >= longer:
                return Plan(idle, be_back)
            idle = max(gaps[shorter] * (1 + MARGIN), idle)
