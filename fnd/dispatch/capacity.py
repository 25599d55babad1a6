"""Who launches next: the machine's memory and processors, its launch limit, and the pools that want of them.

Claims are served in their order (fnd.dispatch.claims) and strictly so: what comes free is held for the first, however
much it needs, or a large function would starve behind small ones. Where memory or processors are short, other pools'
idle containers are stopped for it; the claim then becomes a promise, launched in order as what they had is returned, so
that many containers can be making room at once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import MutableMapping
from typing import Final

from fnd.dispatch.actions import Action, Launch, Stop, WaitReason
from fnd.dispatch.claims import Claims
from fnd.dispatch.eviction import Evictions
from fnd.dispatch.launches import LaunchLimit
from fnd.dispatch.limits import Limits
from fnd.dispatch.pool import Pool
from fnd.dispatch.resource import Resource
from fnd.dispatch.slot import Slot, SlotState

TURN: Final = 4.0
"""How many times what a switch costs, both pools' starts, a turn lasts."""
RELIEF: Final = 8
"""What part of the reserved memory is freed each time that the machine is short of memory."""


class Capacity:
    """The machine. O(log n) for each launch, stop or claim."""

    __slots__ = ("_actions", "_claims", "_empty", "_promises", "blocked", "cpu", "evictions", "launch_limit", "memory")

    def __init__(self, limits: Limits, actions: list[Action], empty: MutableMapping[Pool, None]) -> None:
        """What it decides is appended to `actions`, and a pool that it launches for is no longer `empty`."""
        self._actions = actions
        self._empty = empty
        self.memory = Resource(limits.memory)
        self.cpu = Resource(limits.cpu)
        self.launch_limit = LaunchLimit(limits.cores)
        self.evictions = Evictions()
        self._claims = Claims()
        self._promises: deque[Pool] = deque()
        self.blocked: WaitReason | None = None
        """What keeps the first claim from its launch; None: nobody claims."""

    def review(self, pool: Pool, now: float) -> None:
        """Let the pool claim, or no longer, by what it wants now; then launch what can be launched."""
        self._let_go(pool)
        if pool.wanted(now) > 0:
            self._claims.add(pool, pool.need, now)
        else:
            self._claims.remove(pool)
        self.grant(now)
        if pool.claim is not None or pool.promised:
            pool.obstacle = self.blocked or WaitReason.CAPACITY
            pool.obstacle_at = now

    def grant(self, now: float) -> None:
        """Launch for promises and claims, in order, as far as the machine and the launch limit go."""
        self._fulfil(now)
        self.blocked = None
        but_for_cpu = False
        while (pool := self._claims.first(but_for_cpu=but_for_cpu)) is not None:
            if pool.wanted(now) <= 0:
                self._claims.remove(pool)
                continue
            if not self.launch_limit.leaves_room(len(self._promises)):
                self.blocked = WaitReason.LAUNCH_LIMIT
                return
            if not self._make_room(pool, now):
                self.blocked = WaitReason.CAPACITY
                if self._short_of_memory(pool) or not self._short_of_cpu(pool):
                    return
                but_for_cpu = True
                continue
            self._claims.remove(pool)
            if self._promises or not self._fits(pool):
                self._promise(pool)
            else:
                self._launch(pool, now)
            but_for_cpu = False  # what was stopped for this one may have had processors
            if pool.wanted(now) > 0:
                self._claims.add(pool, pool.need, now)

    def yields(self, pool: Pool, now: float) -> bool:
        """Whether a pool with waiters, one of whose containers came free and is counted no more, gives it up.

        On a full machine a pool that never runs out of waiters would otherwise keep its containers for ever. It yields
        down to an equal share at once (after the exchange it still holds no less than the other), and its last
        containers to a pool that has none in turns, long enough that launching does not eat up the machine.
        """
        rival = self._claims.rival(pool)
        if rival is not None and not pool.cpu and self._short_of_cpu(rival):
            rival = self._claims.rival(pool, but_for_cpu=True)  # the other is not helped by what this one has
        if rival is None or not (self._short_of_memory(rival) or self._short_of_cpu(rival)):
            return False
        if pool.concurrency > 1 and self._leavers_are_enough(rival):
            return False
        if not _has_more(pool, pool.live, rival) and (rival.live or now - rival.claimed_at < _turn(pool, rival)):
            return False
        self._claims.defer(pool)
        return True

    def relieve(self, now: float) -> list[Slot]:
        """Stop idle containers that no pool must keep, least worth keeping first, until RELIEF is reached."""
        stopped: list[Slot] = []
        missing = self.memory.reserved / RELIEF
        while missing > 0 and (slot := self.evictions.least(now)) is not None:
            if slot.pool.ready <= slot.pool.settings.min_warm:
                break  # so must all others be kept: those are offered last
            self._evict(slot, now)
            stopped.append(slot)
            missing -= slot.pool.memory
        return stopped

    def stop(self, slot: Slot, now: float) -> None:
        """End the container of a slot that is in no stack and no count."""
        self.stopping(slot, now)
        self._actions.append(Stop(slot))

    def stopping(self, slot: Slot, now: float) -> None:
        """Move a slot that is in no stack and no count to STOPPING; what it reserved will be returned."""
        if slot.pool.habits is not None and slot.state is SlotState.IDLE:
            slot.pool.habits.stopped(slot)
        if slot.state is SlotState.LEAVING:
            self._note_leaving(slot.pool, -1)
        slot.move(SlotState.STOPPING, now)
        self.memory.stopping += slot.pool.memory
        self.cpu.stopping += slot.pool.cpu

    def leave(self, slot: Slot, now: float) -> None:
        """Let a slot that is in no chain and no count finish its calls; `stop` is to follow when it has."""
        slot.move(SlotState.LEAVING, now)
        self._note_leaving(slot.pool, 1)

    def _note_leaving(self, pool: Pool, change: int) -> None:
        pool.leaving += change
        self.memory.leaving += change * pool.memory
        self.cpu.leaving += change * pool.cpu

    def stopped(self, slot: Slot, now: float) -> None:
        """Take back what a STOPPING slot has reserved. `grant` is to follow."""
        slot.move(SlotState.STOPPED, now)
        pool = slot.pool
        del pool.slots[slot]
        self._let_go(pool)
        pool.calls_over += slot.calls
        self.memory.stopping -= pool.memory
        self.memory.reserved -= pool.memory
        self.cpu.stopping -= pool.cpu
        self.cpu.reserved -= pool.cpu

    def forget(self, pool: Pool) -> None:
        """Drop what is kept of an empty pool."""
        self._claims.remove(pool)
        self.evictions.withdraw(pool)

    def _promise(self, pool: Pool) -> None:
        self._promises.append(pool)
        pool.promised += 1
        self.memory.promised += pool.memory
        self.cpu.promised += pool.cpu

    def _promise_over(self, pool: Pool) -> None:
        pool.promised -= 1
        self.memory.promised -= pool.memory
        self.cpu.promised -= pool.cpu

    def _let_go(self, pool: Pool) -> None:
        """Take back what was promised to a pool whose callers have gone: others may need it."""
        if not pool.line.length:
            while pool.promised:
                self._promises.remove(pool)
                self._promise_over(pool)

    def _fulfil(self, now: float) -> None:
        promises = self._promises
        while promises and self._fits(promises[0]) and self.launch_limit.leaves_room(0):
            pool = promises.popleft()
            self._promise_over(pool)
            if pool.wanted(now) > 0:
                self._launch(pool, now)

    def _make_room(self, pool: Pool, now: float) -> bool:
        """Whether what the pool needs is free or on its way, idle containers being stopped for those who wait.

        For a pool without callers it must be free, and promised to nobody.
        """
        if not pool.line.length:
            return self._fits(pool) and not self._promises
        while (with_cpu := self._short_of_cpu(pool)) or self._short_of_memory(pool):
            victim = self.evictions.least(now, with_cpu=with_cpu)
            if victim is None or (pool.live and self._entitled(victim, pool, now)):
                return False
            self._evict(victim, now)
        return True

    def _evict(self, slot: Slot, now: float) -> None:
        self.evictions.evict(slot, now)
        self.stop(slot, now)

    def _fits(self, pool: Pool) -> bool:
        return pool.memory <= self.memory.free and pool.cpu <= self.cpu.free

    def _short_of_memory(self, pool: Pool) -> bool:
        return self.memory.shortfall(pool.memory) > 0

    def _short_of_cpu(self, pool: Pool) -> bool:
        return pool.cpu > 0 and self.cpu.shortfall(pool.cpu) > 0

    def _leavers_are_enough(self, pool: Pool) -> bool:
        """Whether the pool will have room once the containers that take no more calls have finished theirs."""
        memory, cpu = self.memory, self.cpu
        return memory.shortfall(pool.memory) <= memory.leaving and (
            not pool.cpu or cpu.shortfall(pool.cpu) <= cpu.leaving
        )

    def _entitled(self, slot: Slot, pool: Pool, now: float) -> bool:
        """Whether an idle container is kept from a pool that has containers and only wants more of them.

        It is while it may be needed soon: for a turn after its last use, or, if one of its pool's was evicted in vain
        before, for twice the time after which it was needed again. What a pool has beyond an equal share is not kept.
        """
        holder = slot.pool
        if _has_more(holder, holder.live - 1, pool):
            return False
        return now - slot.since < max(_turn(holder, pool), 2 * holder.needed_again)

    def _launch(self, pool: Pool, now: float) -> None:
        slot = Slot(pool, now)
        pool.slots[slot] = None
        self._empty.pop(pool, None)
        pool.launching += 1
        pool.launches += 1
        self.launch_limit.in_flight += 1
        self.memory.reserved += pool.memory
        self.cpu.reserved += pool.cpu
        if pool.evicted_use is not None:
            pool.needed_again = now - pool.evicted_use
            pool.evicted_use = None
        if pool.habits is not None:
            if pool.expected_at <= now and not pool.line.length:
                slot.successor_of = pool.habits.revive()
            pool.expected_at = math.inf
        self._actions.append(Launch(slot))


def _has_more(holder: Pool, left: int, other: Pool) -> bool:
    """Whether `holder`, with `left` containers, still holds as much as `other` with one more than now."""
    return left * holder.share >= (other.live + 1) * other.share


def _turn(holder: Pool, other: Pool) -> float:
    """Seconds that a pool keeps a container against another: long enough that launching does not eat up the machine."""
    start = holder.meter.mean_start
    return TURN * (start + (other.meter.mean_start or start))
