"""The daemon's log: what a line looks like, and that nothing in it can pretend to be another."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnd.log import MAX_VALUE, DaemonLog, daemon_log, get_logger

log = get_logger("fnd.test")


class Output:
    """A log and, once it is off, its lines."""

    def __init__(self, log: DaemonLog, file: IO[str]) -> None:
        self.log = log
        self._file = file

    @property
    def text(self) -> str:
        self._file.seek(0)
        return self._file.read()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@contextmanager
def logging_to(
    path: Path, level: str = "info", log_format: str = "console", environment: Mapping[str, str] | None = None
) -> Iterator[Output]:
    with path.open("w+", newline="") as file:
        with daemon_log(level, log_format, environment or {}, file) as daemon:
            output = Output(daemon, file)
            yield output
        output.text  # noqa: B018
        path.write_text(output.text)


def console_lines(path: Path, event: str, **values: object) -> list[str]:
    with logging_to(path):
        log.info(event, **values)
    return path.read_text().split("\n")


def test_a_console_line_has_time_level_event_and_values(path: Path) -> None:
    line, end = console_lines(path, "pool full", fn="f1", waiting=3, share=0.25, names=("a", "b"), where=Path("/a b"))
    time, rest = line.split(" ", 1)
    assert len(time) == len("12:34:56")
    assert rest == 'info     pool full fn=f1 waiting=3 share=0.25 names=a,b where="/a b"'
    assert end == ""


@given(event=st.text(), value=st.text())
def test_no_event_or_value_can_begin_a_line_or_move_the_cursor(
    tmp_path_factory: pytest.TempPathFactory, event: str, value: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.log"
    lines = console_lines(path, event, value=value)
    assert len(lines) == 2
    assert lines[0].isprintable()


def test_a_quoted_value_cannot_end_its_quotes(path: Path) -> None:
    line = console_lines(path, "x", value='a" level="b\\')[0]
    assert line.endswith(r'value="a\" level=\"b\\"')


def test_a_traceback_is_indented_so_that_its_message_cannot_pretend_to_be_a_line(path: Path) -> None:
    with logging_to(path):
        try:
            raise ValueError("bad\n12:00:00 info     all is well\x1b[2J")
        except ValueError:
            log.exception("failed")
    first, *rest = path.read_text().splitlines()
    assert first.endswith("error    failed")
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    assert rest[-1] == r"    12:00:00 info     all is well\x1b[2J"


def test_json_has_one_object_a_line_with_its_exception(path: Path) -> None:
    with logging_to(path, log_format="json"):
        log.info("hello\nthere", number=1, share=0.5, nothing=None, path=Path("/a"), names=("a", Path("b")))
        log.error("failed", exc_info=ValueError("why"))
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info",
        "event": "hello\nthere",
        "module": "fnd.test",
        "number": 1,
        "share": 0.5,
        "nothing": None,
        "path": "/a",
        "names": ["a", "b"],
    }
    assert second["exception"].endswith("ValueError: why\n")


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_long_value_is_cut(path: Path, log_format: str) -> None:
    with logging_to(path, log_format=log_format):
        log.info("x" * 100_000, value="y" * 100_000)
    text = path.read_text()
    assert len(text) < 2 * MAX_VALUE + 200
    assert "(100000 characters)" in text


def test_the_level_holds_and_can_be_changed_for_loggers_in_use(path: Path) -> None:
    with logging_to(path, level="warning") as output:
        log.info("one")
        log.warning("two")
        output.log.set_level("debug")
        log.debug("three")
    assert [line.split()[2] for line in path.read_text().splitlines()] == ["two", "three"]


def test_auto_is_json_under_systemd_and_console_elsewhere(path: Path) -> None:
    with logging_to(path, log_format="auto", environment={"INVOCATION_ID": "x"}):
        log.info("hello")
    assert json.loads(path.read_text())["event"] == "hello"
    with logging_to(path, log_format="auto"):
        log.info("hello")
    assert path.read_text().endswith("info     hello\n")


def test_the_journal_gets_each_line_with_its_priority(path: Path) -> None:
    path.touch()
    status = path.stat()
    environment = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    with logging_to(path, log_format="auto", environment=environment):
        log.info("a")
        log.error("b")
    assert [line[:4] for line in path.read_text().splitlines()] == ["<6>{", "<3>{"]


def test_a_terminal_gets_colours_unless_it_wants_none() -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        with daemon_log("info", "console", {}, terminal):
            log.warning("hello")
        with daemon_log("info", "console", {"NO_COLOR": "1"}, terminal):
            log.warning("hello")
        shown = b""
        while shown.count(b"\n") < 2:
            shown += os.read(ours, 10_000)
    os.close(ours)
    first, second = shown.splitlines()
    assert b"\x1b[33mwarning \x1b[0m hello" in first
    assert b"\x1b" not in second


def test_libraries_warnings_are_logged(path: Path) -> None:
    with logging_to(path):
        library = logging.getLogger("library")
        library.warning("%s is %s", "this", "odd")
        ill = logging.LogRecord("library", logging.WARNING, "x.py", 1, "too few %s %s", ("arguments",), None)
        logging.getLogger().handlers[-1].handle(ill)  # ours alone: other handlers raise
        library.info("chatter")
        library.log(35, "between two levels")
    assert [line.split(None, 2)[1:] for line in path.read_text().splitlines()] == [
        ["warning", "this is odd"],
        ["warning", "too few %s %s"],
        ["error", "between two levels"],
    ]


def test_lines_that_are_lost_are_counted(path: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, daemon_log("info", "json", {}, stream) as daemon:
        for _ in range(2000):
            log.info("x", value="y" * 2000)
        assert daemon.lost > 0
        os.close(reader)


def test_it_costs_no_rich() -> None:
    code = "import fnd.log, sys; print('rich' in sys.modules); import rich.table"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
