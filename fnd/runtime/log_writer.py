"""The half of function logs that runs in a thread: cuts what was taken into lines, and writes them to their files.

It blocks as the disk does, and raises nothing when the disk fails: what could not be written is counted, and marked
once writing works again.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Final, NamedTuple

import attrs

from fnd.runtime.log_files import LineSplitter, LogFiles, LogLine

PATIENCE: Final = 1.0
"""Seconds after which a line without an end is written as it is."""


@attrs.define(eq=False)
class FnLog:
    """What is known of a fn's log while it has containers."""

    fn_id: str
    app_id: str
    pending: int = 0
    """What waits to be written of it."""
    lost: int = 0
    """Bytes that were not taken since the last mark, because too much was waiting."""
    unwritten: int = 0
    """Bytes that the disk refused since the last mark; the thread's own."""
    forgotten: bool = False
    """The fn was deleted."""


class Chunk(NamedTuple):
    """A piece of one container's output, as it was read."""

    fn: FnLog
    splitter: LineSplitter
    """The container's; the thread's own."""
    stream: str
    """"stdout", "stderr", "fnd" for a mark, "" for the end of the container."""
    data: bytes
    call_id: str
    at: float
    cost: int
    """Bytes it counts for while it waits."""

    def lines(self) -> Iterable[LogLine]:
        """Give the lines that it completes."""
        if self.stream == "":
            return self.splitter.flush()
        if self.stream == "fnd":
            return self.splitter.mark(self.data.decode(), self.call_id, self.at)
        return self.splitter.feed(self.stream, self.data, self.call_id, self.at)


@attrs.frozen
class Written:
    """What became of a batch."""

    lines: dict[FnLog, list[LogLine]]
    refused: int
    """Bytes that the disk did not take."""
    error: OSError | None


class LogWriter:
    """Writes batches, one at a time."""

    def __init__(self, files: LogFiles) -> None:
        self._files = files
        self._unfinished: dict[LineSplitter, FnLog] = {}

    @property
    def unfinished(self) -> bool:
        """Whether there are lines without an end, to be written after PATIENCE."""
        return bool(self._unfinished)

    def write(self, batch: Iterable[Chunk], forget: Set[str], now: float, last: bool) -> Written:
        """Write a batch, then lines that have waited PATIENCE for their end, and remove the files of `forget`.

        `now` in seconds, monotonic. `last` waits for no more ends, and closes the files.
        """
        lines: dict[FnLog, list[LogLine]] = {}
        for chunk in batch:
            lines.setdefault(chunk.fn, []).extend(chunk.lines())
            chunk.splitter.fed_at = now
            self._unfinished[chunk.splitter] = chunk.fn
        for splitter, fn in list(self._unfinished.items()):
            if last or now - splitter.fed_at >= PATIENCE:
                lines.setdefault(fn, []).extend(splitter.flush())
            if not splitter.unfinished:
                del self._unfinished[splitter]
        refused = 0
        error = None
        for fn, of_fn in lines.items():
            try:
                self._append(fn, of_fn)
            except OSError as failure:
                error = failure
                size = sum(len(line.text) for line in of_fn)
                fn.unwritten += size
                refused += size
        for fn_id in forget:
            try:
                self._files.forget(fn_id)
            except OSError as failure:
                error = failure
        if last:
            self._files.close()
        return Written(lines, refused, error)

    def _append(self, fn: FnLog, lines: list[LogLine]) -> None:
        if fn.forgotten or not lines:
            return
        records = [line.encode() for line in lines]
        if fn.unwritten:
            first = lines[0]
            text = f"{fn.unwritten} bytes of output lost: the disk failed"
            mark = LogLine(first.at, first.fn_id, first.container_id, first.call_id, "fnd", text)
            records.insert(0, mark.encode())
        self._files.append(fn.fn_id, records)
        fn.unwritten = 0
