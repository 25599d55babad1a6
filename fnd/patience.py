"""Calling what others wrote, with a limit to the time that it is waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class TookTooLong(Exception):
    """It had not returned in time. Its thread goes on, for no thread can be stopped; what comes of it is dropped."""


def call_with_patience(function: Callable[[], T], seconds: float, name: str) -> T:
    """Return what `function` returns, called in a thread of its own; `name` is the thread's.

    Raises TookTooLong, or what it raised: RuntimeError if that was no Exception, such as SystemExit.
    """
    done: list[Callable[[], T]] = []

    def run() -> None:
        try:
            result = function()
        except Exception as error:
            done.append(_raiser(error))
        except BaseException as error:
            done.append(_raiser(RuntimeError(f"it raised {error!r}")))
        else:
            done.append(lambda: result)

    # A daemon thread: one that hangs must not keep the process alive.
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    thread.join(seconds)
    if not done:
        raise TookTooLong
    return done[0]()


def _raiser(error: Exception) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail
