"""The daemon's own log: structlog, in lines for people or as JSON, written by a thread so that no log line waits.

What callers and functions send gets into log lines, so every value is escaped and cut: nobody but the daemon can
begin a line or move the terminal's cursor. Whatever logs has its logger from `get_logger`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

from fnd.line_writer import LineWriter

if TYPE_CHECKING:
    import structlog
    from structlog.typing import EventDict, FilteringBoundLogger, Processor
else:
    # structlog imports rich, where there is one, for a console that fnd does not use; it would cost the daemon's
    # start 0.1 s and 3 MB. None is the import system's way to say that a module is not to be had.
    _rich_is_absent = sys.modules.setdefault("rich", None) is None
    try:
        import structlog
    finally:
        if _rich_is_absent:
            del sys.modules["rich"]

MAX_VALUE: Final = 2048
"""Characters of one value in a line."""
MAX_ITEMS: Final = 100
"""Items of a list in a line."""
MAX_TRACEBACK: Final = 16384
LEVELS: Final[Mapping[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_PRIORITIES: Final[Mapping[str, int]] = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""syslog(3), as sd-daemon(3) has them before a line."""
_COLOURS: Final[Mapping[str, str]] = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "31;1"}
_BARE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.,:/@[]+%")


def get_logger(name: str) -> FilteringBoundLogger:
    """Return a module's logger; `name` is the module's."""
    return cast("FilteringBoundLogger", structlog.get_logger(module=name))


class DaemonLog:
    """The log while it is on."""

    def __init__(self, writer: LineWriter, processors: list[Processor], level: str) -> None:
        self._writer = writer
        self._processors = processors
        self.set_level(level)

    @property
    def lost(self) -> int:
        """Lines that were not written because who reads them was too slow, or would not."""
        return self._writer.lost

    def set_level(self, level: str) -> None:
        """Log what is at least as serious as `level`, from now on."""
        structlog.configure(
            processors=self._processors,
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
            logger_factory=lambda *_: self._writer,
            cache_logger_on_first_use=False,  # or loggers in use would keep the level they began with
        )


@contextmanager
def daemon_log(
    level: str, log_format: str, environment: Mapping[str, str], stream: TextIO | None = None
) -> Iterator[DaemonLog]:
    """Log to `stream` (standard error) while in the context; leaving it writes what waits, for two seconds at most.

    `log_format` is "console", "json", or "auto": JSON under systemd. What libraries log through `logging` is
    logged, too, if it is at least a warning.
    """
    output = sys.stderr if stream is None else stream
    journal = _is_journal(output, environment)
    if log_format == "auto":
        log_format = "json" if journal or "INVOCATION_ID" in environment else "console"
    render: Processor
    if log_format == "json":
        render = _JSON(priority=journal)
    else:
        render = _Console(colours=output.isatty() and not environment.get("NO_COLOR"))
    writer = LineWriter(output.fileno(), _lost_line(render))
    handler = _FromLibraries(logging.WARNING)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield DaemonLog(writer, [_add_exception, render], level)
    finally:
        root.removeHandler(handler)
        structlog.reset_defaults()
        writer.close(2.0)


@contextmanager
def no_log() -> Iterator[None]:
    """Log next to nothing while in the context: for commands that use parts of the daemon, and say all themselves."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(LEVELS["critical"]))
    try:
        yield
    finally:
        structlog.reset_defaults()


def _is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Return whether `stream` goes to the journal, systemd.exec(5) on $JOURNAL_STREAM."""
    status = os.fstat(stream.fileno())
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _lost_line(render: Processor) -> Any:
    """Return what makes the line that says how many lines were lost."""

    def make(count: int) -> bytes:
        event: EventDict = {"event": "log lines lost: they came faster than they were read", "count": count}
        return cast("bytes", render(None, "warning", event))

    return make


def _add_exception(_: Any, __: str, event: EventDict) -> EventDict:
    """Replace `exc_info`, as `log.exception` gives it, by the traceback's text."""
    given = event.pop("exc_info", None)
    error: BaseException | None = None
    if isinstance(given, BaseException):
        error = given
    elif isinstance(given, tuple):
        error = cast("tuple[type[BaseException], BaseException, TracebackType]", given)[1]
    elif given:
        error = sys.exc_info()[1]
    if error is not None:
        event["exception"] = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]
    return event


class _JSON:
    """Renders an event as a line of JSON, after its priority where the journal reads."""

    def __init__(self, *, priority: bool) -> None:
        self._priority = priority

    def __call__(self, _: Any, level: str, event: EventDict) -> bytes:
        fields = {"time": _utc(time.time()), "level": level, "event": _shorten(str(event.pop("event", "")))}
        exception = event.pop("exception", None)
        for key, value in event.items():
            fields[key] = _as_json(value)
        if exception is not None:
            fields["exception"] = exception
        line = json.dumps(fields, skipkeys=True)
        return (f"<{_PRIORITIES[level]}>{line}\n" if self._priority else f"{line}\n").encode()


class _Console:
    """Renders an event as a line for people: time, level, what happened, and its values."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _: Any, level: str, event: EventDict) -> bytes:
        shown = f"{level:<8}"
        if self._colours:
            shown = f"\x1b[{_COLOURS[level]}m{shown}\x1b[0m"
        words = [time.strftime("%H:%M:%S"), shown, _escape(_shorten(str(event.pop("event", ""))))]
        exception = event.pop("exception", None)
        event.pop("module", None)
        words += [f"{_escape(str(key))}={_value(value)}" for key, value in event.items()]
        lines = [" ".join(words)]
        if exception is not None:
            lines += ["    " + _escape(line) for line in exception.splitlines()]
        return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


def _utc(at: float) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{int(at % 1 * 1000):03d}Z"


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}… ({len(text)} characters)"


def _escape(text: str) -> str:
    """Return `text` with whatever does not print, line ends and terminal controls among it, as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _as_json(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value[:MAX_ITEMS]]
    return _shorten(str(value))


def _value(value: Any) -> str:
    if isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, list | tuple):
        text = _shorten(",".join(map(str, value[:MAX_ITEMS])))
    else:
        text = _shorten(str(value))
    if text and _BARE.issuperset(text):
        return text
    return _escape('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')


class _FromLibraries(logging.Handler):
    """Takes what libraries log with the standard library's logging."""

    def emit(self, record: logging.LogRecord) -> None:
        level = min((number for number in LEVELS.values() if number >= record.levelno), default=50)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # arguments that do not fit the message
            message = str(record.msg)
        get_logger(record.name).log(level, message, exc_info=record.exc_info)
