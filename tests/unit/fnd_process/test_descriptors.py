"""Without a file descriptor left, what must be done waits for one; nothing is taken for gone that could not be seen."""

from __future__ import annotations

import errno
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fnd_process.descriptors import PATIENCE, patiently
from fnd_process.processes import Census, children, marked, read_entry, user_of


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Take all descriptors that this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open("/dev/null", os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 1, hard))
    try:
        while True:
            try:
                taken.append(os.dup(taken[0]))
            except OSError:
                break
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time passes by sleeping alone; how long each sleep was."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(slept))
    return slept


def test_it_is_done_again_until_there_is_one(slept: list[float]) -> None:
    attempts = [OSError(errno.EMFILE, "none"), OSError(errno.ENFILE, "none")]

    def act() -> str:
        if attempts:
            raise attempts.pop()
        return "done"

    assert patiently(act) == "done"
    assert len(slept) == 2


def test_it_is_given_up_in_the_end(slept: list[float]) -> None:
    def act() -> None:
        raise OSError(errno.EMFILE, "none")

    with pytest.raises(OSError, match="none"):
        patiently(act)
    assert sum(slept) == pytest.approx(PATIENCE, abs=0.1)


def test_other_errors_are_not_waited_for(slept: list[float]) -> None:
    def act() -> None:
        raise PermissionError

    with pytest.raises(PermissionError):
        patiently(act)
    assert not slept


def test_a_process_that_cannot_be_looked_at_is_not_taken_for_one_that_is_gone() -> None:
    own = os.getpid()
    with no_descriptor_left():
        for look in (read_entry, user_of, marked, children):
            with pytest.raises(OSError, match="Too many open files"):
                look(own)
        with pytest.raises(OSError, match="Too many open files"):
            Census().of_user(os.getuid())
    assert read_entry(own) is not None


def test_a_process_that_is_gone_is_none(tmp_path: Path) -> None:
    gone = 1 << 22  # more than any process id
    assert read_entry(gone) is None
    assert user_of(gone) is None
    assert marked(gone) is None
    assert children(gone) == []
