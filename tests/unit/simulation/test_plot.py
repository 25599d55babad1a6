"""Plots: SVG without scripts, legible in light and dark, and the same bytes for the same report."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from fnd.simulation.plot import blocks, plots
from fnd.simulation.replay import replay
from fnd.simulation.report import Report, make_report, report_policy
from fnd.simulation.svg import Axis, linear_axis
from tests.unit.simulation.conftest import scenario_of

POLICIES = "[[policies]]\nname = '<short>'\nidle_timeout = 1\n[[policies]]\nname = 'long'\nidle_timeout = 50"


def report(function: str = "run = 0.5\narrivals = { kind = 'poisson', rate = 2 }", more: str = POLICIES) -> Report:
    scenario = scenario_of(function, more=more)
    return make_report(scenario, [report_policy(policy, replay(scenario, policy)) for policy in scenario.policies])


def test_each_plot_names_its_policies_and_its_axes_with_their_units() -> None:
    drawn = dict(plots(report()))
    assert list(drawn) == ["containers", "waiting", "waits", "trade-off"]
    labels = {
        "containers": {"time, seconds", "containers, peak"},
        "waiting": {"time, seconds", "calls waiting, peak"},
        "waits": {"a call waits for longer than", "calls, %", "1 ms", "10 ms"},
        "trade-off": {"memory reserved, MiB × seconds", "cold starts"},
    }
    for name, svg in drawn.items():
        texts = {element.text for element in ElementTree.fromstring(svg).iter() if element.text}
        assert {"<short>", "long"} | labels[name] <= texts, name


def test_plots_have_no_scripts_follow_the_readers_colours_and_stay_small() -> None:
    for svg in dict(plots(report())).values():
        assert "<script" not in svg
        assert "prefers-color-scheme: dark" in svg
        assert len(svg) < 100_000


def test_the_same_report_gives_the_same_bytes() -> None:
    assert list(plots(report())) == list(plots(report()))


def test_a_scenario_without_a_call_can_be_drawn() -> None:
    for svg in dict(plots(report("run = 1", more=""))).values():
        ElementTree.fromstring(svg)


@pytest.mark.parametrize(
    ("high", "end", "ticks"),
    [
        (0.7, 0.8, ["0", "0.2", "0.4", "0.6", "0.8"]),
        (64, 80, ["0", "20", "40", "60", "80"]),
        (100, 100, ["0", "20", "40", "60", "80", "100"]),
        (5653, 6000, ["0", "2,000", "4,000", "6,000"]),
    ],
)
def test_axes_are_marked_at_round_numbers(high: float, end: float, ticks: list[str]) -> None:
    axis = linear_axis("", high)
    assert axis.high == pytest.approx(end)
    assert [text for _, text in axis.ticks] == ticks


def test_an_axis_may_be_logarithmic() -> None:
    axis = Axis(label="", low=0.001, high=10.0, ticks=[], logarithmic=True)
    assert [axis.share(value) for value in (0.0, 0.001, 0.1, 10.0, 99.0)] == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0])


def test_blocks_show_peaks_and_tell_a_little_from_nothing() -> None:
    assert blocks([0, 1, 50, 100], 4) == " ▁▄█"
    assert blocks([0, 100, 0, 0, 0, 1], 3) == "█ ▁"
    assert blocks([0, 0], 80) == "  "
