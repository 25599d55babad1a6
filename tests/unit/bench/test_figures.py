"""The arithmetic behind the benchmark's report."""

import math

import pytest

from tests.bench.figures import Figure, Target, at_least, at_most, median, median_ratio, percentile, ratio, skipped


def test_a_percentile_is_the_least_value_that_enough_values_do_not_exceed() -> None:
    values = list(range(1, 101))
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1.0) == 100
    assert percentile([7.0], 0.99) == 7.0


def test_a_percentile_does_not_depend_on_the_order() -> None:
    assert percentile([3, 1, 2], 0.99) == 3


def test_what_nobody_measured_is_not_a_number() -> None:
    assert math.isnan(percentile([], 0.5))
    assert math.isnan(median([]))
    assert math.isnan(ratio(1.0, 0.0))


def test_rounds_are_compared_one_by_one_so_that_a_slow_round_does_not_count_twice() -> None:
    fnd, proxy = [80.0, 8.0, 75.0], [100.0, 10.0, 100.0]
    assert median_ratio(fnd, proxy) == pytest.approx(0.8)


def test_rounds_that_do_not_pair_up_are_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        median_ratio([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("target", "value", "met"),
    [
        (at_least(0.75), 0.75, True),
        (at_least(0.75), 0.7499, False),
        (at_most(2.0), 2.0, True),
        (at_most(2.0), 2.001, False),
        (at_least(0.75), math.nan, False),
        (at_most(2.0), math.nan, False),
    ],
)
def test_a_target_is_met_from_its_limit_on_and_never_by_nan(target: Target, value: float, met: bool) -> None:
    assert Figure(name="x", value=value, unit="×", target=target).met is met


def test_a_figure_without_a_target_neither_meets_nor_misses_it() -> None:
    assert Figure(name="x", value=1.0, unit="ms").met is None


def test_a_figure_for_which_a_part_is_missing_neither_meets_nor_misses_its_target() -> None:
    figure = skipped("x", "×", at_least(0.75), "dockerd is not installed")
    assert figure.met is None
    assert figure.detail == "dockerd is not installed"
