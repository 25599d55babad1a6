"""Cancel something at every place where it can be: at its first step, its second, and so on until it gets through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import count

import trio

_ENDLESS = 10_000
"""Steps after which a scenario counts as one that does not end."""


_Watched = Callable[[trio.lowlevel.Task], bool]


class _AtStep(trio.abc.Instrument):
    def __init__(self, step: int | None, act: Callable[[], None], watched: _Watched) -> None:
        self.steps = 0
        self._step = step
        self._act = act
        self._watched = watched

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._watched(task):
            self.steps += 1
            if self.steps == self._step:
                self._act()


def _all_tasks(_: trio.lowlevel.Task) -> bool:
    return True


def _nothing() -> None:
    return


@asynccontextmanager
async def _instrumented(instrument: _AtStep) -> AsyncIterator[_AtStep]:
    trio.lowlevel.add_instrument(instrument)
    try:
        yield instrument
    finally:
        trio.lowlevel.remove_instrument(instrument)


@asynccontextmanager
async def at_step(
    step: int, act: Callable[[], None], watched: _Watched = _all_tasks
) -> AsyncIterator[Callable[[], bool]]:
    """Call `act` after the `step`-th step, from now on, of the watched tasks; give whether that step has come."""
    async with _instrumented(_AtStep(step, act, watched)) as instrument:
        yield lambda: instrument.steps >= step


async def cancelled_at_every_step(
    scenario: Callable[[], Awaitable[None]], *, at_least: int, at_most: int | None = None
) -> None:
    """Run `scenario` again and again, cancelled one step later each time, until it completes.

    `at_least` is how many steps it must have for the test to mean anything. A scenario that takes long and has very
    many steps can be cancelled `at_most` so many times, at steps spread evenly over it.
    """
    steps: Iterable[int] = count(1)
    if at_most is not None:
        steps = _spread(await _steps_of(scenario), at_most)
    step = 0
    for step in steps:
        assert step < _ENDLESS, "the scenario does not end"
        if not await cancelled_at(step, scenario):
            break
    assert step > at_least, f"the scenario had {step} steps, which are too few to tell anything"


async def cancelled_at(step: int, scenario: Callable[[], Awaitable[None]]) -> bool:
    """Run the scenario and cancel it at this step; return whether it had one."""
    with trio.CancelScope() as scope:
        async with at_step(step, scope.cancel) as came:
            await scenario()
    return came()


async def _steps_of(scenario: Callable[[], Awaitable[None]]) -> int:
    async with _instrumented(_AtStep(None, _nothing, _all_tasks)) as counted:
        await scenario()
    return counted.steps


def _spread(steps: int, at_most: int) -> Iterable[int]:
    """Return at most so many of the steps from the first to the one after the last, both among them."""
    runs = min(at_most, steps + 1)
    return sorted({1 + round(number * steps / max(1, runs - 1)) for number in range(runs)})
