"""Recordings: calls that came once, read from CSV or JSON lines, to be replayed.

`fnd calls` writes such JSON lines; anything else that knows when which function was called can write either.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

import attrs

from fnd.errors import ConfigurationError

AT: Final = ("at", "arrived_at")
"""Names of the field that says when a call came: seconds, or an ISO 8601 time."""
MOST: Final = 1e12
"""Seconds, at most: beyond, sums are no longer exact to the millisecond."""
_FIELDS: Final = "at (or arrived_at), function (or app_name and fn_name), and perhaps run"


@attrs.frozen
class RecordedCall:
    """A call that came once."""

    at: float
    """Seconds since the first call of the recording."""
    function: str
    run: float | None
    """Seconds it ran, if the recording says so."""
    line: int
    """Where it stands in the recording; the first line is 1."""


@attrs.frozen
class Recording:
    """Calls in the order in which they came; there is at least one."""

    source: str
    """The file's name, for messages."""
    calls: tuple[RecordedCall, ...]

    @property
    def duration(self) -> float:
        """Seconds from the first call to the last."""
        return self.calls[-1].at

    def functions(self) -> dict[str, RecordedCall]:
        """Return the functions that are called, in order of their first calls, with those."""
        first: dict[str, RecordedCall] = {}
        for call in self.calls:
            first.setdefault(call.function, call)
        return first


def read_recording(lines: Iterable[str], source: str) -> Recording:
    """Read CSV with a line of headings, or a JSON object a line; which of them is seen from the first character.

    The order of lines does not matter, as the earliest call is taken for time 0. `source` names the recording in
    errors. Raises ConfigurationError with the number of the line that cannot be used.
    """
    numbered = _Lines(lines)
    first = next((line for line in numbered if line.strip()), None)
    if first is None:
        raise ConfigurationError(f"{source} has no calls in it")
    records = _json_records if first.lstrip("\ufeff").startswith("{") else _csv_records
    reader = _Reader(source)
    calls = [reader.call(record, line) for record, line in records(first, numbered, source)]
    if not calls:
        raise ConfigurationError(f"{source} has no calls in it")
    earliest = min(call.at for call in calls)
    calls.sort(key=lambda call: call.at)
    return Recording(
        source, tuple(RecordedCall(call.at - earliest, call.function, call.run, call.line) for call in calls)
    )


class _Lines:
    """Lines that know their number."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        return line


def _fail(source: str, line: int, message: str) -> NoReturn:
    raise ConfigurationError(f"{source}, line {line}: {message}")


def _json_records(first: str, lines: _Lines, source: str) -> Iterator[tuple[Mapping[str, Any], int]]:
    line: str | None = first.lstrip("\ufeff")
    while line is not None:
        if line.strip():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                _fail(source, lines.number, f"not JSON ({error})")
            if not isinstance(record, dict):
                _fail(source, lines.number, "not a JSON object")
            yield record, lines.number
        line = next(lines, None)


def _csv_records(first: str, lines: _Lines, source: str) -> Iterator[tuple[Mapping[str, Any], int]]:
    names = [heading.strip() for heading in _csv_head(first.lstrip("\ufeff"), lines, source)]
    if not set(names) & set(AT):
        _fail(source, lines.number, f"these are no headings; a recording's columns are {_FIELDS}")
    for row in _csv_rows(lines, source):
        if len(row) != len(names):
            _fail(source, lines.number, f"{len(row)} columns where the headings are {len(names)}")
        yield {name: text.strip() for name, text in zip(names, row, strict=True)}, lines.number


def _csv_head(first: str, lines: _Lines, source: str) -> list[str]:
    try:
        return next(csv.reader([first], skipinitialspace=True))
    except csv.Error as error:
        _fail(source, lines.number, f"not CSV ({error})")


def _csv_rows(lines: _Lines, source: str) -> Iterator[list[str]]:
    try:
        yield from (row for row in csv.reader(lines, skipinitialspace=True) if row not in ([], [""]))
    except csv.Error as error:
        _fail(source, lines.number, f"not CSV ({error})")


class _Reader:
    """Makes calls of records; all of a recording's times are of one kind."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._dated: bool | None = None

    def call(self, record: Mapping[str, Any], line: int) -> RecordedCall:
        def fail(message: str) -> NoReturn:
            _fail(self._source, line, message)

        return RecordedCall(self._moment(record, fail), _function(record, fail), _run(record, fail), line)

    def _moment(self, record: Mapping[str, Any], fail: Callable[[str], NoReturn]) -> float:
        name = next((name for name in AT if record.get(name) not in (None, "")), None)
        if name is None:
            fail(f"no time; a recorded call has {_FIELDS}")
        value = record[name]
        number = _number(value)
        moment = _timestamp(value) if number is None else number
        if moment is None:
            fail(f"{name}: {value!r:.80} is neither a number of seconds nor an ISO 8601 time")
        dated = number is None
        if self._dated is None:
            self._dated = dated
        elif self._dated != dated:
            kinds = ("a number of seconds", "an ISO 8601 time")
            fail(f"{name}: {value!r:.80} is {kinds[dated]}, where the lines before have {kinds[not dated]}")
        return moment


def _function(record: Mapping[str, Any], fail: Callable[[str], NoReturn]) -> str:
    function = record.get("function")
    parts = [function] if function else [record.get("app_name"), record.get("fn_name")]
    names = [part for part in parts if isinstance(part, str) and part]
    if len(names) != len(parts):
        fail(f"no function; a recorded call has {_FIELDS}")
    name = "/".join(names)
    try:
        name.encode()
    except UnicodeEncodeError:
        fail(f"{name!r:.80} is no function's name: a part of a character is not text")
    return name


def _run(record: Mapping[str, Any], fail: Callable[[str], NoReturn]) -> float | None:
    value = record.get("run")
    if value in (None, ""):
        return None
    run = _number(value)
    if run is None or run < 0:
        fail(f"run: {value!r:.80} is not a number of seconds, 0 or more")
    return run


def _number(value: Any) -> float | None:
    """Return a number up to MOST, from CSV given as text, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) <= MOST else None


def _timestamp(value: Any) -> float | None:
    """Return an ISO 8601 time in seconds since 1970, or None; without an offset it is taken for UTC."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()
