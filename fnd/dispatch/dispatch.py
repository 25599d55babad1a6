"""The state machine: events in, actions out. docs/dispatch.md has its table and picture.

In the manner of h11, it does nothing itself: it knows no task, no clock and no socket. Every event takes `now`, in
seconds of one clock that never goes back. What an event leads to is appended to `actions`; the shell carries those out
in order and clears the list. Every operation is O(log n) or better in pools, containers and waiters, but for
`drain`, the rejection of a whole line, and `retire`, which are linear in what they end.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Any, Final

from fnd.dispatch import sharing
from fnd.dispatch.actions import Action, Assign, Forget, Reject, RejectReason, WaitReason
from fnd.dispatch.agenda import Agenda
from fnd.dispatch.capacity import Capacity
from fnd.dispatch.keep_alive import Plan
from fnd.dispatch.launches import best_start
from fnd.dispatch.limits import Limits, PoolSettings
from fnd.dispatch.pool import Pool, Waiter
from fnd.dispatch.slot import Slot, SlotState
from fnd.dispatch.statistics import DispatchSnapshot, snapshot

# Enum members as globals: looking one up through its class costs as much as the rest of a fast path's line.
_IDLE: Final = SlotState.IDLE
_BUSY: Final = SlotState.BUSY
_CAPACITY: Final = WaitReason.CAPACITY
_NEVER: Final = float("inf")


class Dispatch:
    """All pools of one daemon, and the machine they share."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.actions: Final[list[Action]] = []
        """Done in order by the shell, which then clears it in place."""
        self.draining = False
        self.pools: dict[Hashable, Pool] = {}
        self.retired: dict[Pool, None] = {}
        """Retired pools that are not empty yet; their keys may be taken again."""
        self._empty: OrderedDict[Pool, None] = OrderedDict()  # least recently used first
        self.capacity = Capacity(limits, self.actions, self._empty)
        self._waiters: dict[object, Waiter] = {}
        self.tick_from = _NEVER
        """No tick is due before this. It needs no look-up as `next_tick` does, and may be too early after a change."""
        self._wakes: Agenda[Pool] = Agenda()
        self._calls_forgotten = 0
        self._launches_forgotten = 0

    def pool(self, key: Hashable, settings: PoolSettings) -> Pool:
        """Find the pool of this key, or add one. With `min_warm`, `next_tick` is then due at once."""
        pool = self.pools.get(key)
        if pool is None:
            pool = Pool(key, settings, self.limits)
            self._remember(pool)
            if settings.min_warm:
                self._wake(pool, float("-inf"))
        elif pool in self._empty:
            self._empty.move_to_end(pool)
        return pool

    def held(self) -> Iterator[Pool]:
        """Yield the pools that are not forgotten, retired ones last."""
        return itertools.chain(self.pools.values(), self.retired)

    # Events about calls.

    def arrive(self, pool: Pool, call: object, now: float) -> Slot | None:
        """Give the call a container at once, idle or with room, or None: an Assign or a Reject is there or will follow.

        `call` is any hashable object, unique among the calls that wait or run.
        """
        if pool.concurrency > 1:
            return self._arrive_shared(pool, call, now)
        slot = pool.idle.pop()
        if slot is None:
            self._line_up(pool, call, now)
            return None
        if pool.habits is not None:
            pool.habits.used(slot, now)
        slot.state = _BUSY
        slot.since = now
        slot.call = call
        slot.calls += 1
        pool.busy += 1
        pool.meter.began += now
        return slot

    def gone(self, call: object, now: float) -> None:
        """Take a caller who went away out of its line. Nothing happens if the call waits no more."""
        waiter = self._waiters.pop(call, None)
        if waiter is None:
            return
        pool = waiter.pool
        pool.line.remove(waiter)
        if not pool.line.length:
            self._review(pool, now)
            self._settle(pool)
        elif pool.claim is not None:
            self.capacity.grant(now)

    def finished(self, slot: Slot, reusable: bool, now: float, call: object = None) -> None:
        """A call gave its container back; with `reusable` false it is stopped. Also if it ended under its call.

        `call` says which, where a container serves several; stopped, it ends under the others.
        """
        if slot.pool.concurrency > 1:
            self._finished_shared(slot, reusable, now, call)
            return
        slot.call = None
        if slot.state is not _BUSY:
            assert slot.state in (SlotState.STOPPING, SlotState.STOPPED), f"finished: {slot.state}"
            return
        pool = slot.pool
        meter = pool.meter
        meter.began -= slot.since
        meter.ran(now - slot.since)
        pool.busy -= 1
        if not (reusable and pool.reuses):
            self.capacity.stop(slot, now)
            self._review(pool, now)
        elif pool.line.length:
            self._hand_over(slot, now)
        elif pool.ending:
            self.capacity.stop(slot, now)
        else:
            self._rest(slot, now)

    def why(self, call: object) -> WaitReason | None:
        """Return what a waiting call waits for; None if it does not wait."""
        waiter = self._waiters.get(call)
        return None if waiter is None else self._reason(waiter)

    # Events about containers. Late ones, about a container being stopped already, change nothing.

    def ready(self, slot: Slot, now: float) -> None:
        """A launch succeeded: the first waiter gets the container, or it is idle."""
        if slot.state in (SlotState.STOPPING, SlotState.STOPPED):
            return
        assert slot.state is SlotState.LAUNCHING, f"ready: {slot.state}"
        pool = slot.pool
        start = now - slot.launched_at
        pool.meter.started(start)
        limit = self.capacity.launch_limit
        limit.measured(start, pool.best_start, slot.launched_at, now)
        pool.best_start = best_start(pool.best_start, start, limit.crowded)
        pool.failures.succeeded()
        self._launch_over(pool)
        if pool.settings.min_warm:
            self.capacity.evictions.withdraw(pool)  # it may have one to spare now, which stands elsewhere
        if pool.line.length:
            self._assign(slot, now)
        elif pool.ending:
            self.capacity.stop(slot, now)
        else:
            self._rest(slot, now)
        while slot.open and pool.line.length:
            self._assign(slot, now)
        if slot.open:
            pool.rested = True
        self._review(pool, now)

    def launch_failed(self, slot: Slot, error: object, now: float, *, retry: bool = True) -> None:
        """A launch failed; `error` is what callers are told if it comes to that. `stopped` must still follow.

        `retry` false: another attempt now would end alike, so that who waits is told at once.
        """
        if slot.state in (SlotState.STOPPING, SlotState.STOPPED):
            return
        assert slot.state is SlotState.LAUNCHING, f"launch_failed: {slot.state}"
        pool = slot.pool
        self.capacity.launch_limit.failed(now - slot.launched_at, pool.best_start, slot.launched_at, now)
        pool.failures.failed(error, self.limits.launch_attempts, slot.launched_at, now, retry=retry)
        pool.obstacle = WaitReason.BACK_OFF
        pool.obstacle_at = now
        self._launch_over(pool)
        self.capacity.stopping(slot, now)
        self._review(pool, now)

    def exited(self, slot: Slot, now: float) -> None:
        """A container ended by itself, whatever it did. `stopped` must still follow, `finished` too if it was busy."""
        match slot.state:
            case SlotState.LAUNCHING:
                self.launch_failed(slot, None, now)
                return
            case SlotState.IDLE:
                slot.pool.idle.remove(slot)
            case SlotState.BUSY if slot.pool.concurrency > 1:
                sharing.withdraw(slot)
            case SlotState.BUSY:
                slot.pool.busy -= 1
                slot.pool.meter.began -= slot.since
            case SlotState.STOPPING | SlotState.STOPPED:
                return
        self.capacity.stopping(slot, now)
        self._review(slot.pool, now)

    def stopped(self, slot: Slot, now: float) -> None:
        """Everything of a container is gone: what it reserved is returned. A second report changes nothing."""
        if slot.state is SlotState.STOPPED:
            return
        self.exited(slot, now)
        pool = slot.pool
        self.capacity.stopped(slot, now)
        self.capacity.grant(now)
        self._settle(pool)

    def idle_deadline(self, slot: Slot) -> float:
        """Return when the container would expire if nothing happened to it; inf unless it is idle."""
        if slot.state is not _IDLE:
            return _NEVER
        pool = slot.pool
        if pool.habits is None or slot.spared_at > slot.since:
            return max(slot.since, slot.spared_at) + pool.idle_timeout
        unused_since = slot.unused_since
        leave = self._plan(pool, slot.since - unused_since).leave
        return min(slot.since + pool.idle_timeout, unused_since + leave)

    def expire(self, slot: Slot, now: float) -> bool:
        """Retire a container past its idle deadline: True, and it is STOPPING, or False and it stays as it was.

        One that `min_warm` keeps gets a new deadline.
        """
        if now < self.idle_deadline(slot):
            return False
        pool = slot.pool
        if pool.ready <= pool.settings.min_warm:
            slot.spared_at = now
            return False
        pool.idle.remove(slot)
        unused_since = slot.unused_since
        self.capacity.stopping(slot, now)
        if not pool.live and not pool.ending:
            self._expect(pool, unused_since, now)
        return True

    def _plan(self, pool: Pool, idle: float) -> Plan:
        assert pool.habits is not None
        return pool.habits.plan(idle, pool.meter.mean_start, pool.idle_timeout)

    def _expect(self, pool: Pool, unused_since: float, now: float) -> None:
        """The pool's last container goes: see whether there should be another later, though nobody will have called."""
        be_back = None if pool.habits is None else self._plan(pool, now - unused_since).be_back
        if be_back is not None:
            pool.expected_at = max(unused_since + be_back, now)
            pool.expected_until = pool.expected_at + pool.idle_timeout
            self._wake(pool, pool.expected_at)

    # Events about pools and time.

    def retire(self, pool: Pool, now: float) -> None:
        """The fn changed or is gone: who waits is served, idle containers stop, and the empty pool is forgotten."""
        if pool.retired:
            return
        pool.retired = pool.ending = True
        if not pool.forgotten:
            del self.pools[pool.key]
            self.retired[pool] = None
            self._end(pool, now)
            self._review(pool, now)
            self._settle(pool)

    def drain(self, now: float) -> None:
        """The daemon stops: reject all who wait and who come, stop what is idle or launching and what finishes."""
        self.draining = True
        for pool in [*self.held()]:
            pool.ending = True
            self._reject_all(pool, RejectReason.DRAINING, None)
            self._end(pool, now)
            self._review(pool, now)
            self._settle(pool)

    def tick(self, now: float) -> None:
        """Look again at the pools for which it is time; due whenever `next_tick` has come."""
        while (first := self._wakes.first()) is not None and first[0] <= now:
            self._wakes.discard(first[1])
            self._review(first[1], now)
        self.tick_from = self.next_tick

    @property
    def next_tick(self) -> float:
        """When `tick` is due next; inf if nothing waits for time to pass. Any event may change it."""
        first = self._wakes.first()
        return _NEVER if first is None else first[0]

    def relieve(self, now: float) -> list[Slot]:
        """The machine is short of memory, whatever is reserved: stop idle containers, those least worth keeping first.

        Return those that are being stopped now, which hold an eighth of what is reserved, if so many are idle and not
        kept by `min_warm`. Asked again while it is still short, so that keeping becomes shorter the longer that lasts.
        """
        return self.capacity.relieve(now)

    def snapshot(self, now: float) -> DispatchSnapshot:
        """Return everything as it is now; linear in pools and containers, so not for every call."""
        pools = tuple(snapshot(pool, now) for pool in self.held())
        return DispatchSnapshot(
            memory_limit=self.limits.memory,
            memory_reserved=self.capacity.memory.reserved,
            cpu_limit=self.limits.cpu,
            cpu_reserved=self.capacity.cpu.reserved,
            running=sum(slot.running for pool in pools for slot in pool.slots),
            waiting=len(self._waiters),
            calls=self._calls_forgotten + sum(pool.calls for pool in pools),
            launches=self._launches_forgotten + sum(pool.launches for pool in pools),
            launching=self.capacity.launch_limit.in_flight,
            launch_limit=int(self.capacity.launch_limit.limit),
            pools=pools,
        )

    # Lines.

    def _line_up(self, pool: Pool, call: object, now: float) -> None:
        if pool.forgotten:
            self._remember(pool)
        if pool.habits is not None:
            pool.habits.missed(now)
        length = pool.line.length
        if not length:
            refusal = self._refusal(pool, now)
        else:  # who stands in the line already was not refused, and nothing has changed since but the line
            refusal = RejectReason.LINE_FULL if length >= self.limits.max_waiting else None
        if refusal is not None:
            error = pool.failures.error if refusal is RejectReason.LAUNCH_FAILED else None
            self.actions.append(Reject(call, refusal, error))
            self._settle(pool)
            return
        waiter = Waiter(pool, call, now)
        assert call not in self._waiters, "a call waits once"
        self._waiters[call] = waiter
        pool.line.append(waiter)
        if not length:
            if pool.rested:
                pool.rested = False
                pool.line_since = now
            self._empty.pop(pool, None)
            self._review(pool, now)
        elif length >= pool.longest_reviewed and pool.enlarging:
            self._review(pool, now)
        if pool.claim is not None:
            waiter.why = self.capacity.blocked or _CAPACITY
        elif not (pool.busy or pool.idle.length):
            waiter.why = WaitReason.BACK_OFF if pool.failures.backing_off(now) else WaitReason.HERD_GATE

    def _refusal(self, pool: Pool, now: float) -> RejectReason | None:
        if self.draining:
            return RejectReason.DRAINING
        if pool.share > 1:
            return RejectReason.TOO_LARGE
        if self.limits.max_waiting < 1:
            return RejectReason.LINE_FULL
        if self._hopeless(pool, now):
            return RejectReason.LAUNCH_FAILED
        return None

    def _hopeless(self, pool: Pool, now: float) -> bool:
        """Whether nothing serves the pool and its breaker is open."""
        return not pool.ready and not pool.launching and pool.failures.breaker_open(self.limits.launch_attempts, now)

    def _reject_all(self, pool: Pool, reason: RejectReason, error: Any) -> None:
        while (waiter := pool.line.first) is not None:
            pool.line.remove(waiter)
            del self._waiters[waiter.call]
            self.actions.append(Reject(waiter.call, reason, error))

    def _reason(self, waiter: Waiter) -> WaitReason:
        pool = waiter.pool
        return pool.obstacle if pool.obstacle_at >= waiter.since else waiter.why

    def _assign(self, slot: Slot, now: float) -> None:
        pool = slot.pool
        waiter = pool.line.first
        assert waiter is not None
        pool.line.remove(waiter)
        call = waiter.call
        del self._waiters[call]
        if pool.concurrency > 1:
            sharing.begin(slot, call, now)
            self.actions.append(Assign(call, slot, self._reason(waiter)))
            return
        slot.state = _BUSY
        slot.since = now
        slot.call = call
        slot.calls += 1
        pool.busy += 1
        pool.meter.began += now
        self.actions.append(Assign(call, slot, self._reason(waiter)))

    def _hand_over(self, slot: Slot, now: float) -> None:
        """A container came free and calls of its pool wait: the first gets it, unless another pool's turn has come."""
        if slot.pool.receding:
            self.capacity.stop(slot, now)
        elif self.capacity.blocked is not _CAPACITY:
            self._assign(slot, now)
        elif self.capacity.yields(slot.pool, now):
            self.capacity.stop(slot, now)
            self._review(slot.pool, now)
        else:
            self._assign(slot, now)
            self.capacity.grant(now)

    # Containers that serve several calls at once: fnd.dispatch.sharing keeps their books.

    def _arrive_shared(self, pool: Pool, call: object, now: float) -> Slot | None:
        slot = None if self.draining else pool.open.last
        if slot is None:
            slot = pool.idle.pop()
            if slot is None:
                self._line_up(pool, call, now)
                return None
            if pool.habits is not None:
                pool.habits.used(slot, now)
        sharing.begin(slot, call, now)
        return slot

    def _finished_shared(self, slot: Slot, reusable: bool, now: float, call: object) -> None:
        pool = slot.pool
        if slot.state is SlotState.LEAVING:
            del slot.running[call]
            if not (reusable and slot.running):
                self.capacity.stop(slot, now)
                self._review(pool, now)
        elif slot.state is not _BUSY:
            assert slot.state in (SlotState.STOPPING, SlotState.STOPPED), f"finished: {slot.state}"
            del slot.running[call]
        else:
            sharing.end(slot, call, now)
            if not (reusable and pool.reuses):
                sharing.withdraw(slot)
                self.capacity.stop(slot, now)
                self._review(pool, now)
            elif pool.line.length:
                self._hand_over_room(slot, now)
            elif slot.running:
                pool.rested = True
                sharing.open_up(slot)
            else:
                sharing.withdraw(slot)
                if pool.ending:
                    self.capacity.stop(slot, now)
                else:
                    self._rest(slot, now)

    def _hand_over_room(self, slot: Slot, now: float) -> None:
        """A container has room for one call again and calls of its pool wait: as `_hand_over`, but for its other calls.

        One that is given up for another pool runs them to their ends first.
        """
        pool = slot.pool
        pool.busy -= 1  # what is asked is whether it is better gone
        short = self.capacity.blocked is _CAPACITY
        goes = pool.receding or (short and self.capacity.yields(pool, now))
        pool.busy += 1
        if goes:
            sharing.withdraw(slot)
            if slot.running:
                self.capacity.leave(slot, now)
            else:
                self.capacity.stop(slot, now)
            self._review(pool, now)
            return
        self._assign(slot, now)
        if short:
            self.capacity.grant(now)

    # Containers.

    def _launch_over(self, pool: Pool) -> None:
        pool.launching -= 1
        self.capacity.launch_limit.in_flight -= 1

    def _rest(self, slot: Slot, now: float) -> None:
        """Put a container that nobody waits for on its pool's stack."""
        pool = slot.pool
        slot.state = _IDLE
        slot.since = now
        pool.rested = True
        capacity = self.capacity
        slot.inflation = capacity.evictions.clock
        pool.idle.append(slot)
        if not pool.offered:
            capacity.evictions.offer(pool, now)
        if capacity.blocked is _CAPACITY:
            capacity.grant(now)

    def _end(self, pool: Pool, now: float) -> None:
        """Stop what is idle, and, if nobody waits for it, what is being launched."""
        while (slot := pool.idle.last) is not None:
            pool.idle.remove(slot)
            self.capacity.stop(slot, now)
        if not pool.line.length and pool.launching:
            for slot in pool.slots:
                if slot.state is SlotState.LAUNCHING:
                    self._launch_over(pool)
                    self.capacity.stop(slot, now)

    # Pools.

    def _review(self, pool: Pool, now: float) -> None:
        """Something about this pool changed, or time passed: reject, claim, launch, and see when to look again."""
        if pool.line.length and self._hopeless(pool, now):
            self._reject_all(pool, RejectReason.LAUNCH_FAILED, pool.failures.error)
        pool.longest_reviewed = pool.line.length
        self.capacity.review(pool, now)
        if pool.line.length or pool.warm(now) > pool.live:
            if pool.failures.backing_off(now):
                self._wake(pool, pool.failures.retry_at)
            elif pool.ready:
                self._wake(pool, now + pool.meter.review_interval)
        elif now < pool.expected_at < _NEVER:
            self._wake(pool, pool.expected_at)  # again: this review may be that of an earlier wake

    def _wake(self, pool: Pool, at: float) -> None:
        """Have the pool reviewed at that time, or earlier if that is arranged already."""
        arranged = self._wakes.key(pool)
        if arranged is None or at < arranged:
            self._wakes.put(pool, at)
            if at < self.tick_from:
                self.tick_from = at

    def _remember(self, pool: Pool) -> None:
        """Take in a pool that is new or was forgotten; beyond `max_pools`, forget the longest unused ones."""
        while self._empty and len(self.pools) >= self.limits.max_pools:
            self._forget(next(iter(self._empty)))
        pool.forgotten = False
        self._calls_forgotten -= pool.calls
        self._launches_forgotten -= pool.launches
        if pool.retired or pool.key in self.pools:
            # The key may be another pool's by now; this one still serves who comes to it, and goes when it is empty.
            pool.retired = True
            self.retired[pool] = None
        else:
            self.pools[pool.key] = pool
            if not pool.settings.min_warm:
                self._empty[pool] = None
        pool.ending = pool.retired or self.draining

    def _settle(self, pool: Pool) -> None:
        """If the pool became empty, it may be forgotten from now on, or is at once."""
        if pool.forgotten or not pool.empty:
            return
        if pool.retired:
            self._forget(pool)
        elif not pool.settings.min_warm:
            self._empty[pool] = None
            if len(self.pools) > self.limits.max_pools:
                self._forget(next(iter(self._empty)))

    def _forget(self, pool: Pool) -> None:
        self._empty.pop(pool, None)
        self._wakes.discard(pool)
        self.capacity.forget(pool)
        self.actions.append(Forget(pool))
        pool.forgotten = True
        self._calls_forgotten += pool.calls
        self._launches_forgotten += pool.launches
        if pool.retired:
            del self.retired[pool]
        else:
            del self.pools[pool.key]
