"""What a simulation finds is what can be worked out by hand."""

from __future__ import annotations

import itertools

import pytest

from fnd.simulation.replay import replay
from fnd.simulation.report import report_policy
from tests.unit.simulation.conftest import Run, scenario_of

ALONE = "run = 0.25\nstart = 0.5\nstop = 0.125\nmemory = 100\n"
"""Numbers that floats hold exactly."""


def test_calls_further_apart_than_the_idle_timeout_are_all_cold(run: Run) -> None:
    total = run(f"{ALONE}idle_timeout = 2\narrivals = {{ kind = 'steady', interval = 10 }}").total
    assert (total.calls, total.answered, total.cold_starts, total.launches, total.expired) == (10, 10, 10, 10, 10)
    assert total.wait.p50 == total.wait.max == total.wait.mean == 0.5
    assert total.containers_peak == 1
    assert total.waited_for == {"herd gate": 10}
    assert total.memory_seconds == 10 * 100 * (0.5 + 0.25 + 2 + 0.125)
    assert total.idle_memory_seconds == 10 * 100 * 2


def test_calls_closer_together_than_the_idle_timeout_are_cold_once(run: Run) -> None:
    total = run(f"{ALONE}idle_timeout = 20\narrivals = {{ kind = 'steady', interval = 10 }}").total
    assert (total.answered, total.cold_starts, total.waited, total.expired) == (10, 1, 1, 0)
    assert total.cold_share == 0.1
    assert total.memory_seconds == 100 * 100, "from the first call to the end"
    assert total.idle_memory_seconds == 100 * (100 - 0.5 - 10 * 0.25)


def test_a_container_that_is_kept_warm_leaves_no_call_cold(run: Run) -> None:
    total = run(
        f"{ALONE}idle_timeout = 2\nmin_warm = 1\narrivals = {{ kind = 'steady', interval = 10, begin = 5 }}"
    ).total
    assert (total.answered, total.cold_starts, total.launches, total.expired) == (10, 0, 1, 0)
    assert total.memory_seconds == 100 * 100


def test_a_cold_format_launches_for_each_call(run: Run) -> None:
    total = run(f"{ALONE}hot = false\narrivals = {{ kind = 'steady', interval = 10 }}").total
    assert (total.answered, total.cold_starts, total.launches, total.ended) == (10, 10, 10, 10)
    assert (total.expired, total.evicted) == (0, 0)


def test_who_finds_the_machine_full_of_others_idle_containers_has_one_evicted(run: Run) -> None:
    """Two functions that take turns on a machine with room for one."""
    report = run(
        f"{ALONE}idle_timeout = 90\narrivals = {{ kind = 'steady', interval = 20 }}",
        machine="memory = 100",
        more=f"[[functions]]\nname = 'other'\n{ALONE}idle_timeout = 90\n"
        "arrivals = { kind = 'steady', interval = 20, begin = 10 }",
    )
    assert report.total.cold_starts == report.total.launches == 10
    assert report.total.evicted == 9
    assert report.functions[1].waited_for == {"capacity": 5}
    assert report.functions[1].wait.max == 0.125 + 0.5


def test_a_line_that_is_full_rejects_who_comes(run: Run) -> None:
    total = run(
        f"{ALONE}max_containers = 1\narrivals = {{ kind = 'bursts', size = 10, every = 1000 }}",
        machine="memory = 100\nmax_waiting = 4",
    ).total
    assert (total.calls, total.answered, total.rejected) == (10, 4, {"line full": 6})
    assert total.wait.max == 0.5 + 3 * 0.25


def test_a_function_that_no_machine_has_room_for_is_rejected(run: Run) -> None:
    total = run("run = 1\nmemory = 101\narrivals = { kind = 'steady', interval = 10 }", machine="memory = 100").total
    assert (total.answered, total.rejected, total.memory_seconds) == (0, {"too large": 10}, 0.0)
    assert (total.wait.max, total.cold_share) == (0.0, 0.0)


def test_calls_that_wait_at_the_end_are_simulated_to_theirs(run: Run) -> None:
    report = run(f"{ALONE}max_containers = 1\narrivals = {{ kind = 'bursts', size = 100, every = 1000 }}", duration=1.0)
    assert report.total.answered == 100
    assert report.ended_at == 0.5 + 100 * 0.25


def test_callers_who_wait_for_their_answers_keep_as_many_calls_going(run: Run) -> None:
    total = run(f"{ALONE}max_containers = 1\narrivals = {{ kind = 'closed', callers = 3 }}", duration=10.5).total
    assert total.answered == 10 / 0.25 + 2, "one call after the other, and those that waited when the time was over"
    assert total.wait.p50 == 2 * 0.25


def test_callers_think_between_their_calls(run: Run) -> None:
    total = run(f"{ALONE}arrivals = {{ kind = 'closed', callers = 1, think = 0.75 }}", duration=10.5).total
    assert (total.answered, total.waited) == (10, 1)


