"""A function's directory is packed whole, but for what is no part of it, and the same content gives the same bytes."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from pathlib import Path

import pytest

from fnd.api.source_archive import LIMITS, unpack
from fnd.cli.exits import CommandError
from fnd.cli.source import pack


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "hello"
    (directory / "lib").mkdir(parents=True)
    (directory / "func.yaml").write_text("name: hello")
    (directory / "lib" / "module.py").write_text("pass")
    program = directory / "run"
    program.write_text("#!/bin/sh")
    program.chmod(0o700)
    return directory


def packed(directory: Path) -> bytes:
    target = io.BytesIO()
    left_out: list[str] = []
    pack(directory, target, left_out.append)
    assert left_out == []
    return target.getvalue()


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getnames()


def test_what_is_packed_comes_out_of_the_daemons_unpacking(directory: Path, tmp_path: Path) -> None:
    (directory / "current").symlink_to("lib/module.py")
    archive = tmp_path / "archive.tar"
    archive.write_bytes(packed(directory))
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    unpack(archive, unpacked, LIMITS)
    assert (unpacked / "func.yaml").read_text() == "name: hello"
    assert (unpacked / "current").read_text() == "pass"
    assert (unpacked / "run").stat().st_mode & 0o100
    assert not (unpacked / "func.yaml").stat().st_mode & 0o100


def test_the_same_content_gives_the_same_bytes_whenever_and_whoever(directory: Path) -> None:
    before = packed(directory)
    os.utime(directory / "func.yaml", (1, 1))
    (directory / "func.yaml").chmod(0o600)
    assert packed(directory) == before


def test_history_caches_and_environments_are_left_out_at_any_depth(directory: Path) -> None:
    before = names(packed(directory))
    for name in (".git", "__pycache__", "lib/__pycache__", ".venv", "lib/.mypy_cache"):
        (directory / name).mkdir()
        (directory / name / "file").touch()
    assert names(packed(directory)) == before


@pytest.mark.parametrize(
    ("pattern", "left_out"),
    [
        ("*.log", {"a.log", "lib/b.log"}),
        ("/a.log", {"a.log"}),
        ("lib/*.log", {"lib/b.log"}),
        ("lib/", {"lib", "lib/module.py", "lib/b.log"}),
        ("a.log/", set()),
        ("# a.log", set()),
        ("", set()),
        ("  b.log  ", {"lib/b.log"}),
    ],
)
def test_fndignore_leaves_out_what_it_matches(directory: Path, pattern: str, left_out: set[str]) -> None:
    (directory / "a.log").touch()
    (directory / "lib" / "b.log").touch()
    everything = set(names(packed(directory)))
    (directory / ".fndignore").write_text(f"{pattern}\n")
    assert everything - set(names(packed(directory))) == left_out


def test_a_link_to_outside_is_refused_with_what_to_do(directory: Path) -> None:
    (directory / "out").symlink_to("/etc/hostname")
    with pytest.raises(CommandError, match=r"hello/out links to outside.*copy"):
        packed(directory)


def test_what_is_no_file_is_left_out_and_told(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory)
    os.mkfifo("pipe")
    left_out: list[str] = []
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("bound.sock")
        pack(directory, io.BytesIO(), left_out.append)
    assert [line.partition(":")[0] for line in left_out] == ["bound.sock", "pipe"]
