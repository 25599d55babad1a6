"""The scenarios that come with fnd, and what is found by a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from fnd.errors import ConfigurationError
from fnd.simulation.catalogue import built_in, find_scenario
from fnd.simulation.scenario_file import parse_scenario


@pytest.mark.parametrize("name", built_in())
def test_every_scenario_that_comes_with_fnd_can_be_read(name: str) -> None:
    written = find_scenario(name)
    scenario = parse_scenario(written.text, written.name, written.source)
    assert scenario.title == built_in()[name]


@pytest.mark.parametrize("name", built_in())
def test_every_scenario_that_comes_with_fnd_is_documented(name: str) -> None:
    page = (Path(__file__).parents[3] / "docs/simulation.md").read_text()
    assert f"`{name}`" in page


def test_a_file_is_found_by_its_path_and_called_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("duration = 1")
    found = find_scenario(str(path))
    assert (found.name, found.source, found.text) == ("mine", str(path), "duration = 1")


def test_what_is_neither_is_told_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"keepalive is neither a file nor one of the scenarios .*keep-alive"):
        find_scenario("keepalive")
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        find_scenario(str(tmp_path))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="is not UTF-8"):
        find_scenario(str(tmp_path / "binary"))