def test_callers_who_are_rejected_come_again_after_a_second(run: Run) -> None:
    total = run(
        "run = 100\narrivals = { kind = 'closed', callers = 4 }\nmax_containers = 1",
        machine="memory = 100_000\nmax_waiting = 1",
        duration=10.0,
    ).total
    # One has the container from 0.1 s on, another the place in the line; two come at 0 s, and each second from then.
    assert total.rejected["line full"] == 2 * 10 + 1


def test_runs_that_need_a_core_stretch_where_there_are_more_of_them_than_cores(run: Run) -> None:
    warm = "run = 1\nmin_warm = 4\nidle_timeout = 1000\nmemory = 1\nrun_cpu = 1.0\n"
    burst = "arrivals = { kind = 'bursts', size = 4, every = 1000, begin = 50 }"
    assert run(f"{warm}{burst}", machine="memory = 100\ncores = 4").ended_at == 100.0
    stretched = run(f"{warm}{burst}", machine="memory = 100\ncores = 1", duration=50.5)
    # Each run is as long as calls run when it begins, itself included: 1, 2, 3 and 4 s.
    assert stretched.ended_at == 50 + 4.0


def test_starts_that_need_a_core_stretch_too(run: Run) -> None:
    others = "".join(
        f"[[functions]]\nname = 'fn {number}'\n{ALONE}start_cpu = 1\n"
        "arrivals = { kind = 'bursts', size = 1, every = 1000 }\n"
        for number in range(3)
    )
    report = run(
        f"{ALONE}start_cpu = 1\narrivals = {{ kind = 'bursts', size = 1, every = 1000 }}",
        machine="memory = 1000\ncores = 2",
        more=others,
    )
    assert sorted(figures.wait.max for figures in report.functions) == [0.5, 0.5, 0.75, 1.0]


def test_one_container_with_poisson_arrivals_is_the_queue_that_theory_knows(run: Run) -> None:
    """M/M/1: with a load of one half, calls wait as long on average as one runs."""
    total = run(
        "run = { distribution = 'exponential', mean = 0.1 }\nmax_containers = 1\nmin_warm = 1\n"
        "arrivals = { kind = 'poisson', rate = 5.0 }",
        duration=10_000,
    ).total
    assert total.answered == pytest.approx(50_000, rel=0.05)
    assert total.wait.mean == pytest.approx(0.1, rel=0.15)
    assert total.waited / total.answered == pytest.approx(0.5, rel=0.05)


def test_a_function_that_changes_does_so_when_it_is_told(run: Run) -> None:
    total = run(
        "run = { distribution = 'changing', at = 50, before = 0.25, after = 2 }\nstart = 0.5\n"
        "arrivals = { kind = 'steady', interval = 10 }\nmemory = 1\nidle_timeout = 1000"
    ).total
    assert total.memory_seconds - total.idle_memory_seconds == 0.5 + 5 * 0.25 + 5 * 2


def test_a_scenario_without_a_call_costs_nothing(run: Run) -> None:
    total = run("run = 1").total
    assert (total.calls, total.launches, total.memory_seconds, total.idle_memory_seconds) == (0, 0, 0.0, 0.0)


CHANCY = """
run = { distribution = 'lognormal', median = 0.1, sigma = 1.0 }
start = { distribution = 'uniform', low = 0.1, high = 0.5 }
count = 5
arrivals = [{ kind = 'poisson', rate = 1 }, { kind = 'closed', callers = 2, think = 1 }]
"""


def test_the_same_seed_gives_the_same_report() -> None:
    scenario = scenario_of(CHANCY)
    (policy,) = scenario.policies
    first, second = (report_policy(policy, replay(scenario, policy)) for _ in range(2))
    assert first == second


def test_policies_are_given_the_same_arrivals_and_runs() -> None:
    scenario = scenario_of(
        CHANCY.replace(", { kind = 'closed', callers = 2, think = 1 }", ""),
        more="[[policies]]\nname = 'short'\nidle_timeout = 1\n[[policies]]\nname = 'long'\nidle_timeout = 50",
    )
    short, long = (replay(scenario, policy) for policy in scenario.policies)
    for one, other in zip(short.functions.values(), long.functions.values(), strict=True):
        assert one.tally.arrived == other.tally.arrived
        assert one.tally.busy_seconds == pytest.approx(other.tally.busy_seconds)
    assert sum(one.tally.launches for one in short.functions.values()) > sum(
        one.tally.launches for one in long.functions.values()
    )


def test_who_waits_is_told_how_far_it_is() -> None:
    scenario = scenario_of("run = 1\narrivals = { kind = 'steady', interval = 1 }")
    told: list[float] = []
    replay(scenario, scenario.policies[0], told.append)
    assert told[-1] == 1.0
    assert all(one < other for one, other in itertools.pairwise(told))
