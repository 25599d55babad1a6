"""Cancel something at every place where it can be: at its first step, its second, and so on until it gets through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio


class _AtStep(trio.abc.Instrument):
    def __init__(self, step: int, act: Callable[[], None], watched: Callable[[trio.lowlevel.Task], bool]) -> None:
        self._left = step
        self._act = act
        self._watched = watched

    @property
    def done(self) -> bool:
        """Whether there was such a step."""
        return self._left <= 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._left > 0 and self._watched(task):
            self._left -= 1
            if self._left == 0:
                self._act()


def _all_tasks(_: trio.lowlevel.Task) -> bool:
    return True


@asynccontextmanager
async def at_step(
    step: int, act: Callable[[], None], watched: Callable[[trio.lowlevel.Task], bool] = _all_tasks
) -> AsyncIterator[Callable[[], bool]]:
    """Call `act` after the `step`-th step, from now on, of the watched tasks; give whether that step has come."""
    instrument = _AtStep(step, act, watched)
    trio.lowlevel.add_instrument(instrument)
    try:
        yield lambda: instrument.done
    finally:
        trio.lowlevel.remove_instrument(instrument)


async def cancelled_at_every_step(scenario: Callable[[], Awaitable[None]], *, at_least: int) -> None:
    """Run `scenario` again and again, cancelled one step later each time, until it completes.

    `at_least` is how many steps it must have for the test to mean anything.
    """
    for step in range(1, 10_000):
        with trio.CancelScope() as scope:
            async with at_step(step, scope.cancel) as came:
                await scenario()
        if not came():
            assert step > at_least
            return
    raise AssertionError("the scenario does not end")


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Check that as many file descriptors are open at the end as at the beginning."""
    before = _open_descriptors()
    yield
    assert _open_descriptors() == before


def _open_descriptors() -> dict[str, str]:
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except FileNotFoundError:
            continue  # the one that listed them
    return found
