"""A pool: one fn version's containers and waiting calls, its books, and what it would launch if it were alone."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from fnd.dispatch.actions import WaitReason
from fnd.dispatch.chain import Chain, Member
from fnd.dispatch.claims import Need
from fnd.dispatch.keep_alive import Habits
from fnd.dispatch.launches import LaunchFailures
from fnd.dispatch.limits import KeepAlive, Limits, PoolSettings
from fnd.dispatch.metering import Meter
from fnd.dispatch.slot import Slot

STANDING: Final = 8
"""Calls that come and wait, no container ever being idle, for so many times as long as one call would: that counts as
much. A container more would not have saved any of them a launch's time, but all of them together several."""
_NEVER: Final = float("inf")
_BUSY: Final = WaitReason.BUSY
"""A global: looking a member up through its class costs more than the rest of making a Waiter."""


class Waiter(Member):
    """A call standing in its pool's line."""

    __slots__ = ("call", "pool", "since", "why")

    def __init__(self, pool: Pool, call: object, now: float) -> None:
        self.pool = pool
        self.call = call
        self.since = now
        self.why = _BUSY


class Pool:
    """One pool. The shell reads it; only Dispatch changes it."""

    __slots__ = (
        "best_start", "busy", "calls_over", "claim", "claimed_at", "concurrency", "cpu", "ending", "evicted_use",
        "expected_at", "expected_until", "failures", "forgotten", "habits", "idle", "idle_timeout", "key", "launches",
        "launching", "leaving", "line", "line_since", "longest_reviewed", "memory", "meter", "needed_again", "obstacle",
        "obstacle_at", "offered", "open", "promised", "rested", "retired", "reuses", "running", "settings", "share",
        "slots",
    )  # fmt: skip

    def __init__(self, key: Hashable, settings: PoolSettings, limits: Limits) -> None:
        self.key = key
        self.settings = settings
        self.memory = settings.memory
        """MiB per container."""
        self.cpu = settings.cpu
        """Thousandths of a core per container."""
        self.share = limits.share(settings)
        """Which part of the machine a container takes."""
        self.idle_timeout = settings.idle_timeout
        """Seconds."""
        self.reuses = settings.hot
        """Whether a container that finished a call may be given another: a hot pool's."""
        self.concurrency = settings.concurrency
        """Calls that a container serves at once."""
        self.retired = False
        self.ending = False
        """Whether it keeps nothing that no caller waits for: it retired, or the daemon stops."""
        self.forgotten = False
        """Whether Dispatch no longer holds it; a call that arrives brings it back."""
        self.slots: dict[Slot, None] = {}
        """All, from launch until stopped, oldest first."""
        self.idle: Chain[Slot] = Chain()
        """The idle ones; the last came in last and is taken first."""
        self.open: Chain[Slot] = Chain()
        """The busy ones that have room for another call, if they serve several; the last got room last and is taken
        first, before any idle one."""
        self.busy = 0
        self.running = 0
        """Calls that the busy ones run, if they serve several."""
        self.leaving = 0
        self.launching = 0
        self.promised = 0
        """Launches for its callers that only wait for memory that is already being returned."""
        self.launches = 0
        """Launches ever begun."""
        self.calls_over = 0
        """Calls given to containers that are gone."""
        self.line: Chain[Waiter] = Chain()
        self.line_since = 0.0
        """When the first call came that found no idle container, since one last had nothing to do."""
        self.rested = True
        """Whether a container had nothing to do since, or room while nobody waited."""
        self.longest_reviewed = 0
        """How long the line was when it was last decided what to launch."""
        self.meter = Meter()
        self.best_start = 0.0
        self.failures = LaunchFailures()
        self.habits = Habits() if settings.keep_alive is KeepAlive.ADAPTIVE and settings.hot else None
        self.expected_at = _NEVER
        """From when a container should be there for a call that is expected,"""
        self.expected_until = _NEVER
        """and until when it is."""
        self.claim: Need | None = None
        self.claimed_at = 0.0
        self.evicted_use: float | None = None
        """When the container evicted last had been used last, and nothing was launched since."""
        self.needed_again = 0.0
        """Seconds from that use to the call that made another launch necessary, the last time this happened."""
        self.offered = False
        """Whether its idle containers stand for eviction already."""
        self.obstacle = _BUSY
        self.obstacle_at = float("-inf")
        """When something last kept it from launching, and what."""

    def __repr__(self) -> str:
        containers = f"{self.idle.length} idle, {self.busy} busy, {self.launching} launching"
        return f"<Pool {self.key}: {self.line.length} waiting, {containers}>"

    @property
    def ready(self) -> int:
        """Containers that serve or could serve a call."""
        return self.idle.length + self.busy

    @property
    def coming(self) -> int:
        """Launches in flight or promised."""
        return self.launching + self.promised

    @property
    def live(self) -> int:
        """Containers ready or coming; those being stopped, or leaving, count no more."""
        return self.idle.length + self.busy + self.launching + self.promised

    @property
    def empty(self) -> bool:
        """Whether it has no container, not even one being stopped, no launch and no waiter."""
        return not self.slots and not self.line.length

    @property
    def calls(self) -> int:
        """Calls ever given to a container."""
        return self.calls_over + sum(slot.calls for slot in self.slots)

    @property
    def need(self) -> Need:
        """How badly it needs the launch it wants."""
        if not self.line.length:
            return Need.WARMING
        return Need.GROWING if self.live else Need.NEEDY

    @property
    def enlarging(self) -> bool:
        """Whether a line longer than it was may make a difference to what it wants.

        It does not while the pool stands in line for a launch already, nor before its first container is ready.
        Otherwise a look at the means tells; that calls in progress grow old is seen at the next review.
        """
        if self.claim is not None or not self.busy:
            return False
        if not self.settings.hot:
            return True
        run, start, live = self.meter.mean_run, self.meter.mean_start, self.live
        waiting = self.line.length / self.concurrency
        return waiting * run > start * live and (run >= start or live < self.meter.climb.limit)

    @property
    def receding(self) -> bool:
        """Whether it has containers that turned out not to help; asked as one of them comes free."""
        climb = self.meter.climb
        if not climb.retreat:
            return False
        if self.busy + self.idle.length >= climb.retreat:
            return True
        climb.retreat = 0
        return False

    def warm(self, now: float) -> int:
        """Return how many containers it keeps though nobody calls."""
        if self.share > 1:
            return 0  # none can ever be launched, and a claim would stand before all others
        return max(self.settings.min_warm, 1 if self.expected_at <= now < self.expected_until else 0)

    def wanted(self, now: float) -> int:
        """Return how many launches it would begin now if the machine were its alone, beside those coming."""
        if self.failures.backing_off(now):
            return 0
        waiting = self.line.length
        warm = 0 if self.ending else self.warm(now) - self.live
        if not self.ready:
            # The herd gate: nothing is known to work, so one launch, and the rest waits for how it ends.
            wanted = warm = 0 if self.coming or not (waiting or warm > 0) else 1
        elif not waiting:
            wanted = 0
        elif self.settings.hot:
            first = self.line.first
            assert first is not None
            waited = max(now - first.since, (now - self.line_since) / STANDING)
            wanted = self.meter.wanted(waiting, waited, self.busy, self.coming, now, self.concurrency)
        else:
            wanted = waiting - self.coming
        wanted = max(wanted, warm)
        most = self.settings.max_containers
        return wanted if most is None else min(wanted, most - self.live - self.leaving)
