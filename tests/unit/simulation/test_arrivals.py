"""Generated arrivals: in order, as many as asked for on average, and the same for the same seed."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from fnd.simulation.arrivals import Bursts, Diurnal, Number, Poisson, Share, Steady, moments
from fnd.simulation.durations import Constant, Exponential, Lognormal, Positive, Uniform


def positive(value: float) -> Positive:
    return Positive(value)


def test_steady_arrivals_come_like_a_clock() -> None:
    steady = Steady(interval=positive(2.5))
    assert list(moments(steady, Random(1), 10.0)) == [0.0, 2.5, 5.0, 7.5]


def test_bursts_come_together() -> None:
    bursts = Bursts(size=Number(2), every=positive(5.0), begin=1.0)
    assert list(moments(bursts, Random(1), 10.0)) == [1.0, 1.0, 6.0, 6.0]


@pytest.mark.parametrize(
    "arrivals",
    [Poisson(rate=positive(20.0)), Diurnal(rate=positive(20.0), period=positive(100.0))],
    ids=lambda one: type(one).__name__,
)
def test_chance_arrivals_come_in_order_at_their_rate_and_alike_for_one_seed(arrivals: Any) -> None:
    first, again, other = (list(moments(arrivals, Random(seed), 1000.0)) for seed in (1, 1, 2))
    assert first == again != other
    assert first == sorted(first)
    assert len(first) == pytest.approx(20_000, rel=0.05)


def test_a_day_begins_and_ends_quietly() -> None:
    day = Diurnal(rate=positive(10.0), period=positive(1000.0), depth=Share(1.0))
    times = list(moments(day, Random(1), 1000.0))
    night, noon = (sum(low <= time < low + 100 for time in times) for low in (0, 450))
    assert noon > 10 * night


def test_arrivals_keep_within_their_begin_and_end() -> None:
    poisson = Poisson(rate=positive(10.0), begin=20.0, end=positive(30.0))
    times = list(moments(poisson, Random(1), 1000.0))
    assert 20.0 <= times[0] < times[-1] < 30.0


@pytest.mark.parametrize(
    ("duration", "mean"),
    [
        (Constant(seconds=positive(2.0)), 2.0),
        (Exponential(mean=positive(2.0)), 2.0),
        (Uniform(low=1.0, high=positive(3.0)), 2.0),
        (Lognormal(median=positive(2.0), sigma=positive(0.5)), 2.0 * 1.1331),  # median x exp(sigma² / 2)
    ],
    ids=lambda one: type(one).__name__,
)
def test_durations_have_the_mean_that_their_distribution_has(duration: Any, mean: float) -> None:
    sampler = duration.sampler(Random(1))
    assert sum(sampler(0.0) for _ in range(20_000)) / 20_000 == pytest.approx(mean, rel=0.05)
