"""What became of calls: the last ones in memory, and from there to the store, off every call's way.

A call that is over is appended to a ring and costs nothing more. Every two seconds, if there are new ones, a task
writes them down, at most PER_FLUSH of them: in a flood those that failed, then those that were cold, then the
slowest, since these are the ones somebody will ask for. While the store fails they stay where they are, until the
ring overwrites them; no call waits for it, and none fails with it.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol

import attrs
import trio

from fnd.errors import StoreUnavailable
from fnd.ids import made_at
from fnd.model import CallQuery, CallRecord, Situation
from fnd.runtime.subscription import Bus

if TYPE_CHECKING:
    from fnd.runtime.call import Call

FLUSH_SECONDS: Final = 2.0
"""Between two writes, at least; twice as long after each that the store refused."""
LONGEST_DELAY: Final = 60.0
LAST_FLUSH_SECONDS: Final = 2.0
"""What the write at the end may take before its turn comes."""
PER_FLUSH: Final = 200
"""Records written at once: building them takes time from calls that run meanwhile."""


@attrs.frozen
class LostCalls:
    """What one who follows calls is told who reads too slowly."""

    lost: int
    """How many calls he was not told of."""


class History(Protocol):
    """Where records go. What it raises is StoreUnavailable."""

    async def add(self, records: Callable[[], Iterable[CallRecord]]) -> None:
        """Keep what `records` gives, which is called in a thread."""


class CallRecords:
    """The last `keep` calls that are over."""

    def __init__(self, keep: int) -> None:
        self._ring: deque[Call] = deque(maxlen=keep)
        self._written: Call | None = None
        """The last one that the task has dealt with."""
        self._parked: trio.Event | None = None
        """Set to wake the task, which has nothing to do."""
        self.listeners: Sequence[Callable[[Call], None]] = ()
        """What is told of each call that is over; never waits, never raises."""
        self.over: Bus[Call | LostCalls] = Bus(LostCalls)
        """Where those who follow calls hear of each that is over."""

    def add(self, call: Call) -> None:
        """Keep a call that is over; once for each."""
        self._ring.append(call)
        for tell in self.listeners:
            tell(call)
        self.over.publish(call)
        if self._parked is not None:
            self._parked.set()
            self._parked = None

    def __iter__(self) -> Iterator[Call]:
        """Give the calls, newest first; none must be added meanwhile."""
        return reversed(self._ring)

    def find(self, call_id: str) -> CallRecord | None:
        """Return the record of one call, if it is still here."""
        return next((record_of(call) for call in self if call.id == call_id), None)

    def newest(self, query: CallQuery) -> list[CallRecord]:
        """Return what is here of what is asked for."""
        return select(query, self)

    @asynccontextmanager
    async def flushing(self, history: History) -> AsyncIterator[None]:
        """Write new records to `history` while in the context, and what there is at its end."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._flush_again_and_again, history)
                yield
                nursery.cancel_scope.cancel()
        finally:
            with trio.move_on_after(LAST_FLUSH_SECONDS, shield=True):
                await self._flush(history)

    async def _flush_again_and_again(self, history: History) -> None:
        delay = FLUSH_SECONDS
        while True:
            if not self._ring or self._ring[-1] is self._written:
                self._parked = trio.Event()
                await self._parked.wait()
            await trio.sleep(delay)
            delay = FLUSH_SECONDS if await self._flush(history) else min(2 * delay, LONGEST_DELAY)

    async def _flush(self, history: History) -> bool:
        """Write what is new, if anything is; return whether that went well."""
        new: list[Call] = []
        for call in self:
            if call is self._written:
                break
            new.append(call)
        if new:
            try:
                await history.add(lambda: [record_of(call) for call in worth_keeping(new)])
            except StoreUnavailable:
                return False  # the store has logged it
            self._written = new[0]
        return True


def worth_keeping(calls: list[Call]) -> list[Call]:
    """Return all of them, or, if they are too many, those most likely to be asked for."""
    if len(calls) <= PER_FLUSH:
        return calls
    return heapq.nlargest(
        PER_FLUSH, calls, key=lambda call: (call.error != "", call.cold, call.answered_at - call.arrived_at)
    )


def select(query: CallQuery, calls: Iterable[Call]) -> list[CallRecord]:
    """Return the records of those calls that are asked for, newest first."""
    records = (record_of(call) for call in calls if query.fn_id in ("", call.pool.version.fn.id))
    return heapq.nlargest(query.limit, filter(query.matches, records), key=lambda record: record.id)


def asked_for(query: CallQuery, call: Call | LostCalls) -> CallRecord | LostCalls | None:
    """Return what one who follows such calls is told of this one; None for nothing."""
    if isinstance(call, LostCalls):
        return call
    if query.fn_id not in ("", call.pool.version.fn.id):
        return None  # before its record is made
    record = record_of(call)
    return record if query.matches(record) else None


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
