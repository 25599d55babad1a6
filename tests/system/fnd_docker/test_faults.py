"""The faults suite with this driver, for as short as it can be; `make faults` is for the rest."""

from __future__ import annotations

import pytest

from tests.faults.__main__ import run_scenario
from tests.faults.places import DockerPlace
from tests.private_docker import PrivateDocker

pytestmark = pytest.mark.system


def test_kill_9_of_containers_fails_only_the_calls_inside_and_leaves_nothing(engine: PrivateDocker) -> None:
    result = run_scenario("kill", DockerPlace(engine), seconds=2, seed=1)
    assert result.problems == []
    assert result.calls.answered > 0
