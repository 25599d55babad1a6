"""An uploaded archive is unpacked as it was packed, or refused by name; nothing it holds reaches outside."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fnd.api.source_archive import ArchiveLimits, unpack
from fnd.errors import BadRequest, BodyTooLarge

LIMITS = ArchiveLimits(packed_size=1 << 20, unpacked_size=4096, entries=20, path_length=200)

Entry = tuple[tarfile.TarInfo, bytes]


def file(name: str, content: bytes = b"x", mode: int = 0o644) -> Entry:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    return entry, content


def special(name: str, kind: bytes, linkname: str = "") -> Entry:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, linkname
    return entry, b""


def symlink(name: str, target: str) -> Entry:
    return special(name, tarfile.SYMTYPE, target)


def directory(name: str) -> Entry:
    return special(name, tarfile.DIRTYPE)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    target = tmp_path / "outside" / "target"
    target.mkdir(parents=True)
    return target


@pytest.fixture
def unpacked(tmp_path: Path, target: Path) -> Callable[..., Path]:
    def unpacked(*entries: Entry, limits: ArchiveLimits = LIMITS) -> Path:
        archive = tmp_path / "archive.tar"
        with tarfile.open(archive, "w") as tar:
            for entry, content in entries:
                tar.addfile(entry, io.BytesIO(content))
        unpack(archive, target, limits)
        return target

    return unpacked


def test_files_directories_and_inner_links_come_out_as_they_went_in(unpacked: Callable[..., Path]) -> None:
    target = unpacked(
        directory("empty"),
        file("func.yaml", b"name: hello"),
        file("lib/deep/module.py", b"pass"),
        symlink("lib/current", "deep"),
        symlink("lib/deep/up", "../../func.yaml"),
    )
    assert (target / "empty").is_dir()
    assert (target / "func.yaml").read_bytes() == b"name: hello"
    assert (target / "lib/current/module.py").read_bytes() == b"pass"
    assert (target / "lib/deep/up").read_bytes() == b"name: hello"


def test_leading_dots_of_tar_are_no_part_of_a_path(unpacked: Callable[..., Path]) -> None:
    target = unpacked(directory("."), directory("./lib"), file("./lib/a"), file("./b"))
    assert (target / "lib/a").exists()
    assert (target / "b").exists()


def test_only_the_executable_bit_of_a_mode_is_kept(unpacked: Callable[..., Path]) -> None:
    target = unpacked(file("program", mode=0o6711), file("data", mode=0o666))
    assert stat.S_IMODE((target / "program").stat().st_mode) == 0o755
    assert stat.S_IMODE((target / "data").stat().st_mode) == 0o644


def test_files_belong_to_the_daemon_whoever_the_archive_says(unpacked: Callable[..., Path]) -> None:
    entry, content = file("a")
    entry.uid = entry.gid = 4242
    assert (unpacked((entry, content)) / "a").stat().st_uid == os.geteuid()


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        pytest.param([file("/etc/evil")], "/etc/evil", id="absolute path"),
        pytest.param([file("../evil")], "../evil", id="parent"),
        pytest.param([file("a/../../evil")], "a/../../evil", id="parent in the middle"),
        pytest.param([directory("..")], "..", id="parent directory itself"),
        pytest.param([symlink("out", "/etc/passwd")], "out", id="absolute link"),
        pytest.param([symlink("out", "../secret")], "out", id="link out"),
        pytest.param([symlink("a/out", "../../secret")], "a/out", id="link out from below"),
        pytest.param([symlink("out", "..")], "out", id="link to the parent"),
        pytest.param([symlink("out", "")], "out", id="link to nothing"),
        pytest.param([symlink("out", "target/../../..")], "out", id="link out by a detour"),
        pytest.param(
            [directory("a/b"), symlink("c", "a/b"), symlink("out", "c/../../..")], "out", id="link out by a link"
        ),
        pytest.param([symlink("d", "a"), symlink("d/out", "x"), directory("a")], "d", id="link below a link"),
        pytest.param([symlink("d", "a"), file("d/evil"), directory("a")], "d", id="file below a link"),
        pytest.param([special("hard", tarfile.LNKTYPE, "func.yaml")], "hard", id="hard link"),
        pytest.param([special("hard", tarfile.LNKTYPE, "/etc/passwd")], "hard", id="hard link out"),
        pytest.param([special("null", tarfile.CHRTYPE)], "null", id="character device"),
        pytest.param([special("disk", tarfile.BLKTYPE)], "disk", id="block device"),
        pytest.param([special("pipe", tarfile.FIFOTYPE)], "pipe", id="pipe"),
        pytest.param([special("odd", b"Z")], "odd", id="unknown kind"),
        pytest.param([file("a"), file("a")], "a", id="file twice"),
        pytest.param([symlink("a", "b"), symlink("a", "c")], "a", id="link twice"),
        pytest.param([file("a"), symlink("a", "b")], "a", id="file and link"),
        pytest.param([file("a"), file("a/b")], "a/b", id="file as directory"),
        pytest.param([directory("a"), file("a")], "a", id="directory as file"),
        pytest.param([file(".")], ".", id="file without a name"),
        pytest.param([file("n" * 256)], "n" * 255, id="name too long"),
        pytest.param([file("/".join(["d" * 50] * 5))], "d" * 50, id="path too long"),
    ],
)
def test_what_could_do_harm_is_refused_by_name(
    unpacked: Callable[..., Path], target: Path, entries: list[Entry], named: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        unpacked(*entries)
    assert repr(named).strip("'") in refused.value.message
    assert list(target.parent.iterdir()) == [target], "nothing is outside"


def test_a_link_in_a_circle_harms_nobody(unpacked: Callable[..., Path]) -> None:
    target = unpacked(symlink("a", "b"), symlink("b", "a"))
    assert (target / "a").is_symlink()


def test_more_entries_than_allowed_are_too_much(unpacked: Callable[..., Path]) -> None:
    with pytest.raises(BodyTooLarge, match="20 entries"):
        unpacked(*(file(f"f{number}") for number in range(21)))


def test_more_bytes_than_allowed_are_too_much_before_they_are_written(
    unpacked: Callable[..., Path], target: Path
) -> None:
    with pytest.raises(BodyTooLarge, match="4096 bytes"):
        unpacked(file("a", b"x" * 4000), file("b", b"x" * 97))
    assert not (target / "b").exists()


def test_a_header_cannot_make_the_daemon_hold_the_archive(tmp_path: Path, target: Path) -> None:
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 2 << 20
    archive = tmp_path / "archive.tar"
    archive.write_bytes(entry.tobuf() + b"n" * (2 << 20))
    with pytest.raises(BadRequest, match="header"):
        unpack(archive, target, LIMITS)


@pytest.mark.parametrize("content", [b"", b"no tar", bytes(range(256)) * 16, b"\x1f\x8b" + bytes(600)])
def test_what_is_no_tar_is_refused(tmp_path: Path, target: Path, content: bytes) -> None:
    archive = tmp_path / "archive.tar"
    archive.write_bytes(content)
    with pytest.raises(BadRequest, match="not a tar archive"):
        unpack(archive, target, LIMITS)


def test_an_archive_cut_short_is_refused(tmp_path: Path, target: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(file("a", b"x" * 2000)[0], io.BytesIO(b"x" * 2000))
    archive = tmp_path / "archive.tar"
    archive.write_bytes(buffer.getvalue()[:1024])
    with pytest.raises(BadRequest):
        unpack(archive, target, LIMITS)
