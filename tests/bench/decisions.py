"""What deciding costs a call in the pure core: flat in known functions and in waiting calls."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Final

import attrs

from fnd.dispatch import Dispatch, Limits, Pool, PoolSettings, Slot
from tests.bench.figures import Figure, at_most, median
from tests.bench.stage import Stage

MOST_GROWTH: Final = at_most(1.3)
MOST_COST: Final = at_most(20.0)
_FEW_FUNCTIONS: Final = 10
_MANY_FUNCTIONS: Final = 100_000
_FEW_WAITERS: Final = 1
_MANY_WAITERS: Final = 10_000
_CALLS: Final = 2_000
_AT_ONCE: Final = 1_000
"""Calls that a container serves, where it serves several."""
_REPEATS: Final = 15
_SETTINGS: Final = PoolSettings(memory=1, idle_timeout=30.0)
_RUN_SECONDS: Final = 0.001


class Core:
    """A dispatcher in which `functions` are known, driven as the trio shell drives it."""

    def __init__(self, functions: int, concurrency: int = 1) -> None:
        limits = Limits(memory=1 << 30, cores=2, max_pools=functions + 1, max_waiting=2 * _MANY_WAITERS)
        self.dispatch = Dispatch(limits)
        self.now = 0.0
        self._call = 0
        for number in range(functions):
            self.dispatch.pool(number, attrs.evolve(_SETTINGS, concurrency=concurrency))

    def next_call(self) -> int:
        """Return a call that never was before."""
        self._call += 1
        return self._call

    def launched(self, pool: Pool) -> Slot:
        """Have one container of `pool` launched by a call, and return it idle."""
        call = self.next_call()
        self.dispatch.arrive(pool, call, self.now)
        self.dispatch.actions.clear()
        (slot,) = pool.slots
        self.now += _RUN_SECONDS
        self.dispatch.ready(slot, self.now)
        self.now += _RUN_SECONDS
        self.dispatch.finished(slot, True, self.now, call)
        self.dispatch.actions.clear()
        return slot


def idle_step(core: Core) -> Callable[[], None]:
    """Return a call that finds an idle container and gives it back, each time of another function of ten."""
    dispatch = core.dispatch
    keys = list(dispatch.pools)
    pools = [dispatch.pools[key] for key in keys[:: len(keys) // 10]]
    for pool in pools:
        core.launched(pool)
    turn = 0

    def step() -> None:
        nonlocal turn
        pool = pools[turn]
        turn = (turn + 1) % len(pools)
        slot = dispatch.arrive(pool, core.next_call(), core.now)
        assert slot is not None
        core.now += _RUN_SECONDS
        dispatch.finished(slot, reusable=True, now=core.now)

    return step


def waiting_step(core: Core, waiters: int) -> Callable[[], None]:
    """Return a call that lines up behind `waiters` others of its function, and a container that takes the first."""
    dispatch = core.dispatch
    pool = dispatch.pools[0]
    slot = core.launched(pool)
    for _ in range(waiters + 1):
        dispatch.arrive(pool, core.next_call(), core.now)
        dispatch.actions.clear()

    def step() -> None:
        dispatch.arrive(pool, core.next_call(), core.now)
        core.now += _RUN_SECONDS
        dispatch.finished(slot, reusable=True, now=core.now)
        dispatch.actions.clear()

    return step


def shared_step(core: Core, running: int, waiters: int) -> Callable[[], None]:
    """Return a call to a container that runs `running` others, and one of them that is over; `waiters` wait."""
    dispatch = core.dispatch
    pool = dispatch.pools[0]
    slot = core.launched(pool)
    for _ in range(running + waiters):
        dispatch.arrive(pool, core.next_call(), core.now)
        dispatch.actions.clear()

    def step() -> None:
        dispatch.arrive(pool, core.next_call(), core.now)
        core.now += _RUN_SECONDS
        dispatch.finished(slot, True, core.now, next(iter(slot.running)))
        dispatch.actions.clear()

    return step


def microseconds_each(steps: list[Callable[[], None]]) -> list[float]:
    """Return what one call of each step costs: the least of several alternating repeats, interruptions left out."""
    least = [float("inf")] * len(steps)
    gc.collect()
    gc.freeze()
    for _ in range(_REPEATS):
        for index, step in enumerate(steps):
            started = time.perf_counter()
            for _ in range(_CALLS):
                step()
            least[index] = min(least[index], (time.perf_counter() - started) / _CALLS * 1e6)
    gc.unfreeze()
    return least


def measure(stage: Stage) -> list[Figure]:
    """Return the figures."""
    stage.say("dispatch decisions")
    few, many = Core(_FEW_FUNCTIONS), Core(_MANY_FUNCTIONS)
    short, long = Core(_FEW_FUNCTIONS), Core(_FEW_FUNCTIONS)
    steps = [idle_step(few), idle_step(many), waiting_step(short, _FEW_WAITERS), waiting_step(long, _MANY_WAITERS)]
    few_calls, many_calls = Core(_FEW_FUNCTIONS, 2), Core(_FEW_FUNCTIONS, _AT_ONCE)
    full = Core(_FEW_FUNCTIONS, _AT_ONCE)
    steps += [shared_step(few_calls, 1, 0), shared_step(many_calls, _AT_ONCE - 1, 0), shared_step(full, _AT_ONCE, 100)]
    costs = microseconds_each(steps)
    return [
        _growth(f"a decision at {_MANY_FUNCTIONS:,} known functions over one at {_FEW_FUNCTIONS}", *costs[:2]),
        _growth(f"a decision at {_MANY_WAITERS:,} waiting calls over one at {_FEW_WAITERS}", *costs[2:4]),
        _growth(f"a decision at {_AT_ONCE:,} calls at once in a container over one at 2", *costs[4:6]),
        Figure(
            name="dispatch decisions of one call",
            value=max(costs),
            unit="µs",
            target=MOST_COST,
            detail=f"the dearest of the seven; median {median(costs):.1f} µs",
        ),
    ]


def _growth(name: str, small: float, large: float) -> Figure:
    return Figure(
        name=name, value=large / small, unit="×", target=MOST_GROWTH, detail=f"{small:.2f} µs and {large:.2f} µs"
    )
