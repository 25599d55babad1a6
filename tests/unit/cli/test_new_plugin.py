"""`fnd plugins new`: what is made, and what is refused."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from fnd.cli.exits import ExitCode
from fnd.cli.new_plugin import KINDS
from tests.unit.cli.scripted_daemon import Fnd


@pytest.mark.parametrize("kind", KINDS)
def test_a_distribution_is_made_that_is_the_plugins_by_name(fnd: Fnd, tmp_path: Path, kind: str) -> None:
    ended = fnd("plugins", "new", kind, "oak-tree", str(tmp_path / "new"))
    assert (ended.code, ended.out) == (0, "")
    project = tomllib.loads((tmp_path / "new" / "pyproject.toml").read_text())
    assert project["project"]["name"] == "fnd-oak-tree"
    assert project["project"]["entry-points"]["fnd"] == {"oak-tree": "fnd_oak_tree"}
    assert "OakTree" in (tmp_path / "new" / "fnd_oak_tree" / f"{kind}.py").read_text()
    for path in (tmp_path / "new").rglob("*"):
        assert "skeleton" not in path.name
        assert path.is_dir() or "skeleton" not in path.read_text().lower()


def test_its_directory_is_named_after_it(fnd: Fnd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fnd("plugins", "new", "codec", "murmur")
    assert (tmp_path / "fnd-murmur" / "README.md").exists()


def test_nothing_is_written_over(fnd: Fnd, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    ended = fnd("plugins", "new", "codec", "murmur", str(tmp_path))
    assert ended.code == ExitCode.USAGE
    assert "README.md" in ended.err
    assert [path.name for path in tmp_path.iterdir() if path.name != "control.sock"] == ["README.md"]


@pytest.mark.parametrize("name", ["Oak", "oak_tree", "1oak", "oak-", "a/b", "", "o" * 31, "../oak", "process"])
def test_a_name_that_no_new_plugin_can_have_is_refused(fnd: Fnd, tmp_path: Path, name: str) -> None:
    ended = fnd("plugins", "new", "driver", name, str(tmp_path / "new"))
    assert ended.code == ExitCode.USAGE
    assert repr(name) in ended.err
    assert not (tmp_path / "new").exists()
