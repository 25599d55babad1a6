"""What functions write to their standard streams: taken without ever waiting, written by a thread, told live.

A container's driver hands raw output to its ContainerLog, on the trio thread, for the price of an append. One
task, `FunctionLogs.run`, gives what was taken to a thread that cuts it into lines and writes them
(`fnd.runtime.log_writer`), and then tells who listens. Everything on the way is bounded: what a call may write,
what waits for the disk, for each fn and in all, and what waits for a listener. What is over is counted and marked.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self
from weakref import WeakValueDictionary

import attrs
import trio

from fnd.log import get_logger
from fnd.runtime.log_files import LineSplitter, LogFiles, LogLine
from fnd.runtime.log_writer import PATIENCE, Chunk, FnLog, LogWriter, Written
from fnd.runtime.subscription import Subscription

MIB: Final = 1 << 20
LINE_COST: Final = 150
"""Bytes that each line counts for besides its own: the time and the ids kept with it."""
CHUNK_COST: Final = 200
"""Bytes of memory that a waiting chunk takes besides its data."""
PENDING_LIMIT: Final = 8 * MIB
FN_PENDING_LIMIT: Final = 2 * MIB
"""What may wait for the disk, in all and of one fn, so that one cannot crowd out the others."""
BATCH: Final = MIB // 2
"""What one hop to the thread writes."""
GATHER: Final = 0.05
"""Seconds for which output is gathered before it is written: a hop to the thread costs more than a line."""
LINGER: Final = 0.5
"""Seconds after a call's end in which output still counts as the call's: it may be on its way through a pipe."""
SUBSCRIPTION_CAPACITY: Final = MIB
MAX_LINES: Final = 10_000
"""Lines of history that can be asked for."""

log = get_logger(__name__)


@attrs.frozen(kw_only=True)
class FunctionLogStatistics:
    """What became of functions' output, in bytes since the start."""

    taken: int
    cut: int
    """Over a call's limit."""
    lost: int
    """Not written because the disk failed or was too slow; listeners may have had it."""
    pending: int
    error: str
    """Why the last write failed, or "" if it did not."""


