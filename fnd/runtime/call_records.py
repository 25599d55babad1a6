"""What became of calls: the last ones in memory, and from there to the store, off every call's way.

A call that is over is appended to a ring, and stands for the history if it is one of those that somebody will ask for:
of at most PER_FLUSH in two seconds, in a flood those that failed, then those that were cold, then the slowest. Which
those are is seen as each call ends, so that neither how many follow nor how short the ring is makes a difference. Every
two seconds, if there are any, they are written down by a task. While the store fails they wait, MOST_UNWRITTEN at most;
how many had to go is logged. No call waits for the store, and none fails with it.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import attrs
import trio

from fnd.errors import StoreUnavailable
from fnd.ids import made_at
from fnd.log import get_logger
from fnd.model import CallQuery, CallRecord, Situation
from fnd.runtime.subscription import Bus

if TYPE_CHECKING:
    from fnd.runtime.call import Call

FLUSH_SECONDS: Final = 2.0
"""In which so many calls are chosen, and after which they are written; twice as long after each write refused."""
LONGEST_DELAY: Final = 60.0
LAST_FLUSH_SECONDS: Final = 2.0
"""What writing at the end may take."""
AT_ONCE: Final = 50
"""Records made for who asks before other tasks have their turn: less than a millisecond's work."""
PER_FLUSH: Final = 200
"""Records chosen in that time, and written at once: building them takes time from calls that run meanwhile."""
MOST_UNWRITTEN: Final = 10_000
"""Calls that wait while the store fails: as many as are chosen in 100 seconds of a flood, 3 to 8 MB."""


@attrs.frozen
class LostCalls:
    """What one who follows calls is told who reads too slowly."""

    lost: int
    """How many calls he was not told of."""


class History(Protocol):
    """Where records go. What it raises is StoreUnavailable."""

    async def add(self, records: Callable[[], Iterable[CallRecord]]) -> None:
        """Keep what `records` gives, which is called in a thread."""


_log = get_logger(__name__)

_Candidate: TypeAlias = "tuple[bool, bool, float, str, Call]"
"""A call behind what makes it worth keeping: whether it failed, whether it was cold, its seconds; and its id, so that
calls that are alike in all of that have an order."""


