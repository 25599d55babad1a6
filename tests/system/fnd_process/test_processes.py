"""What /proc says of processes, however they try to confuse it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fnd_process.processes import (
    MARKER,
    Census,
    catch,
    children,
    descendants,
    freeze,
    kill_all,
    marked,
    newest_pid,
    pause,
    read_entry,
    send,
    stands_still,
    user_of,
    wait_for_exits,
)

pytestmark = pytest.mark.system
GONE = 1 << 22
"""A process id that no process has: Linux's own are below."""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start Python programs, which are read from until they say something; whatever they are is ended."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *, mark: str = "", executable: str = sys.executable) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [executable, "-u", "-c", program],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **({MARKER: mark} if mark else {})},
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_name_that_looks_like_the_rest_of_the_line_is_only_a_name(tmp_path: Path) -> None:
    program = tmp_path / ") Z 1 1 1 ("
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "1000"]) as process:
        entry = read_entry(process.pid)
        assert entry is not None
        assert entry.parent == os.getpid()
        assert entry.session == os.getsid(0)
        assert entry.alive
        process.kill()


def test_what_is_gone_is_nobodys() -> None:
    assert read_entry(GONE) is None
    assert marked(GONE) is None
    assert user_of(GONE) is None
    assert children(GONE) == descendants(GONE) == []
    send(GONE, signal.SIGKILL)


def test_a_child_is_found_whichever_thread_forked_it(start: Start) -> None:
    process = start(
        "import subprocess, threading, time\n"
        "def fork():\n"
        "    subprocess.Popen(['sleep', '1000'])\n"
        "    print('forked')\n"
        "    time.sleep(1000)\n"
        "threading.Thread(target=fork).start()\n"
    )
    (child,) = children(process.pid)
    assert descendants(process.pid) == [child]
    os.kill(child, signal.SIGKILL)


LEAVES = (
    "import os, signal\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        print('ready')\n"
    "        signal.pause()\n"
    "    os._exit(0)\n"
    "signal.pause()\n"
)


def test_one_that_left_its_session_and_its_parent_is_found_by_its_mark(start: Start) -> None:
    process = start(LEAVES, mark="CONTAINER")
    census = Census()
    marked_ones = census.of_mark("CONTAINER")
    assert len(marked_ones) == 2
    assert set(census.of_session(process.pid, "CONTAINER")) == set(marked_ones)
    assert census.of_session(process.pid, "ANOTHER") == [process.pid]
    assert kill_marked("CONTAINER")
    assert Census().of_mark("CONTAINER") == []


CHAIN = (
    "import os, signal\n"
    "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    "print('ready')\n"
    "while True:\n"
    "    if os.fork():\n"
    "        os._exit(0)\n"
    "    os.setsid()\n"
)


def test_one_that_is_replaced_by_its_child_all_the_time_is_caught_among_the_newest(start: Start) -> None:
    since = newest_pid()
    start(CHAIN, mark="CHAIN")
    caught = catch(lambda pid: marked(pid) == "CHAIN", since, time.monotonic() + 10)
    # Stopped as it is, it stays to be found.
    assert set(Census().of_mark("CHAIN")) <= set(caught)
    assert caught
    assert kill_marked("CHAIN")
    assert catch(lambda pid: marked(pid) == "CHAIN", since, time.monotonic() + 10) == []


def kill_marked(mark: str) -> bool:
    return kill_all(lambda: Census().of_mark(mark), lambda pid: marked(pid) == mark, time.monotonic() + 10)


def test_processes_of_a_user_are_found(start: Start) -> None:
    process = start("import signal; print('ready'); signal.pause()")
    assert process.pid in Census().of_user(os.getuid())
    assert user_of(process.pid) == os.getuid()


def test_a_zombie_is_not_alive(start: Start) -> None:
    process = start("print('ready')", mark="CONTAINER")
    pidfd = os.pidfd_open(process.pid)
    try:
        assert wait_for_exits([pidfd], time.monotonic() + 10)
    finally:
        os.close(pidfd)
    entry = read_entry(process.pid)
    assert entry is not None
    assert not entry.alive
    assert Census().of_session(process.pid, "CONTAINER") == []


def test_what_does_not_end_is_waited_for_no_longer_than_said(start: Start) -> None:
    process = start("import signal; print('ready'); signal.pause()")
    pidfd = os.pidfd_open(process.pid)
    try:
        assert not wait_for_exits([pidfd], time.monotonic())
    finally:
        os.close(pidfd)


def test_all_that_is_found_is_stopped_until_nothing_new_is(start: Start) -> None:
    process = start(LEAVES, mark="CONTAINER")
    stopped = freeze(lambda: Census().of_mark("CONTAINER"), time.monotonic() + 10)
    assert set(stopped) == set(Census().of_mark("CONTAINER"))
    assert process.pid in stopped
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    assert kill_marked("CONTAINER")


COMPUTES = """
import threading
def compute():
    while True: pass
for _ in range(8):
    threading.Thread(target=compute).start()
print("ready")
"""


def test_what_is_paused_stands_still_with_all_its_threads(start: Start) -> None:
    process = start(COMPUTES)
    assert not stands_still(process.pid)
    for _ in range(20):
        assert pause(lambda: [process.pid], time.monotonic() + 10) == [process.pid]
        assert stands_still(process.pid)
        process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()
    assert stands_still(process.pid)
