"""Many deadlines, one task: what wakes a connection or a call that took too long.

A trio cancel scope with a deadline costs a heap operation each time the deadline is set, and a call sets three. Here a
deadline that only moves later, as nearly all do, is an attribute: the one task that sleeps until the earliest deadline
looks again when it wakes, and goes on sleeping if the deadline has moved.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from math import inf
from typing import Final

import trio

_COMPACT_ABOVE: Final = 64


class Alarm:
    """Something with one deadline; subclasses say in `expired` what happens then."""

    __slots__ = ("_alarms", "_look_at", "deadline")

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._look_at = inf
        self.deadline = inf

    def set_deadline(self, deadline: float) -> None:
        """Expire at `deadline` (trio time, seconds; inf for never) instead of the one before."""
        self.deadline = deadline
        if deadline < self._look_at:
            self._alarms.look_at(self, deadline)

    def disarm(self) -> None:
        """Never expire, and be forgotten."""
        self.deadline = inf
        if self._look_at != inf:
            self._look_at = inf
            self._alarms.forget()

    def expired(self) -> None:
        """Called once when the deadline has passed, in the alarms' task. Must not raise or block."""
        raise NotImplementedError


class Alarms:
    """The deadlines of all alarms, and the task that watches them."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Alarm]] = []
        self.now: Final[Callable[[], float]] = trio.lowlevel.current_clock().current_time
        """What trio.current_time tells, without its way to the clock."""
        self._order = 0
        self._stale = 0
        self._sleep = trio.CancelScope()

    def __len__(self) -> int:
        return len(self._heap)

    def look_at(self, alarm: Alarm, when: float) -> None:
        """Look at `alarm` at `when`, which is earlier than it would have been looked at."""
        if alarm._look_at != inf:
            self._stale += 1
        alarm._look_at = when
        self._order += 1
        heapq.heappush(self._heap, (when, self._order, alarm))
        if when < self._sleep.deadline:
            self._sleep.deadline = when

    def forget(self) -> None:
        """One entry of the heap has become stale; once they are the most, drop them all."""
        self._stale += 1
        if self._stale > _COMPACT_ABOVE and self._stale * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2]._look_at == entry[0]]
            heapq.heapify(self._heap)
            self._stale = 0

    async def run(self) -> None:
        """Watch, until cancelled."""
        while True:
            self._expire(trio.current_time())
            self._sleep = trio.CancelScope(deadline=self._heap[0][0] if self._heap else inf)
            with self._sleep:
                await trio.sleep_forever()

    def _expire(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            looked_at, _, alarm = heapq.heappop(self._heap)
            if looked_at != alarm._look_at:
                self._stale = max(0, self._stale - 1)
                continue
            alarm._look_at = inf
            if alarm.deadline <= now:
                alarm.deadline = inf
                alarm.expired()
            elif alarm.deadline != inf:
                self.look_at(alarm, alarm.deadline)
