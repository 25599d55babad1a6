"""When another container is launched: fast calls line up, slow calls spread, and what changes is followed.

Each runs under virtual time on a machine of two cores, with containers that need 0.1 s to start.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from fnd.dispatch import Limits
from fnd.simulation.virtual_shell import Behaviour, VirtualFunction, VirtualShell
from tests.unit.dispatch.conftest import Bench, add_function


def callers(
    run: Callable[[float], float], *, cpu: float = 0.0, number: int = 64, memory: int = 100_000
) -> tuple[VirtualShell, VirtualFunction]:
    """Return a shell in which `number` callers call one function, `run(now)` seconds long, again and again."""
    shell = VirtualShell(Limits(memory=memory, cores=2))
    function = add_function(shell, "fn", Behaviour(run=run, run_cpu=cpu))
    shell.callers(function, number, until=1000.0)
    return shell, function


def containers_over(shell: VirtualShell, function: VirtualFunction, seconds: float) -> list[int]:
    """Return the number of containers at ten moments of the next so many seconds."""
    counts = []
    for _ in range(10):
        shell.advance(shell.now + seconds / 10)
        counts.append(function.pool.live)
    return counts


@pytest.mark.parametrize("cpu", [0.0, 1.0, 2.0], ids=["sleeping", "on a core", "on more than a core"])
@pytest.mark.parametrize("milliseconds", [0.5, 1, 3])
def test_64_callers_of_a_fast_function_line_up_for_at_most_4_containers(milliseconds: float, cpu: float) -> None:
    shell, function = callers(lambda _: milliseconds / 1000, cpu=cpu)
    assert max(containers_over(shell, function, 8.0)) <= 4


@pytest.mark.parametrize("milliseconds", [10, 40, 90])
def test_containers_that_only_share_the_cores_are_not_launched_for_ever(milliseconds: float) -> None:
    """The more containers, the longer each run takes; waits never fall, whatever is launched."""
    shell, function = callers(lambda _: milliseconds / 1000, cpu=1.0)
    assert max(containers_over(shell, function, 60.0)) <= 4


@pytest.mark.parametrize("seed", range(5))
def test_runs_that_vary_widely_do_not_count_as_proof(seed: int) -> None:
    chance = random.Random(seed)
    shell, function = callers(lambda _: chance.expovariate(1 / 0.005), cpu=2.0)
    assert max(containers_over(shell, function, 30.0)) <= 4


def test_containers_that_did_not_help_are_stopped_again() -> None:
    shell, function = callers(lambda _: 0.005, cpu=2.0)
    counts = containers_over(shell, function, 5.0)
    assert max(counts) > 2
    assert counts[-1] == 2


def test_fast_calls_that_only_sleep_get_as_many_containers_as_bring_the_wait_below_a_start() -> None:
    shell, function = callers(lambda _: 0.05)
    shell.advance(5.0)
    before = len(function.tally.waits)
    shell.advance(10.0)
    assert max(function.tally.waits[before:]) < 0.15
    assert function.pool.live < 64


@pytest.mark.parametrize("seconds", [0.3, 1.0, 10.0])
def test_64_callers_of_a_slow_function_all_run_together(seconds: float) -> None:
    shell, function = callers(lambda _: seconds)
    shell.advance(3.0)
    assert function.pool.live == 64
    assert function.pool.line.length == 0


def test_a_line_that_never_empties_gets_a_container_though_no_call_in_it_waits_for_long() -> None:
    shell = VirtualShell(Limits(memory=100_000, cores=2))
    function = add_function(shell, "fn", Behaviour(run=lambda now: 1.0), min_warm=20)
    for number in range(20):
        shell.at(1.0 + number / 20, lambda _: shell.callers(function, 1, until=1000.0))
    # From now on one container comes free each twentieth of a second, half a start, and always one call waits for it.
    shell.at(1.98, lambda _: shell.callers(function, 1, until=1000.0))
    shell.advance(2.5)
    assert (function.pool.live, function.pool.line.length) == (20, 1)
    shell.advance(5.0)
    assert (function.pool.live, function.pool.line.length) == (21, 0)


def test_64_calls_of_a_slow_function_at_once_all_run_together() -> None:
    shell = VirtualShell(Limits(memory=100_000, cores=2))
    function = add_function(shell, "fn", Behaviour(run=lambda now: 1.0))
    for _ in range(64):
        shell.call(function)
    shell.advance(1.0)
    assert function.pool.busy == 64


def test_as_many_slow_calls_run_together_as_memory_allows() -> None:
    shell, function = callers(lambda _: 1.0, memory=10 * 128)
    shell.advance(3.0)
    assert function.pool.busy == 10


def test_a_slow_function_is_noticed_before_its_first_call_ends() -> None:
    shell, function = callers(lambda _: 1000.0, number=2)
    shell.advance(1.0)
    assert function.pool.busy == 2


def test_a_function_that_becomes_slow_is_followed_within_seconds() -> None:
    shell, function = callers(lambda now: 0.001 if now < 3.0 else 1.0)
    shell.advance(3.0)
    assert function.pool.live <= 4
    shell.advance(5.0)
    assert function.pool.busy == 64


def test_a_function_that_becomes_fast_is_followed_within_seconds() -> None:
    shell, function = callers(lambda now: 1.0 if now < 5.0 else 0.001, number=8)
    shell.advance(8.0)
    before = function.tally.launches
    for _ in range(56):
        shell.call(function)
    shell.advance(10.0)
    assert function.tally.launches == before


def test_a_new_function_launches_one_container_and_learns() -> None:
    shell, function = callers(lambda _: 0.001)
    shell.advance(0.1)
    assert function.tally.launches == 1
    shell.advance(3.0)
    assert function.tally.launches == 1


def test_a_first_call_that_is_slow_does_not_start_a_stampede() -> None:
    runs = iter([0.25])
    shell, function = callers(lambda _: next(runs, 0.001))
    shell.advance(2.0)
    assert function.tally.launches <= 8


def test_known_slow_calls_that_come_together_are_launched_for_together(bench: Bench) -> None:
    pool = bench.pool(memory=10)
    slot = bench.busy(pool, 0)
    for call in range(1, 10):
        bench.now += 1.0
        bench.dispatch.finished(slot, True, bench.now)
        assert bench.dispatch.arrive(pool, call, bench.now) is slot
    for call in range(10, 15):
        bench.dispatch.arrive(pool, call, bench.now)
    assert len(bench.launches()) == 5


def test_one_waiter_launches_a_container_only_if_runs_take_longer_than_starts(bench: Bench) -> None:
    for run, launches in ((0.05, 0), (0.5, 1)):
        pool = bench.pool(memory=10)
        slot = bench.busy(pool, "first", start=0.1)
        for _ in range(10):
            bench.now += run
            bench.dispatch.finished(slot, True, bench.now)
            bench.dispatch.arrive(pool, "again", bench.now)
        bench.dispatch.arrive(pool, object(), bench.now)
        assert len(bench.launches()) == launches


@pytest.mark.parametrize(("run", "launched_at_most"), [(0.001, 4), (0.2, 40)])
def test_a_thousand_callers_of_a_cold_function_are_answered_in_time(run: float, launched_at_most: int) -> None:
    """Each start takes a core for 0.1 s, and forty containers fit."""
    shell = VirtualShell(Limits(memory=40 * 128, cores=2))
    function = add_function(shell, "fn", Behaviour(run=lambda now: run, start_cpu=1.0))
    calls = [shell.call(function) for _ in range(1000)]
    shell.advance(60.0)
    launched = function.tally.launches
    assert launched <= launched_at_most
    assert max(call.answered or 1e9 for call in calls) <= 3 * (0.1 + 1000 * run / launched)
