"""Function logs on disk: lines are cut out of raw output, kept as NDJSON in a directory per fn, and read back.

Everything here blocks, and is called in a thread by `fnd.runtime.function_logs`. What a function writes is
hostile: lines are cut at MAX_LINE bytes, and each fn's files and all files together are bounded, the oldest
going first. A fn's files are numbered segments, `0000000001.ndjson` and so on, appended to and never rewritten.
"""

from __future__ import annotations

import json
import os
import re
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

MAX_LINE: Final = 16384
"""Bytes of one line; a longer one is kept as several, each but the last with `continued` set."""
SEGMENTS: Final = 8
"""A segment has this part of what is kept of a fn: rotation forgets an eighth at a time."""
MAX_OPEN: Final = 32
"""Files held open between writes."""
SWEEP_PART: Final = 16
"""All files together are measured each time this part of what may be kept has been written."""
MAX_HISTORY: Final = 4 << 20
"""Bytes of history that one `read` returns at most, as kept on disk."""

_IDENTIFIER = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)


@attrs.frozen
class LogLine:
    """One line of a function's output, or one that fnd itself puts there."""

    at: float
    """When it was read, Unix time in seconds."""
    fn_id: str
    container_id: str
    call_id: str
    """The call that the container ran then; "" between calls."""
    stream: str
    """"stdout", "stderr", or "fnd" for what fnd itself has to say: that output was cut or lost."""
    text: str
    """Without its line end. Bytes that are not UTF-8 have become U+FFFD."""
    continued: bool = False
    """Whether the line was too long and goes on in the next of its stream."""

    def as_json(self) -> dict[str, Any]:
        """Return what a reader over HTTP gets."""
        return attrs.asdict(self)

    def encode(self) -> bytes:
        """Return the line as it is kept."""
        fields: dict[str, Any] = {
            "at": round(self.at, 6),
            "container": self.container_id,
            "call": self.call_id,
            "stream": self.stream,
            "text": self.text,
        }
        if self.continued:
            fields["continued"] = True
        return _encoder.encode(fields).encode("utf-8", "replace") + b"\n"

    @classmethod
    def decode(cls, fn_id: str, kept: bytes) -> LogLine:
        """Read what `encode` wrote. Raises ValueError or KeyError if it is something else."""
        fields = json.loads(kept)
        return cls(
            fields["at"],
            fn_id,
            fields["container"],
            fields["call"],
            fields["stream"],
            fields["text"],
            fields.get("continued", False),
        )


@attrs.define
class _Unfinished:
    """The beginning of a line whose end has not been written yet."""

    call_id: str
    at: float
    data: bytes


class LineSplitter:
    """Cuts one container's output into lines. Holds at most MAX_LINE bytes a stream."""

    def __init__(self, fn_id: str, container_id: str) -> None:
        self._fn_id = fn_id
        self._container_id = container_id
        self._unfinished: dict[str, _Unfinished] = {}
        self.fed_at = 0.0
        """When it was last fed, as who feeds it counts time."""

    @property
    def unfinished(self) -> bool:
        """Whether `flush` would give something."""
        return bool(self._unfinished)

    def feed(self, stream: str, data: bytes, call_id: str, at: float) -> Iterator[LogLine]:
        """Give the lines that `data` completes. A line begun in another call ends where that call ended."""
        begun = self._unfinished.pop(stream, None)
        if begun is not None and begun.call_id != call_id:
            yield self._line(stream, begun.data, begun.call_id, begun.at)
            begun = None
        rest = data if begun is None else begun.data + data
        first_at = at if begun is None else begun.at
        *lines, rest = rest.split(b"\n")
        for line in lines:
            piece = line
            while len(piece) > MAX_LINE:
                end = _character_boundary(piece, MAX_LINE)
                yield self._line(stream, piece[:end], call_id, first_at, continued=True)
                piece = piece[end:]
            yield self._line(stream, piece.removesuffix(b"\r"), call_id, first_at)
            first_at = at
        while len(rest) > MAX_LINE:
            end = _character_boundary(rest, MAX_LINE)
            yield self._line(stream, rest[:end], call_id, first_at, continued=True)
            rest = rest[end:]
        if rest:
            self._unfinished[stream] = _Unfinished(call_id, first_at, rest)

    def flush(self) -> Iterator[LogLine]:
        """Give what has no line end yet as lines."""
        for stream, begun in self._unfinished.items():
            yield self._line(stream, begun.data, begun.call_id, begun.at)
        self._unfinished.clear()

    def mark(self, text: str, call_id: str, at: float) -> Iterator[LogLine]:
        """Give what was begun, and then a line of fnd's own."""
        yield from self.flush()
        yield LogLine(at, self._fn_id, self._container_id, call_id, "fnd", text)

    def _line(self, stream: str, data: bytes, call_id: str, at: float, *, continued: bool = False) -> LogLine:
        text = data.decode("utf-8", "replace")
        return LogLine(at, self._fn_id, self._container_id, call_id, stream, text, continued)


def _character_boundary(data: bytes, end: int) -> int:
    """Return the last index up to `end` at which no UTF-8 character is cut in two."""
    for boundary in range(end, end - 4, -1):
        if data[boundary] & 0xC0 != 0x80:
            return boundary
    return end


@attrs.define
class _Segments:
    """The files of one fn: the one that is written, and the older ones."""

    descriptor: int
    number: int
    size: int
    older: deque[tuple[int, int]]
    """Number and size, oldest first."""


