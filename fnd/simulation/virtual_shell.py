"""A shell without tasks: it does what dispatch decides, under virtual time, with containers that are only numbers.

It stands where fnd.runtime stands in the daemon. An open source of arrivals has one entry in the heap, whatever it
holds; a container has one for its idle deadline, which is looked at when it comes up and put back if it has moved.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

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
from fnd.simulation.peaks import Peaks
from fnd.simulation.tally import Tally

RETRY_AFTER: Final = 1.0
"""Seconds after which a closed-loop caller comes again that was rejected: what the daemon's answer advises."""

_NEVER: Final = float("inf")

Arrival: TypeAlias = "tuple[float, VirtualFunction, float | None]"
"""When a call comes, of which function, and how long it runs alone on a core; None: as the function's runs do."""


@attrs.define
class Behaviour:
    """How one function's containers behave. Durations are asked for anew each time, and told the time it is then."""

    run: Callable[[float], float] = lambda now: 0.001
    """Seconds a call takes alone on a core."""
    start: Callable[[float], float] = lambda now: 0.1
    """Seconds a launch takes alone on a core."""
    stop: Callable[[float], float] = lambda now: 0.02
    """Seconds from the decision to stop a container until its memory is returned."""
    run_cpu: float = 0.0
    """How much of a core a run needs. Where all together need more than there is, runs stretch; 0: never."""
    start_cpu: float = 0.0
    """The same for a start."""


@attrs.define(eq=False)
class VirtualFunction:
    """One function: its pool, how it behaves, and what is counted of it."""

    name: str
    pool: Pool
    behaviour: Behaviour
    tally: Tally = attrs.field(factory=Tally)


@attrs.define(eq=False)
class VirtualCall:
    """One call, and how it went; times in virtual seconds."""

    function: VirtualFunction
    run: float
    arrived: float
    done: Callable[[VirtualCall], None] | None = None
    """Told when the call is over; must not let a call arrive at once if this one was rejected."""
    waiting: bool = False
    got: float | None = None
    """When it got a container."""
    answered: float | None = None
    rejected: RejectReason | None = None
    why: WaitReason | None = None
    """What it waited for, if it did."""

    @property
    def waited(self) -> float:
        """Seconds from its arrival until it got its container; it must have got one."""
        assert self.got is not None
        return self.got - self.arrived


@attrs.define(eq=False)
class _Container:
    """What the shell keeps of a slot."""

    function: VirtualFunction
    busy_since: float | None = None
    watched_at: float = _NEVER
    """When its idle deadline is looked at next."""