class ContainerLog:
    """Takes one container's output (a `LogSink`); used on the trio thread. Close it when the container is gone."""

    __slots__ = ("_call_id", "_ended_at", "_left", "_logs", "fn", "splitter")

    def __init__(self, logs: FunctionLogs, fn: FnLog, container_id: str) -> None:
        self._logs = logs
        self.fn = fn
        self.splitter = LineSplitter(fn.fn_id, container_id)  # the writing thread's own
        self._call_id = ""
        self._left = logs.per_call_limit  # below zero: the mark is there, and the rest is dropped
        self._ended_at = math.inf

    def begin_call(self, call_id: str) -> None:
        """What comes from now on is this call's."""
        self._call_id = call_id
        self._left = self._logs.per_call_limit
        self._ended_at = math.inf

    def end_call(self) -> None:
        """The call is over: what comes later than LINGER after now is no call's, and has a limit of its own."""
        self._ended_at = self._logs.clock()

    def __call__(self, stream: str, data: bytes, /) -> None:
        """Take output as a driver reads it. Never waits, never raises."""
        logs = self._logs
        if logs.clock() - self._ended_at > LINGER:
            self._call_id = ""
            self._left = logs.per_call_limit
            self._ended_at = math.inf
        if self._left < 0:
            logs.cut += len(data)
            return
        cost = len(data) + LINE_COST * data.count(b"\n")
        if cost <= self._left:
            self._left -= cost
            logs.take(self, stream, data, self._call_id)
            return
        kept = data[: _fitting(data, self._left)]
        self._left = -1
        logs.cut += len(data) - len(kept)
        logs.take(self, stream, kept, self._call_id)
        whose = "this call" if self._call_id else "the container between calls"
        mark = f"output cut: {whose} wrote more than {logs.per_call_limit} bytes"
        logs.take(self, "fnd", mark.encode(), self._call_id)

    def close(self) -> None:
        """The container is gone: a line without an end is a line now."""
        self._logs.take(self, "", b"", self._call_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _fitting(data: bytes, limit: int) -> int:
    """Return how many bytes of `data`, lines' costs included, fit in `limit`; found by halving, not line by line."""
    low, high = 0, min(len(data), limit)
    while low < high:
        middle = (low + high + 1) // 2
        if middle + LINE_COST * data.count(b"\n", 0, middle) <= limit:
            low = middle
        else:
            high = middle - 1
    return low


@attrs.frozen(eq=False)
class _Listener:
    subscription: Subscription[LogLine]
    app_id: str | None
    fn_id: str | None
    call_id: str | None


class FunctionLogs:
    """The logs of all functions, under `directory`. Its methods are for the trio thread; `run` must be running.

    `per_call_limit`: bytes kept of one call's output, and of what a container writes between two calls.
    `keep`: bytes kept of one fn. `keep_total`: bytes kept of all. `clock` counts seconds, monotonically.
    """

    def __init__(
        self,
        directory: Path,
        *,
        per_call_limit: int = MIB,
        keep: int = 16 * MIB,
        keep_total: int = 1024 * MIB,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.per_call_limit = per_call_limit
        self.clock = clock
        self.cut = 0
        self._files = LogFiles(directory, keep, keep_total)
        self._writer = LogWriter(self._files)
        self._fns: WeakValueDictionary[str, FnLog] = WeakValueDictionary()
        self._pending: deque[Chunk] = deque()
        self._pending_cost = 0
        self._forget: set[str] = set()
        self._taken = 0
        self._taken_chunks = 0
        self._written_chunks = 0
        self._lost = 0
        self._error = ""
        self._listeners: set[_Listener] = set()
        self._running = False
        self._closed = False
        self._hurried = False
        self._work = trio.lowlevel.ParkingLot()
        self._hurry = trio.lowlevel.ParkingLot()
        self._progress = trio.lowlevel.ParkingLot()
        self._files_lock = trio.Lock()
        self._writers = trio.CapacityLimiter(1)
        self._readers = trio.CapacityLimiter(2)

    def set_limits(self, per_call_limit: int, keep: int, keep_total: int) -> None:
        """Bound what comes from now on by these, in bytes."""
        self.per_call_limit = per_call_limit
        self._files.keep = keep
        self._files.keep_total = keep_total

    def open(self, container_id: str, app_id: str, fn_id: str) -> ContainerLog:
        """Return the log of a container that is about to start."""
        fn = self._fns.get(fn_id)
        if fn is None:
            self._fns[fn_id] = fn = FnLog(fn_id, app_id)
        return ContainerLog(self, fn, container_id)

    def take(self, container: ContainerLog, stream: str, data: bytes, call_id: str) -> None:
        """Put a chunk where `run` finds it, or count it as lost. Never waits."""
        fn = container.fn
        if self._closed or fn.forgotten:
            return
        cost = len(data) + CHUNK_COST
        if self._pending_cost + cost > PENDING_LIMIT or fn.pending + cost > FN_PENDING_LIMIT:
            fn.lost += len(data)
            self._lost += len(data)
            return
        if fn.lost:
            lost, fn.lost = fn.lost, 0
            self.take(container, "fnd", f"{lost} bytes of output lost: too much at once".encode(), call_id)
        self._pending.append(Chunk(fn, container.splitter, stream, data, call_id, time.time(), cost))
        self._pending_cost += cost
        fn.pending += cost
        self._taken += len(data)
        self._taken_chunks += 1
        self._work.unpark()
        if self._pending_cost > BATCH:
            self._hurry_up()

    def forget(self, fn_id: str) -> None:
        """Remove a deleted fn's log. Its containers may still write; that is dropped."""
        fn = self._fns.get(fn_id)
        if fn is not None:
            fn.forgotten = True
        self._forget.add(fn_id)
        self._work.unpark()

    async def flush(self) -> None:
        """Return when all that was taken before is written, but for lines without an end."""
        await trio.lowlevel.checkpoint()
        goal = self._taken_chunks
        while self._running and self._written_chunks < goal:
            self._hurry_up()
            await self._progress.park()

    async def read(self, fn_id: str, call_id: str | None = None, lines: int = 100) -> list[LogLine]:
        """Return the last `lines` lines of a fn, or of one of its calls, oldest first; at most MAX_LINES."""
        await self.flush()
        return await self._read(fn_id, call_id, lines)

    @asynccontextmanager
    async def subscribe(
        self,
        fn_id: str | None = None,
        *,
        app_id: str | None = None,
        call_id: str | None = None,
        lines: int = 0,
    ) -> AsyncIterator[Subscription[LogLine]]:
        """Hand out lines as they are written, of one fn, app or call or of all; first `lines` of a fn's past.

        Between the past and what follows nothing is missing or doubled. One who reads slower than functions write
        loses lines, and gets one of stream "fnd" that says how many. The stream ends with `run`.
        """
        await self.flush()
        async with self._files_lock:  # no batch is between being written and being told
            history = [] if fn_id is None or not lines else await self._read(fn_id, call_id, lines)
            capacity = SUBSCRIPTION_CAPACITY + sum(map(_weigh, history))
            listener = _Listener(Subscription(capacity, _weigh, _lost_lines), app_id, fn_id, call_id)
            for line in history:
                listener.subscription.publish(line)
            self._listeners.add(listener)
        if self._closed:
            listener.subscription.close()
        try:
            yield listener.subscription
        finally:
            self._listeners.discard(listener)

    def end_streams(self) -> None:
        """End the stream of who listens now, once they have what was told before."""
        for listener in self._listeners:
            listener.subscription.close()

    def statistics(self) -> FunctionLogStatistics:
        """Return what became of functions' output so far."""
        return FunctionLogStatistics(
            taken=self._taken, cut=self.cut, lost=self._lost, pending=self._pending_cost, error=self._error
        )

    async def run(self) -> None:
        """Write what is taken until cancelled; then write the rest and end every listener's stream."""
        self._running = True
        try:
            while True:
                await self._wait_for_work()
                await self._write_some()
        finally:
            self._closed = True
            with trio.CancelScope(shield=True):  # bounded by PENDING_LIMIT
                while self._pending or self._forget:
                    await self._write_some()
                await self._write_some(last=True)
            self._running = False
            self._progress.unpark_all()
            self.end_streams()

    def _hurry_up(self) -> None:
        self._hurried = True
        self._hurry.unpark_all()

    async def _wait_for_work(self) -> None:
        """Return when there is something to write and it has been gathered, or an unfinished line is old."""
        while not self._pending and not self._forget:
            with trio.move_on_after(PATIENCE if self._writer.unfinished else math.inf) as patience:
                await self._work.park()
            if patience.cancelled_caught:
                return
        if not self._hurried:
            with trio.move_on_after(GATHER):
                await self._hurry.park()

    async def _write_some(self, *, last: bool = False) -> None:
        """Write one batch and tell it to the listeners; `last` ends unfinished lines and closes the files."""
        async with self._files_lock:
            with trio.CancelScope(shield=True):  # what has left the queue must arrive
                batch = self._next_batch()
                self._hurried = self._pending_cost > BATCH
                forget, self._forget = self._forget, set()
                written = await trio.to_thread.run_sync(
                    self._writer.write, batch, forget, trio.current_time(), last, limiter=self._writers
                )
            for fn, lines in written.lines.items():
                self._tell(fn, lines)
        self._note_outcome(written)
        self._written_chunks += len(batch)
        self._progress.unpark_all()

    def _next_batch(self) -> list[Chunk]:
        batch = []
        size = 0
        while self._pending and size < BATCH:
            chunk = self._pending.popleft()
            size += chunk.cost
            chunk.fn.pending -= chunk.cost
            batch.append(chunk)
        self._pending_cost -= size
        return batch

    def _tell(self, fn: FnLog, lines: list[LogLine]) -> None:
        for listener in self._listeners:
            if listener.fn_id in (None, fn.fn_id) and listener.app_id in (None, fn.app_id):
                for line in lines:
                    if listener.call_id in (None, line.call_id):
                        listener.subscription.publish(line)

    def _note_outcome(self, written: Written) -> None:
        self._lost += written.refused
        if written.error is not None:
            if not self._error:
                log.error("function logs cannot be written; calls go on", error=str(written.error))
            self._error = str(written.error)
        elif self._error and written.lines:
            self._error = ""
            log.info("function logs are written again", lost_bytes=self._lost)

    async def _read(self, fn_id: str, call_id: str | None, lines: int) -> list[LogLine]:
        count = min(lines, MAX_LINES)
        return await trio.to_thread.run_sync(self._files.read, fn_id, call_id, count, limiter=self._readers)


def _weigh(line: LogLine) -> int:
    return len(line.text) + CHUNK_COST


def _lost_lines(count: int) -> LogLine:
    return LogLine(time.time(), "", "", "", "fnd", f"{count} lines not shown: they came faster than they were read")
