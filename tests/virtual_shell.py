"""A shell without tasks: it does what dispatch decides, under virtual time, with containers that are only numbers."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable

import attrs

from fnd.dispatch import (
    Assign,
    Dispatch,
    Launch,
    Limits,
    Pool,
    PoolSettings,
    Reject,
    RejectReason,
    Slot,
    SlotState,
    Stop,
    WaitReason,
)


@attrs.define(eq=False)
class VirtualCall:
    """One call, and how it went; times in virtual seconds."""

    pool: Pool
    run: float
    arrived: float
    done: Callable[[], None] | None = None
    got: float | None = None
    answered: float | None = None
    rejected: RejectReason | None = None
    error: object = None
    why: WaitReason | None = None
    slot: Slot | None = None

    @property
    def waited(self) -> float:
        assert self.got is not None
        return self.got - self.arrived


@attrs.define
class Behaviour:
    """How one pool's containers behave; read anew for each container and call, so that tests may change it."""

    run: Callable[[], float] = lambda: 0.001
    """Seconds a call takes alone on a core."""
    start: Callable[[], float] = lambda: 0.1
    """Seconds a launch takes; a negative number: it fails after that many."""
    stop: float = 0.02
    cpu: float = 0.0
    """The part of a run that needs a core; with more of those than cores, all runs stretch."""


class VirtualShell:
    """Drives one Dispatch. Nothing happens until `advance`."""

    def __init__(self, limits: Limits) -> None:
        self.dispatch = Dispatch(limits)
        self.now = 0.0
        self.behaviours: dict[Pool, Behaviour] = {}
        self.calls: list[VirtualCall] = []
        self.launching: set[Slot] = set()
        self.launching_peak = 0
        self.launched: Counter[Pool] = Counter()
        self.serving: Counter[Pool] = Counter()
        self.serving_peak: Counter[Pool] = Counter()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()

    def pool(self, key: str, behaviour: Behaviour | None = None, **settings: object) -> Pool:
        values: dict[str, object] = {"memory": 128, "idle_timeout": 30.0} | settings
        pool = self.dispatch.pool(key, PoolSettings(**values))  # type: ignore[arg-type]
        self.behaviours.setdefault(pool, behaviour or Behaviour())
        return pool

    def at(self, moment: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._serial), event))

    def call(self, pool: Pool, done: Callable[[], None] | None = None) -> VirtualCall:
        """Let a call arrive now."""
        call = VirtualCall(pool, self.behaviours[pool].run(), self.now, done)
        self.calls.append(call)
        slot = self.dispatch.arrive(pool, call, self.now)
        if slot is not None:
            self._begin(call, slot)
        self._perform()
        return call

    def callers(self, pool: Pool, number: int, until: float) -> None:
        """Let `number` callers come now, each calling again as soon as it is answered, until that time."""

        def again() -> None:
            if self.now < until:
                self.call(pool, again)

        for _ in range(number):
            again()

    def leave(self, call: VirtualCall) -> None:
        self.dispatch.gone(call, self.now)
        self._perform()

    def advance(self, until: float) -> None:
        """Let virtual time pass, with all that happens in it."""
        while True:
            tick = self.dispatch.next_tick
            event = self._events[0][0] if self._events else float("inf")
            moment = min(tick, event)
            if moment > until:
                break
            self.now = max(self.now, moment)
            if event <= tick:
                heapq.heappop(self._events)[2]()
            else:
                self.dispatch.tick(self.now)
            self._perform()
        self.now = until

    def _perform(self) -> None:
        actions = self.dispatch.actions
        for action in actions:
            match action:
                case Launch(slot):
                    self._launch(slot)
                case Assign(call, slot, why):
                    call.why = why
                    self._begin(call, slot)
                case Stop(slot):
                    self._stop(slot)
                case Reject(call, reason, error):
                    call.answered, call.rejected, call.error = self.now, reason, error
                    if call.done is not None:
                        self.at(self.now, call.done)
        actions.clear()

    def _launch(self, slot: Slot) -> None:
        self.launching.add(slot)
        self.launched[slot.pool] += 1
        self.launching_peak = max(self.launching_peak, len(self.launching))
        seconds = self.behaviours[slot.pool].start()

        def over() -> None:
            self.launching.discard(slot)
            if slot.state is not SlotState.LAUNCHING:
                return
            if seconds < 0:
                self.dispatch.launch_failed(slot, f"failed after {-seconds} s", self.now)
                self._stop(slot)
            else:
                self.dispatch.ready(slot, self.now)
                self._rest(slot)

        self.at(self.now + abs(seconds), over)

    def _begin(self, call: VirtualCall, slot: Slot) -> None:
        assert slot.state is SlotState.BUSY
        assert slot.call is call
        call.got, call.slot = self.now, slot
        pool = call.pool
        self.serving[pool] += 1
        self.serving_peak[pool] = max(self.serving_peak[pool], self.serving[pool])
        behaviour = self.behaviours[pool]
        crowding = max(1.0, behaviour.cpu * self.serving[pool] / self.dispatch.limits.cores)

        def over() -> None:
            self.serving[pool] -= 1
            call.answered = self.now
            self.dispatch.finished(slot, True, self.now)
            self._perform()
            self._rest(slot)
            if call.done is not None:
                call.done()

        self.at(self.now + call.run * crowding, over)

    def _rest(self, slot: Slot) -> None:
        if slot.state is SlotState.IDLE:
            self.at(self.dispatch.idle_deadline(slot), lambda: self._expire(slot))

    def _expire(self, slot: Slot) -> None:
        if self.dispatch.expire(slot, self.now):
            self._stop(slot)
        else:
            self._rest(slot)

    def _stop(self, slot: Slot) -> None:
        self.launching.discard(slot)
        self.at(self.now + self.behaviours[slot.pool].stop, lambda: self.dispatch.stopped(slot, self.now))
