"""The report: numbers of a function and of all together, and the same for programs."""

from __future__ import annotations

import json

import pytest

from fnd.simulation.replay import replay
from fnd.simulation.report import Figures, as_json, make_report, quantile, report_policy
from tests.unit.simulation.conftest import Run, scenario_of

OTHER = "[[functions]]\nname = 'other'\nrun = 2\nmemory = 50\narrivals = { kind = 'poisson', rate = 1 }"


@pytest.mark.parametrize(
    ("ascending", "zeros", "share", "value"),
    [
        ([], 0, 0.5, 0.0),
        ([], 10, 0.99, 0.0),
        ([1.0], 0, 0.5, 1.0),
        ([1.0, 2.0, 3.0, 4.0], 0, 0.5, 2.0),
        ([1.0, 2.0, 3.0, 4.0], 0, 0.51, 3.0),
        ([5.0], 99, 0.99, 0.0),
        ([5.0, 6.0], 98, 0.99, 5.0),
    ],
)
def test_a_quantile_is_the_least_value_that_so_many_do_not_exceed(
    ascending: list[float], zeros: int, share: float, value: float
) -> None:
    assert quantile(ascending, zeros, share) == value


def test_all_together_are_the_sum_of_the_functions(run: Run) -> None:
    report = run("run = 0.5\narrivals = { kind = 'poisson', rate = 3 }", more=OTHER)
    total = report.total
    for name in ("calls", "answered", "cold_starts", "waited", "launches", "expired", "evicted", "ended"):
        assert getattr(total, name) == sum(getattr(one, name) for one in report.functions), name
    assert total.memory_seconds == pytest.approx(sum(one.memory_seconds for one in report.functions))
    assert total.containers_peak <= sum(one.containers_peak for one in report.functions)
    assert total.wait.max == max(one.wait.max for one in report.functions)


def test_series_begin_at_zero_and_end_with_the_last_call(run: Run) -> None:
    report = run("run = 0.5\narrivals = { kind = 'poisson', rate = 3 }", duration=50.0)
    series = report.series
    assert len(series.containers) == len(series.waiting) <= 600
    assert (len(series.containers) - 1) * series.width <= report.ended_at <= len(series.containers) * series.width
    assert max(series.containers) == report.total.containers_peak


def test_programs_are_given_the_same_numbers() -> None:
    scenario = scenario_of("run = 0.5\narrivals = { kind = 'poisson', rate = 3 }", more=OTHER)
    report = make_report(scenario, [report_policy(policy, replay(scenario, policy)) for policy in scenario.policies])
    written = json.loads(json.dumps(as_json(report)))
    assert (written["scenario"], written["seed"], written["duration"]) == ("test", 1, 100.0)
    (policy,) = written["policies"]
    assert set(policy) == {"name", "ended_at", "total", "functions", "series"}
    assert policy["total"]["wait"]["p99"] == report.policies[0].total.wait.p99
    assert [one["name"] for one in policy["functions"]] == ["fn", "other"]
    assert set(policy["total"]) == set(Figures.__annotations__)
