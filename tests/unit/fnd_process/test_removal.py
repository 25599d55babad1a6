"""Whatever is in a directory, it can be removed; and nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fnd_process.removal import remove_tree


def test_what_is_not_there_is_removed(tmp_path: Path) -> None:
    remove_tree(tmp_path / "gone")


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    top = tmp_path / "top"
    top.mkdir()
    (top / "directory").symlink_to("../kept")
    (top / "file").symlink_to("../kept/file")
    os.link(tmp_path / "kept" / "file", top / "hard")
    remove_tree(top)
    assert not top.exists()
    assert (tmp_path / "kept" / "file").read_text() == "x"
    (tmp_path / "link").symlink_to("kept")
    with pytest.raises(NotADirectoryError):
        remove_tree(tmp_path / "link")
    assert (tmp_path / "kept" / "file").exists()


def test_directories_that_deny_access_are_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a" / "b" / "c").mkdir(parents=True)
    (top / "a" / "b" / "c" / "file").write_text("x")
    for directory in (top / "a" / "b" / "c", top / "a" / "b", top / "a", top):
        directory.chmod(0)
    remove_tree(top)
    assert not top.exists()


def test_a_tree_deeper_than_a_path_is_long_is_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    directory = os.open(top, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d" * 50, dir_fd=directory)
        deeper = os.open("d" * 50, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = deeper
    os.close(directory)
    remove_tree(top)
    assert not top.exists()


def test_names_that_look_like_its_own_are_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    for name in (".0123456789abcdef-0", "a", "-rf"):
        (top / name / "a").mkdir(parents=True)
        (top / name / "b").write_text("")
    remove_tree(top)
    assert not top.exists()
