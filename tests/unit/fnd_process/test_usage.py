"""What a container uses."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from fnd_process.usage import DirectoryUsage, directory_usage, memory_of

MIB = 1 << 20


def test_below_the_limit_the_answer_is_the_cheap_bound_and_above_it_the_truth() -> None:
    pids = [os.getpid()]
    bound = memory_of(pids, [], 1 << 50)
    truth = memory_of(pids, [], 0)
    assert MIB < truth < bound  # program files are in the one and not in the other


def test_what_is_taken_is_counted() -> None:
    before = memory_of([os.getpid()], [], 0)
    with mmap.mmap(-1, 32 * MIB) as taken:
        taken.write(b"x" * (32 * MIB))
        after = memory_of([os.getpid()], [], 0)
    assert 30 * MIB < after - before < 40 * MIB


def test_what_is_gone_uses_nothing(tmp_path: Path) -> None:
    assert memory_of([1 << 22], [tmp_path / "gone"], 0) == 0


def test_file_systems_in_memory_are_counted() -> None:
    used = os.statvfs("/dev/shm")
    assert memory_of([], [Path("/dev/shm")], 0) == (used.f_blocks - used.f_bfree) * used.f_frsize


def test_files_are_counted_and_links_not_followed(tmp_path: Path) -> None:
    (tmp_path / "directory" / "deeper").mkdir(parents=True)
    (tmp_path / "directory" / "deeper" / "file").write_bytes(b"x" * MIB)
    (tmp_path / "link").symlink_to("/")
    usage = directory_usage(tmp_path, 100)
    assert usage.files == 4
    assert MIB <= usage.size < 2 * MIB


def test_counting_ends_at_the_most_that_matters(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).touch()
    assert directory_usage(tmp_path, 10).files == 11


def test_a_directory_that_is_gone_has_nothing(tmp_path: Path) -> None:
    assert directory_usage(tmp_path / "gone", 10) == DirectoryUsage(0, 0)