class CallRecords:
    """The last `keep` calls that are over."""

    def __init__(self, keep: int) -> None:
        self._ring: deque[Call] = deque(maxlen=keep)
        self._chosen: list[_Candidate] = []
        """For the history, since it was last written to: at most PER_FLUSH, once they are so many a heap."""
        self._bar = -inf
        """Only what took more seconds is chosen, if it neither failed nor was cold."""
        self._parked: trio.Event | None = None
        """Set to wake the task that gathers, which has nothing to do."""
        self.listeners: Sequence[Callable[[Call], None]] = ()
        """What is told of each call that is over; never waits, never raises."""
        self.over: Bus[Call | LostCalls] = Bus(LostCalls)
        """Where those who follow calls hear of each that is over."""
        self._unwritten: deque[Call] = deque()
        """What was chosen and waits for the store, oldest choice first."""
        self._gathered = trio.Event()
        self._lost = 0
        """How many were chosen and will not be in the store, since that was last told."""

    def add(self, call: Call) -> None:
        """Keep a call that is over; once for each."""
        self._ring.append(call)
        for tell in self.listeners:
            tell(call)
        self.over.publish(call)
        if call.answered_at - call.arrived_at > self._bar or call.error or call.cold:
            self._choose(call)

    def _choose(self, call: Call) -> None:
        chosen = self._chosen
        candidate = (call.error != "", call.cold, call.answered_at - call.arrived_at, call.id, call)
        if len(chosen) < PER_FLUSH:
            chosen.append(candidate)
            if len(chosen) == PER_FLUSH:
                heapq.heapify(chosen)
                self._set_bar()
            if self._parked is not None:
                self._parked.set()
                self._parked = None
        elif candidate > chosen[0]:
            heapq.heapreplace(chosen, candidate)
            self._set_bar()

    def _set_bar(self) -> None:
        failed, cold, seconds, *_ = self._chosen[0]
        self._bar = inf if failed or cold else seconds

    def __iter__(self) -> Iterator[Call]:
        """Give the calls, newest first; none must be added meanwhile."""
        return reversed(self._ring)

    def find(self, call_id: str) -> CallRecord | None:
        """Return the record of one call, if it is still here."""
        return next((record_of(call) for call in self if call.id == call_id), None)

    @asynccontextmanager
    async def flushing(self, history: History) -> AsyncIterator[None]:
        """Write new records to `history` while in the context, and what there is at its end."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._gather_again_and_again)
                nursery.start_soon(self._write_again_and_again, history)
                yield
                nursery.cancel_scope.cancel()
        finally:
            self._gather()
            with trio.move_on_after(LAST_FLUSH_SECONDS, shield=True):
                await self._write(history)
            self._lost += len(self._unwritten)
            self._tell_lost()

    async def _gather_again_and_again(self) -> None:
        while True:
            if not self._chosen:
                self._parked = trio.Event()
                await self._parked.wait()
            await trio.sleep(FLUSH_SECONDS)
            self._gather()
            self._gathered.set()

    def _gather(self) -> None:
        """End the choice, and let what was chosen wait for the store; beyond MOST_UNWRITTEN the oldest go."""
        chosen, self._chosen, self._bar = self._chosen, [], -inf
        self._unwritten.extend(candidate[-1] for candidate in chosen)
        while len(self._unwritten) > MOST_UNWRITTEN:
            self._unwritten.popleft()
            self._lost += 1

    async def _write_again_and_again(self, history: History) -> None:
        delay = FLUSH_SECONDS
        while True:
            while not self._unwritten:
                self._gathered = trio.Event()
                await self._gathered.wait()
            if await self._write(history):
                delay = FLUSH_SECONDS
            else:
                delay = min(2 * delay, LONGEST_DELAY)
                await trio.sleep(delay)

    async def _write(self, history: History) -> bool:
        """Write what waits, a group at a time, newest first within each; return whether that went well.

        What the store refuses waits on. Cancelled: so does the group that may not have been written.
        """
        waiting = self._unwritten
        while waiting:
            group = [waiting.popleft() for _ in range(min(len(waiting), PER_FLUSH))]
            try:
                await history.add(lambda group=group: [record_of(call) for call in reversed(group)])  # type: ignore[misc]
            except StoreUnavailable:  # the store has logged it
                waiting.extendleft(reversed(group))
                return False
            except trio.Cancelled:
                waiting.extendleft(reversed(group))
                raise
            except Exception:
                # Whatever it is that nobody thought of: it must not come up again for ever, nor end the daemon.
                _log.exception("calls' records not written")
                self._lost += len(group)
        self._tell_lost()
        return True

    def _tell_lost(self) -> None:
        if self._lost:
            _log.warning("calls' records are missing in the store", count=self._lost)
            self._lost = 0


async def select(query: CallQuery, calls: Iterable[Call]) -> list[CallRecord]:
    """Return the records of those of `calls` that are asked for, newest first; other tasks run meanwhile.

    Only of those are there records: making one takes as long as looking at dozens of calls.
    """
    found = sorted(filter(query.matches, calls), key=attrgetter("id"), reverse=True)[: query.limit]
    records: list[CallRecord] = []
    for call in found:
        if len(records) % AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
        records.append(record_of(call))
    return records


def asked_for(query: CallQuery, call: Call | LostCalls) -> CallRecord | LostCalls | None:
    """Return what one who follows such calls is told of this one; None for nothing."""
    if isinstance(call, LostCalls):
        return call
    return record_of(call) if query.matches(call) else None


def record_of(call: Call) -> CallRecord:
    """Return what is known of a call, whether it is over or not."""
    app, fn = call.pool.version.app, call.pool.version.fn
    end = call.answered_at or trio.current_time()
    taken_at = call.taken_at or end
    return CallRecord(
        id=call.id,
        app_id=app.id,
        app_name=app.name,
        fn_id=fn.id,
        fn_name=fn.name,
        arrived_at=made_at(call.id),
        state=_state(call),
        status=call.status if call.answered_at else 0,
        error=call.error,
        cold=call.cold,
        resumed=call.resumed,
        receive=call.receive,
        queue=taken_at - call.arrived_at - call.launch,
        launch=call.launch,
        run=end - taken_at,
        waited_for=call.waited_for or "",
        container_id=call.container_id,
        situation=None if call.situation is None else Situation(*call.situation),
    )


def _state(call: Call) -> str:
    if call.answered_at:
        return "failed" if call.error else "answered"
    return "running" if call.taken_at else "waiting"
