"""Calling what may never return."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import pytest

from fnd.patience import TookTooLong, call_with_patience


def test_what_it_returns_is_returned() -> None:
    assert call_with_patience(lambda: 5, 10, "five") == 5


def test_it_runs_in_a_thread_of_its_own_that_keeps_no_process_alive() -> None:
    thread = call_with_patience(threading.current_thread, 10, "apart")
    assert (thread.name, thread.daemon) == ("apart", True)


@pytest.mark.parametrize(
    ("function", "raised"), [(lambda: 1 // 0, ZeroDivisionError), (lambda: sys.exit(3), RuntimeError)]
)
def test_what_it_raises_is_raised_and_nothing_worse(function: Callable[[], object], raised: type[Exception]) -> None:
    with pytest.raises(raised):
        call_with_patience(function, 10, "raises")


def test_it_is_given_up_when_it_does_not_return() -> None:
    let_go = threading.Event()
    with pytest.raises(TookTooLong):
        call_with_patience(let_go.wait, 0.01, "hangs")
    let_go.set()
