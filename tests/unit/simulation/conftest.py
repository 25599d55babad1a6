"""Scenarios of one function, run: what their tests say again and again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fnd.simulation.replay import replay
from fnd.simulation.report import PolicyReport, report_policy
from fnd.simulation.scenario import Scenario
from fnd.simulation.scenario_file import parse_scenario

Run = Callable[..., PolicyReport]


def scenario_of(
    function: str, *, duration: float = 100.0, machine: str = "memory = 10_000", more: str = ""
) -> Scenario:
    """Return a scenario with one function, called fn, whose other keys are the lines of `function`."""
    text = f"duration = {duration}\n[machine]\n{machine}\n[[functions]]\nname = 'fn'\n{function}\n{more}"
    return parse_scenario(text, "test", "test.toml")


@pytest.fixture
def run() -> Run:
    """Run a scenario as `scenario_of` takes it, and return what came of its only policy."""

    def run(function: str, **others: object) -> PolicyReport:
        scenario = scenario_of(function, **others)  # type: ignore[arg-type]
        (policy,) = scenario.policies
        return report_policy(policy, replay(scenario, policy))

    return run
