"""A command's own daemon is told apart from a bad one, and nothing of either is left. Scripts play the daemon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fnd.cli import own_daemon
from fnd.cli.exits import CommandError
from fnd.cli.own_daemon import OwnDaemon

READY = """
import os, signal, socket
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"STATUS=x\\nREADY=1", os.environ["NOTIFY_SOCKET"])
"""
GOOD = READY + "signal.sigwait({signal.SIGTERM})"
LEAVES_A_PROCESS = READY + "os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '600')\nsignal.sigwait({signal.SIGTERM})"
LEAVES_A_FILE = (
    READY + "import sys\nos.mkdir(sys.argv[-1])\nopen(sys.argv[-1] + '/left', 'w')\nsignal.sigwait({signal.SIGTERM})"
)
STUBBORN = READY + "signal.pause()"
FAILS_TO_START = "import sys; sys.exit('no store')"
FAILS_TO_STOP = READY + "signal.sigwait({signal.SIGTERM}); raise SystemExit('half way')"

Played = Callable[[str], OwnDaemon]


def children() -> set[int]:
    """Return this process's children, ended ones that nobody minded included."""
    return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Played]:
    """Return a daemon whose part a Python script plays; after the test, nothing of it may be there."""
    python = sys.executable
    started: list[OwnDaemon] = []
    before = children()

    def played(script: str) -> OwnDaemon:
        (tmp_path / "script.py").write_text(script)
        program = tmp_path / "python"
        program.write_text(f'#!/bin/sh\nexec {python} -W ignore {tmp_path}/script.py "$@"\n')
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        started.append(OwnDaemon())
        return started[-1]

    yield played
    for own in started:
        assert not own.directory.exists()
    assert children() <= before


def test_a_good_daemon_starts_stops_and_leaves_nothing(played: Played) -> None:
    with played(GOOD) as own:
        own.start()
        own.stop()
        assert own.remains() == []


def test_it_is_told_where_its_things_are_and_nothing_of_our_surroundings(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FND_MEMORY", "LISTEN_FDS", "WATCHDOG_USEC", "STATE_DIRECTORY", "JOURNAL_STREAM"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("PIP_INDEX_URL", "https://packages.example/simple")
    told = "import json, sys\nprint(json.dumps([sys.argv[1:], dict(os.environ)]), flush=True)\n"
    with played(READY.replace("\nsocket.", "\n" + told + "socket.") + "signal.sigwait({signal.SIGTERM})") as own:
        own.start()
        arguments, environment = json.loads(own.log.read_text())
    assert arguments[:3] == ["-m", "fnd", "serve"]
    assert str(own.directory / "data") in arguments
    assert arguments[arguments.index("--listen") + 1] == "127.0.0.1:0"
    assert not environment.keys() & {"FND_MEMORY", "LISTEN_FDS", "WATCHDOG_USEC", "STATE_DIRECTORY", "JOURNAL_STREAM"}
    assert environment["PIP_INDEX_URL"] == "https://packages.example/simple"


def test_one_that_ends_at_its_start_is_told_with_the_end_of_its_log(played: Played) -> None:
    with played(FAILS_TO_START) as own, pytest.raises(CommandError, match=r"ended with 1 at its start(.|\n)*no store"):
        own.start()


def test_one_that_is_never_ready_is_not_waited_for_for_ever(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_daemon, "START_LIMIT", 0.3)
    with played("import signal; signal.pause()") as own, pytest.raises(CommandError, match="not ready within"):
        own.start()


def test_one_that_ends_badly_is_told(played: Played) -> None:
    with played(FAILS_TO_STOP) as own:
        own.start()
        with pytest.raises(CommandError, match=r"ended with 1(.|\n)*half way"):
            own.stop()


def test_one_that_does_not_stop_is_told_and_killed(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_daemon, "STOP_LIMIT", 0.3)
    with played(STUBBORN) as own:
        own.start()
        with pytest.raises(CommandError, match="not stopped within"):
            own.stop()


def test_a_process_left_behind_is_found_and_ended(played: Played) -> None:
    with played(LEAVES_A_PROCESS) as own:
        own.start()
        own.stop()
        (remains,) = own.remains()
        assert remains.startswith("process ")
        assert remains.endswith("(sleep)")


def test_our_other_children_are_left_alone(played: Played) -> None:
    with subprocess.Popen(["sleep", "600"]) as ours:
        with played(GOOD) as own:
            own.start()
            own.stop()
            assert own.remains() == []
        assert ours.poll() is None
        ours.kill()


def test_a_file_left_behind_is_found(played: Played) -> None:
    with played(LEAVES_A_FILE) as own:
        own.start()
        own.stop()
        assert own.remains() == [str(own.directory / "run" / "left")]


def test_what_is_read_only_goes_too(played: Played) -> None:
    with played(GOOD) as own:
        image = own.directory / "data" / "image"
        image.mkdir(parents=True)
        (image / "file").touch()
        image.chmod(0o555)
        if os.geteuid() == 0:  # whom no mode stops
            os.chown(own.directory, 65534, 65534)
            for path in own.directory.rglob("*"):
                os.chown(path, 65534, 65534)
            os.seteuid(65534)
    try:
        assert not own.directory.exists()
    finally:
        os.seteuid(os.getuid())


def test_leaving_early_stops_it(played: Played) -> None:
    own = played(GOOD)
    with pytest.raises(KeyboardInterrupt), own:
        own.start()
        raise KeyboardInterrupt


def test_ctrl_c_while_it_stops_kills_it(played: Played) -> None:
    own = played(STUBBORN)
    with own:
        own.start()
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.signal(signal.SIGALRM, previous)