class VirtualShell:
    """Drives one Dispatch. Nothing happens until `advance`."""

    def __init__(self, limits: Limits, stretch: float = 0.001) -> None:
        """Make a shell at time 0; `stretch` is the width, in seconds, at which its series begin."""
        self.dispatch = Dispatch(limits)
        self.now = 0.0
        self.functions: dict[Pool, VirtualFunction] = {}
        self.outstanding = 0
        """Calls that came and are not over."""
        self.launching = 0
        self.launching_peak = 0
        self.containers = Peaks(stretch)
        """Containers that reserve memory."""
        self.waiting = Peaks(stretch)
        """Calls that stand in line."""
        self._demand = 0.0  # cores that runs and starts in progress would use
        self._events: list[tuple[float, int, Callable[[Any], object], Any]] = []
        self._serial = itertools.count()

    def function(self, name: str, behaviour: Behaviour, settings: PoolSettings) -> VirtualFunction:
        """Add a function."""
        function = VirtualFunction(name, self.dispatch.pool(name, settings), behaviour)
        self.functions[function.pool] = function
        return function

    def at(self, moment: float, event: Callable[[Any], object], subject: Any = None) -> None:
        """Have `event(subject)` called at that time; of several at one time, in the order they were arranged."""
        heapq.heappush(self._events, (moment, next(self._serial), event, subject))

    def call(
        self,
        function: VirtualFunction,
        run: float | None = None,
        done: Callable[[VirtualCall], None] | None = None,
    ) -> VirtualCall:
        """Let a call arrive now."""
        call = VirtualCall(function, function.behaviour.run(self.now) if run is None else run, self.now, done)
        function.tally.arrived += 1
        self.outstanding += 1
        slot = self.dispatch.arrive(function.pool, call, self.now)
        if slot is not None:
            self._begin(call, slot)
            return call
        if self.dispatch.actions:
            self._perform()
        if call.rejected is None:
            call.waiting = True
            self.waiting.note(self.waiting.value + 1, self.now)
        return call

    def feed(self, arrivals: Iterator[Arrival]) -> None:
        """Let calls come as told, in order of time; each is asked for only when the one before has come."""
        arrival = next(arrivals, None)
        if arrival is not None:
            self.at(arrival[0], self._arrived, (arrival, arrivals))

    def callers(
        self, function: VirtualFunction, number: int, until: float, think: Callable[[float], float] | None = None
    ) -> None:
        """Let `number` callers come now, each calling again when it is answered, or has thought, until that time."""
        loop = _ClosedLoop(self, function, until, think)
        for _ in range(number):
            loop.call(None)

    def advance(self, until: float) -> None:
        """Let virtual time pass, with all that happens in it."""
        while self._step(until):
            pass
        self.now = until

    def finish(self) -> None:
        """Go on until every call that has come is over, and close the books. Nothing may follow."""
        while self.outstanding:
            more = self._step(_NEVER)
            assert more, "calls wait, and nothing will ever happen"
        for function in self.functions.values():
            for slot in function.pool.slots:
                function.tally.close(slot, self.now)

    def _step(self, until: float) -> bool:
        """Let the next thing happen, unless it is later than `until`: then False."""
        events = self._events
        moment = events[0][0] if events else _NEVER
        if self.dispatch.tick_from < moment:
            moment = self.dispatch.tick_from
            if moment > until:
                return False
            self.now = max(self.now, moment)
            self.dispatch.tick(self.now)
        else:
            if moment > until or not events:
                return False
            self.now = moment
            _, _, event, subject = heapq.heappop(events)
            event(subject)
        if self.dispatch.actions:
            self._perform()
        return True

    def _perform(self) -> None:
        actions = self.dispatch.actions
        for action in actions:
            match action:
                case Launch(slot):
                    self._launch(slot)
                case Assign(call, slot, why):
                    self._assign(call, slot, why)
                case Stop(slot):
                    self.functions[slot.pool].tally.stops += 1
                    self._stop(slot)
                case Reject(call, reason):
                    self._reject(call, reason)
        actions.clear()

    # Calls.

    def _arrived(self, subject: tuple[Arrival, Iterator[Arrival]]) -> None:
        (_, function, run), arrivals = subject
        self.call(function, run)
        self.feed(arrivals)

    def _assign(self, call: VirtualCall, slot: Slot, why: WaitReason) -> None:
        self._left_line(call)
        call.why = why
        self._begin(call, slot)
        call.function.tally.waited(call.waited, why, slot.calls <= slot.pool.concurrency)

    def _begin(self, call: VirtualCall, slot: Slot) -> None:
        call.got = self.now
        cpu = call.function.behaviour.run_cpu
        self._demand += cpu
        container: _Container = slot.container
        if container.busy_since is None:
            container.busy_since = self.now
        self.at(self.now + call.run * self._crowding(cpu), self._finished, (slot, call))

    def _finished(self, subject: tuple[Slot, VirtualCall]) -> None:
        slot, call = subject
        function = call.function
        container: _Container = slot.container
        assert container.busy_since is not None
        call.answered = self.now
        self._demand -= function.behaviour.run_cpu
        tally = function.tally
        tally.answered += 1
        self.dispatch.finished(slot, True, self.now, call)
        if not slot.in_hand:
            tally.busy_seconds += self.now - container.busy_since
            container.busy_since = None
        if slot.state is SlotState.IDLE:
            self._watch(slot)
        elif slot.state is SlotState.STOPPING:
            tally.ended += 1
        if self.dispatch.actions:
            self._perform()
        self._over(call)

    def _reject(self, call: VirtualCall, reason: RejectReason) -> None:
        self._left_line(call)
        call.rejected = reason
        call.function.tally.rejected[reason] += 1
        self._over(call)

    def _left_line(self, call: VirtualCall) -> None:
        if call.waiting:
            call.waiting = False
            self.waiting.note(self.waiting.value - 1, self.now)

    def _over(self, call: VirtualCall) -> None:
        self.outstanding -= 1
        if call.done is not None:
            call.done(call)

    def _crowding(self, cpu: float) -> float:
        """Return by how much something stretches that needs so much of a core and is counted in the demand already.

        It stays so until it ends, though others come and go meanwhile.
        """
        return max(1.0, self._demand / self.dispatch.limits.cores) if cpu else 1.0

    # Containers.

    def _launch(self, slot: Slot) -> None:
        function = self.functions[slot.pool]
        slot.container = _Container(function)
        function.tally.launched()
        self.containers.note(self.containers.value + 1, self.now)
        self.launching += 1
        self.launching_peak = max(self.launching_peak, self.launching)
        behaviour = function.behaviour
        self._demand += behaviour.start_cpu
        self.at(self.now + behaviour.start(self.now) * self._crowding(behaviour.start_cpu), self._started, slot)

    def _started(self, slot: Slot) -> None:
        function = slot.container.function
        self.launching -= 1
        self._demand -= function.behaviour.start_cpu
        function.tally.launching_seconds += self.now - slot.launched_at
        self.dispatch.ready(slot, self.now)
        if slot.state is SlotState.IDLE:
            self._watch(slot)

    def _watch(self, slot: Slot) -> None:
        """See to it that the idle deadline is looked at in time."""
        deadline = self.dispatch.idle_deadline(slot)
        container: _Container = slot.container
        if deadline < container.watched_at:
            container.watched_at = deadline
            self.at(deadline, self._look, slot)

    def _look(self, slot: Slot) -> None:
        container: _Container = slot.container
        if container.watched_at != self.now:
            return  # another look was arranged, earlier than this one
        container.watched_at = _NEVER
        if slot.state is not SlotState.IDLE:
            return
        if self.dispatch.expire(slot, self.now):
            container.function.tally.expired += 1
            self._stop(slot)
        else:
            self._watch(slot)

    def _stop(self, slot: Slot) -> None:
        self.at(self.now + self.functions[slot.pool].behaviour.stop(self.now), self._stopped, slot)

    def _stopped(self, slot: Slot) -> None:
        slot.container.function.tally.gone(slot, self.now)
        self.containers.note(self.containers.value - 1, self.now)
        self.dispatch.stopped(slot, self.now)


@attrs.define(eq=False)
class _ClosedLoop:
    """Callers each of whom waits for its answer before it calls again."""

    shell: VirtualShell
    function: VirtualFunction
    until: float
    think: Callable[[float], float] | None

    def call(self, _: None) -> None:
        if self.shell.now < self.until:
            self.shell.call(self.function, None, self.again)

    def again(self, call: VirtualCall) -> None:
        now = self.shell.now
        pause = self.think(now) if self.think is not None else 0.0
        if call.rejected is not None:
            pause = max(pause, RETRY_AFTER)
        if pause:
            self.shell.at(now + pause, self.call)
        else:
            self.call(None)
