"""The faults suite itself, for as short as it can be: one scenario for each driver. `make faults` is for the rest."""

from __future__ import annotations

import pytest

from tests.faults.__main__ import run_scenario
from tests.faults.places import place

pytestmark = pytest.mark.system


@pytest.mark.parametrize("driver", ["process", "docker"])
def test_kill_9_of_containers_fails_only_the_calls_inside_and_leaves_nothing(driver: str) -> None:
    with place(driver) as where:
        result = run_scenario("kill", where, seconds=2, seed=1)
    assert result.problems == []
    assert result.calls.answered > 0
