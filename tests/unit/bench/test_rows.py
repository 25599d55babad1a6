"""How the rows of the benchmark make figures of what they measured."""

import math

import pytest

from tests.bench import formats
from tests.bench.calls import LEAST_RATE, MOST_P99, Measured, Round, p99_figure, processor_figure, rate_figure
from tests.bench.cold import launch_seconds
from tests.bench.decisions import Core, idle_step, waiting_step
from tests.bench.flood import flood_figures
from tests.bench.latency import added_figure
from tests.bench.load import LoadResult


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
