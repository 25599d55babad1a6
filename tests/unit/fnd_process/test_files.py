"""Trees of files: copied, digested, made read-only."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from fnd.errors import BuildFailed
from fnd_process.files import TreeCopy, make_read_only, settle
from fnd_process.removal import remove_tree

MIB = 1 << 20


def nothing() -> None:
    pass


@pytest.fixture
def copy(tmp_path: Path) -> Callable[..., str]:
    """Copies `source` to a new directory and returns the digest."""
    (tmp_path / "source").mkdir()
    count = iter(range(100))

    def make(max_size: int = MIB, max_files: int = 100, check: Callable[[], None] = nothing) -> str:
        target = tmp_path / f"copy-{next(count)}"
        return TreeCopy(tmp_path / "source", target, max_size, max_files, check).make()

    return make


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source"


def test_a_copy_is_the_same(copy: Callable[..., str], source: Path, tmp_path: Path) -> None:
    (source / "directory" / "empty").mkdir(parents=True)
    (source / "directory" / "file").write_bytes(b"\0content")
    (source / "program").write_text("#!/bin/sh")
    (source / "program").chmod(0o700)
    (source / "link").symlink_to("directory/file")
    (source / "dangling").symlink_to("gone")
    copy()
    made = tmp_path / "copy-0"
    assert (made / "directory" / "file").read_bytes() == b"\0content"
    assert (made / "directory" / "empty").is_dir()
    assert (made / "link").readlink() == Path("directory/file")
    assert (made / "dangling").is_symlink()
    assert stat.S_IMODE((made / "program").stat().st_mode) == 0o755
    assert stat.S_IMODE((made / "directory" / "file").stat().st_mode) == 0o644


def test_what_is_no_part_of_a_function_is_left_out(copy: Callable[..., str], source: Path, tmp_path: Path) -> None:
    before = copy()
    for name in (".git", "__pycache__", ".venv"):
        (source / name).mkdir()
        (source / name / "x").write_text("x")
    assert copy() == before
    assert list((tmp_path / "copy-1").iterdir()) == []


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda source: (source / "a").write_text("y"),
    "name": lambda source: (source / "a").rename(source / "b"),
    "another file": lambda source: (source / "b").write_text(""),
    "another directory": lambda source: (source / "d").mkdir(),
    "executable": lambda source: (source / "a").chmod(0o755),
    "link": lambda source: (source / "l").symlink_to("a"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_difference_is_in_the_digest(copy: Callable[..., str], source: Path, change: str) -> None:
    (source / "a").write_text("x")
    before = copy()
    CHANGES[change](source)
    after = copy()
    assert before != after
    assert len(after) == 64


def test_times_owners_and_other_permissions_are_not(copy: Callable[..., str], source: Path) -> None:
    (source / "a").write_text("x")
    (source / "a").chmod(0o600)
    before = copy()
    os.utime(source / "a", (0, 0))
    (source / "a").chmod(0o664)
    assert copy() == before


def test_where_one_name_ends_is_in_the_digest(copy: Callable[..., str], source: Path) -> None:
    (source / "a").mkdir()
    (source / "a" / "b").write_text("")
    before = copy()
    remove_tree(source / "a")
    (source / "a\nb").write_text("")
    assert copy() != before


@pytest.mark.parametrize(
    "make",
    [
        lambda source: (source / "bad").symlink_to("/etc/passwd"),
        lambda source: (source / "bad").symlink_to("../outside"),
        lambda source: (source / "bad").symlink_to(f"{source}/inside"),
        lambda source: (
            (source / "d").mkdir(),
            (source / "d" / "up").symlink_to(".."),
            (source / "bad").symlink_to("d/up/.."),
        ),
    ],
)
def test_a_link_that_leads_out_is_refused(
    copy: Callable[..., str], source: Path, make: Callable[[Path], object]
) -> None:
    make(source)
    with pytest.raises(BuildFailed, match=r"bad is a link to .*, which is outside of the function's directory"):
        copy()


def test_a_fifo_or_a_socket_is_refused(copy: Callable[..., str], source: Path) -> None:
    os.mkfifo(source / "pipe")
    with pytest.raises(BuildFailed, match="pipe is neither a file nor a directory nor a link"):
        copy()
    (source / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(source / "socket"))
        with pytest.raises(BuildFailed, match="socket is neither"):
            copy()


def test_a_function_may_have_so_many_files_and_bytes(copy: Callable[..., str], source: Path) -> None:
    for name in "abc":
        (source / name).write_bytes(b"x" * 1000)
    copy(max_size=3000, max_files=3)
    with pytest.raises(BuildFailed, match="more than 2 files"):
        copy(max_files=2)
    with pytest.raises(BuildFailed, match="more than 0 MiB"):
        copy(max_size=2999)


def test_it_can_be_broken_off(copy: Callable[..., str], source: Path) -> None:
    (source / "a").write_text("x")

    def check() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        copy(check=check)


def test_read_only_is_for_all_and_readable_by_all(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "directory").mkdir(parents=True)
    (top / "directory" / "file").write_text("x")
    (top / "directory" / "file").chmod(0o600)
    (top / "program").write_text("x")
    (top / "program").chmod(0o4700)
    (top / "link").symlink_to("/etc/passwd")
    make_read_only(top)
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (top, *top.rglob("*")) if not path.is_symlink()}
    assert modes == {"top": 0o555, "directory": 0o555, "file": 0o444, "program": 0o555}
    remove_tree(top)


def test_what_is_in_place_first_stays(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "which").write_text(name)
        settle(tmp_path / name, tmp_path / "final")
    assert (tmp_path / "final" / "which").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["final"]
