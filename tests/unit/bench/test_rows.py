"""How the rows of the benchmark make figures of what they measured."""

import math

import attrs
import pytest

from tests.bench import formats
from tests.bench.bare_engine import Steps
from tests.bench.calls import LEAST_RATE, MOST_P99, Measured, Round, p99_figure, processor_figure, rate_figure
from tests.bench.cold import launch_seconds
from tests.bench.decisions import Core, idle_step, waiting_step
from tests.bench.docker import cold_figures, herd_figure, left_figure
from tests.bench.flood import flood_figures
from tests.bench.latency import added_figure
from tests.bench.load import LoadResult
from tests.faults.result import Descriptors, Leavings


def load(rate: float, p99: float, errors: int = 0) -> Measured:
    result = LoadResult(requests=int(rate * 2), duration=2.0, median=0.001, p99=p99, longest=p99, errors=errors)
    return Measured(result, processor=1.0)


def test_rates_and_p99s_are_fnds_over_the_proxys() -> None:
    rounds = [Round(load(800, 0.020), load(1000, 0.010), 2), Round(load(90, 0.3), load(100, 0.2), 3)]
    rate = rate_figure("rate", rounds, LEAST_RATE)
    assert rate.value == pytest.approx(0.85)
    assert rate.met
    assert "2 to 3 containers" in rate.detail
    assert p99_figure("p99", rounds, MOST_P99).value == pytest.approx(1.75)
    assert processor_figure("processor", rounds).value == pytest.approx((1000 / 800 + 100 / 90) / 2)


def test_a_run_in_which_calls_failed_has_no_figure() -> None:
    rounds = [Round(load(5000, 0.001, errors=1), load(1000, 0.010), 2)]
    figure = rate_figure("rate", rounds, LEAST_RATE)
    assert math.isnan(figure.value)
    assert figure.met is False
    assert "1 calls failed" in figure.detail


def test_what_is_added_is_the_difference_from_calling_the_function_itself() -> None:
    blocks = [
        {"direct": 0.0002, "proxy": 0.0003, "fnd": 0.00032},
        {"direct": 0.0004, "proxy": 0.0005, "fnd": 0.00052},
        {"direct": 0.0003, "proxy": 0.0009, "fnd": 0.00033},
    ]
    assert added_figure(blocks).value == pytest.approx(1.2)


def test_what_a_flood_does_is_judged_by_one_that_does_not_go_through_fnd() -> None:
    alone = [0.001] * 97 + [0.002] * 3
    through = [0.0015] * 97 + [0.003] * 3
    past = [0.002] * 97 + [0.004] * 3
    over_past, over_alone = flood_figures(alone, through, past)
    assert over_past.value == pytest.approx(0.75)
    assert over_past.target is not None
    assert over_alone.value == pytest.approx(1.5)
    assert over_alone.target is None
    assert over_past.detail == "2.00 ms alone, 3.00 ms in the flood, 4.00 ms in one past fnd"


def test_formats_over_streams_are_judged_by_http_stream() -> None:
    rounds: list[formats.Round] = [
        {"json": load(800, 0.01), "http-stream": load(1000, 0.01)},
        {"json": load(60, 0.01), "http-stream": load(100, 0.01)},
    ]
    rate = formats.rate_figure(rounds, "json", 64, formats.LEAST_RATE)
    assert rate.value == pytest.approx(0.7)
    assert rate.met
    assert formats.processor_figure(rounds, "json", 1).value == pytest.approx((1000 / 800 + 100 / 60) / 2)
    rounds.append({"json": load(800, 0.01, errors=1), "http-stream": load(1000, 0.01)})
    assert math.isnan(formats.rate_figure(rounds, "json", 64, formats.LEAST_RATE).value)


def test_a_launch_is_read_from_the_timing_of_a_call() -> None:
    assert launch_seconds("queue=0.000674;launch=0.113455;run=0.005231") == pytest.approx(0.113455)


def test_a_start_with_docker_is_judged_by_the_engines_own_steps() -> None:
    by_hand = [Steps(create=0.1, start=0.2, ready=0.1), Steps(create=0.2, start=0.5, ready=0.1)]
    cold, created = cold_figures([0.44, 0.8], by_hand)
    assert cold.value == pytest.approx(1.05)
    assert cold.target is not None
    assert created.value == pytest.approx(0.75)
    assert created.target is None
    assert created.detail == "by hand, in ms: create 150, start 350, ready 100"


def herd(errors: int) -> LoadResult:
    return LoadResult(requests=1000, duration=100.0, median=50.0, p99=99.0, longest=100.0, errors=errors)


def test_a_herd_is_judged_by_the_best_that_the_engine_does_by_hand() -> None:
    by_hand = {2: [8.0, 10.0], 4: [12.0, 8.0], 8: [7.0, 7.0]}
    figure = herd_figure(herd(errors=0), 1000, by_hand, alone=14.0)
    assert figure.value == pytest.approx(1.0)
    assert "by hand 10.00/s at 4 at once" in figure.detail


def test_a_herd_of_which_one_was_not_answered_has_no_figure() -> None:
    figure = herd_figure(herd(errors=1), 1000, {2: [1.0]}, alone=1.0)
    assert math.isnan(figure.value)
    assert figure.met is False
    assert "999 of 1,000 answered" in figure.detail


def test_anything_that_is_left_misses_the_target_but_connections_kept_for_the_next_request_do_not() -> None:
    assert left_figure(Leavings(), Descriptors(before=20, after=28, kept=8)).met is True
    assert left_figure(Leavings(), Descriptors(before=20, after=29, kept=8)).met is False
    for kind in Leavings().counts():
        left = attrs.evolve(Leavings(), **{kind: ("something",)})
        assert left_figure(left, Descriptors(before=20, after=20)).met is False


def test_steps_of_the_core_leave_it_as_it_was() -> None:
    idle = Core(functions=20)
    waiting = Core(functions=1)
    for core, step in ((idle, idle_step(idle)), (waiting, waiting_step(waiting, waiters=5))):
        lines = {key: pool.line.length for key, pool in core.dispatch.pools.items()}
        for _ in range(30):
            step()
        assert {key: pool.line.length for key, pool in core.dispatch.pools.items()} == lines
    assert idle.dispatch.pools[0].idle.length == 1
    assert waiting.dispatch.pools[0].line.length == 5
