"""Whatever arrives, every call is answered or rejected once, and memory agrees with its integral."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnd.dispatch import Limits, PoolSettings
from fnd.simulation.virtual_shell import Behaviour, VirtualCall, VirtualFunction, VirtualShell

pools = st.builds(
    lambda hot, concurrency, **settings: PoolSettings(hot=hot, concurrency=concurrency if hot else 1, **settings),
    memory=st.sampled_from([50, 100, 250]),
    idle_timeout=st.sampled_from([0.1, 1.0, 10.0]),
    hot=st.booleans(),
    min_warm=st.sampled_from([0, 0, 1]),
    max_containers=st.sampled_from([None, None, 1, 3]),
    concurrency=st.sampled_from([1, 1, 2, 4]),
)
durations = st.sampled_from([0.001, 0.05, 0.5, 3.0])
behaviours = st.builds(
    lambda start, stop, cpu, start_cpu: Behaviour(
        start=lambda now: start, stop=lambda now: stop, run_cpu=cpu, start_cpu=start_cpu
    ),
    durations,
    durations,
    st.sampled_from([0.0, 1.0]),
    st.sampled_from([0.0, 1.0]),
)
functions = st.lists(st.tuples(pools, behaviours), min_size=1, max_size=4)
arrivals = st.lists(st.tuples(st.sampled_from([0.0, 0.0, 0.01, 0.3, 5.0]), st.integers(0, 3), durations), max_size=80)


class Accountant(VirtualShell):
    """Adds up what is reserved, from one step to the next."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.integral = 0.0

    def _step(self, until: float) -> bool:
        before, reserved = self.now, self.dispatch.capacity.memory.reserved
        more = super()._step(until)
        self.integral += reserved * (self.now - before)
        return more


@given(functions, arrivals, st.sampled_from([2, 1000]), st.integers(1, 4))
def test_every_call_is_over_once_and_memory_is_what_was_reserved(
    chosen: list[tuple[PoolSettings, Behaviour]], coming: list[tuple[float, int, float]], max_waiting: int, cores: int
) -> None:
    shell = Accountant(Limits(memory=300, cores=cores, max_waiting=max_waiting))
    made = [shell.function(f"fn {number}", how, settings) for number, (settings, how) in enumerate(chosen)]
    over: list[VirtualCall] = []

    def arrive(subject: tuple[VirtualFunction, float]) -> None:
        shell.call(*subject, over.append)

    now = 0.0
    for pause, number, run in coming:
        now += pause
        shell.at(now, arrive, (made[number % len(made)], run))
    shell.advance(now)
    shell.finish()
    assert len(over) == len(set(over)) == len(coming) == sum(function.tally.arrived for function in made)
    for call in over:
        assert (call.answered is None) != (call.rejected is None)
    assert shell.waiting.value == 0
    for function in made:
        tally = function.tally
        assert tally.arrived == tally.answered + tally.rejected.total()
        assert tally.cold_starts <= len(tally.waits) <= tally.answered
        assert tally.launches == tally.containers + tally.expired + tally.evicted + tally.ended - _stopping(function)
    spent = sum(function.pool.memory * function.tally.reserved_seconds for function in made)
    assert spent == pytest.approx(shell.integral)


def _stopping(function: VirtualFunction) -> int:
    """Return how many containers have been counted as stopped but reserve memory still."""
    return sum(slot.state.value == "stopping" for slot in function.pool.slots)