class LogFiles:
    """All fns' log files under one directory. Used by one thread at a time, but for `read`."""

    def __init__(self, directory: Path, keep: int, keep_total: int) -> None:
        self._directory = directory
        self.keep = keep
        """Bytes kept of each fn."""
        self.keep_total = keep_total
        """Bytes kept of all fns together."""
        self._open: OrderedDict[str, _Segments] = OrderedDict()
        self._unswept: int | None = None
        """Bytes written since all files were measured; None if they never were."""

    def append(self, fn_id: str, records: Iterable[bytes]) -> None:
        """Write whole records, beginning new segments and removing old ones as needed.

        Raises OSError; then the file ends with a whole record, and none of those from the failed one on is kept.
        """
        segments = self._segments(fn_id)
        limit = max(self.keep // SEGMENTS, 1)
        gathered: list[bytes] = []
        size = 0
        for record in records:
            if segments.size + size and segments.size + size + len(record) > limit:
                self._write(segments, b"".join(gathered))
                gathered.clear()
                size = 0
                self._rotate(fn_id, segments, limit)
            gathered.append(record)
            size += len(record)
        self._write(segments, b"".join(gathered))
        self._sweep_if_due()

    def forget(self, fn_id: str) -> None:
        """Remove all files of a fn. Raises OSError."""
        self._close(fn_id)
        directory = self._directory_of(fn_id)
        try:
            for _, path in _segment_files(directory):
                path.unlink(missing_ok=True)
            directory.rmdir()
        except FileNotFoundError:
            pass

    def close(self) -> None:
        """Close every file."""
        for fn_id in list(self._open):
            self._close(fn_id)

    def read(self, fn_id: str, call_id: str | None, lines: int) -> list[LogLine]:
        """Return the last `lines` lines of a fn, or of one of its calls, oldest first; fewer beyond MAX_HISTORY."""
        if not _IDENTIFIER.fullmatch(fn_id):
            return []
        # Quotes in a text are escaped, so this can only be the field itself.
        needle = b"" if call_id is None else b'"call":' + _encoder.encode(call_id).encode("utf-8", "replace")
        found: list[LogLine] = []
        size = 0
        for _, path in reversed(_segment_files(self._directory_of(fn_id))):
            try:
                kept = path.read_bytes()
            except FileNotFoundError:  # rotated away meanwhile
                break
            for record in reversed(kept.split(b"\n")):
                if not record or needle not in record:
                    continue
                size += len(record)
                if len(found) == lines or size > MAX_HISTORY:
                    return found[::-1]
                with suppress(ValueError, KeyError, TypeError):  # torn by a crash in the middle of a write
                    found.append(LogLine.decode(fn_id, record))
        return found[::-1]

    def _directory_of(self, fn_id: str) -> Path:
        if not _IDENTIFIER.fullmatch(fn_id):
            raise ValueError(f"not an identifier: {fn_id!r}")
        return self._directory / fn_id

    def _segments(self, fn_id: str) -> _Segments:
        """Return the fn's files, open for writing, making or finding them first where needed."""
        segments = self._open.get(fn_id)
        if segments is not None:
            if os.fstat(segments.descriptor).st_nlink:
                self._open.move_to_end(fn_id)
                return segments
            self._close(fn_id)  # somebody removed the file; what was written to it would be seen by nobody
        directory = self._directory_of(fn_id)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = [(number, path.stat().st_size) for number, path in _segment_files(directory)]
        number, size = files.pop() if files else (1, 0)
        segments = _Segments(_open_segment(directory, number), number, size, deque(files))
        if size and os.pread(segments.descriptor, 1, size - 1) != b"\n":  # torn by a crash
            self._write(segments, b"\n")
        self._open[fn_id] = segments
        if len(self._open) > MAX_OPEN:
            self._close(next(iter(self._open)))
        return segments

    def _rotate(self, fn_id: str, segments: _Segments, limit: int) -> None:
        directory = self._directory_of(fn_id)
        descriptor = _open_segment(directory, segments.number + 1)
        os.close(segments.descriptor)
        segments.older.append((segments.number, segments.size))
        segments.descriptor, segments.number, segments.size = descriptor, segments.number + 1, 0
        kept = sum(size for _, size in segments.older)
        while segments.older and kept + limit > self.keep:
            number, size = segments.older.popleft()
            _segment_path(directory, number).unlink(missing_ok=True)
            kept -= size

    def _write(self, segments: _Segments, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(segments.descriptor, view) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(segments.descriptor, segments.size)
            raise
        segments.size += len(data)
        if self._unswept is not None:
            self._unswept += len(data)

    def _close(self, fn_id: str) -> None:
        segments = self._open.pop(fn_id, None)
        if segments is not None:
            os.close(segments.descriptor)

    def _sweep_if_due(self) -> None:
        """Measure all files now and then; remove the oldest of whatever fn where they are too much together."""
        part = self.keep_total // SWEEP_PART
        if self._unswept is not None and self._unswept < part:
            return
        self._unswept = 0
        files = []
        for directory in self._directory.iterdir():
            for _, path in _segment_files(directory):
                with suppress(FileNotFoundError):
                    status = path.stat()
                    files.append((status.st_mtime_ns, status.st_size, path))
        files.sort(reverse=True)
        total = sum(size for _, size, _ in files)
        while files and total > self.keep_total - part:
            _, size, path = files.pop()
            self._close(path.parent.name)  # its numbers and sizes are found anew
            path.unlink(missing_ok=True)
            with suppress(OSError):  # not empty
                path.parent.rmdir()
            total -= size


def _segment_path(directory: Path, number: int) -> Path:
    return directory / f"{number:010d}.ndjson"


def _segment_files(directory: Path) -> list[tuple[int, Path]]:
    """Return number and path of each of a fn's files, oldest first; none if the directory is not there."""
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208  names alone are wanted
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [(int(name[:10]), directory / name) for name in names if re.fullmatch(r"[0-9]{10}\.ndjson", name)]


def _open_segment(directory: Path, number: int) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(_segment_path(directory, number), flags, 0o600)
