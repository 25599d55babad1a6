"""Makes a test of an asynchronous method: on trio by itself, in time, and with nothing left."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import trio

from fnd.testing.leavings import no_child_left, no_descriptor_left


class Suite(Protocol):
    """A class of tests."""

    @property
    def time_limit(self) -> float:
        """Seconds that one test may take, less what is shielded."""


_Suite = TypeVar("_Suite", bound=Suite)


def on_trio(test: Callable[[_Suite], Awaitable[None]], need: Callable[[_Suite], None]) -> Callable[[_Suite], None]:
    """Return the test; `need` is called before it, and skips it if something is missing."""

    async def hold(suite: _Suite) -> None:
        with no_descriptor_left(), no_child_left(), trio.fail_after(suite.time_limit):
            await test(suite)

    @functools.wraps(test)
    def run(self: _Suite) -> None:
        need(self)
        trio.run(hold, self)

    # What is asked for is what `run` takes, and no fixture that is called as a parameter of the method is.
    run.__signature__ = inspect.signature(run, follow_wrapped=False)  # type: ignore[attr-defined]
    return run
