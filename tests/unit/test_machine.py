"""How much memory there is for functions, on machines made of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from fnd.machine import memory_for_containers

MIB = 1 << 20


def machine(root: Path, total: int, available: int, group: str | None = None) -> Path:
    """Make a root with that many MiB."""
    (root / "proc/self").mkdir(parents=True)
    meminfo = f"MemTotal: {total * 1024} kB\nMemFree: 1 kB\nMemAvailable: {available * 1024} kB\n"
    (root / "proc/meminfo").write_text(meminfo)
    if group is not None:
        (root / "proc/self/cgroup").write_text(f"4:memory:/v1\n0::{group}\n")
    return root


def limit(root: Path, group: str, maximum: str, used: int) -> None:
    directory = root / "sys/fs/cgroup" / group
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "memory.max").write_text(f"{maximum}\n")
    (directory / "memory.current").write_text(f"{used}\n")


@pytest.mark.parametrize(
    ("total", "available", "memory"),
    [
        (1024, 900, 900 - 256),  # a tenth would be less than the least headroom
        (10000, 9000, 9000 - 1000),
        (100_000, 90_000, 90_000 - 5120),  # a tenth would be more than the most
        (300, 100, 1),
    ],
)
def test_a_headroom_is_left_to_the_machine(tmp_path: Path, total: int, available: int, memory: int) -> None:
    assert memory_for_containers(machine(tmp_path, total, available)) == memory


def test_a_limit_of_our_control_group_is_the_machine(tmp_path: Path) -> None:
    root = machine(tmp_path, 100_000, 90_000, "/system.slice/fnd.service")
    limit(root, "system.slice/fnd.service", str(4000 * MIB), 100 * MIB)
    assert memory_for_containers(root) == 3900 - 400


def test_a_limit_further_up_counts_too(tmp_path: Path) -> None:
    root = machine(tmp_path, 100_000, 90_000, "/a/b")
    limit(root, "a/b", "max", 0)
    limit(root, "a", str(2048 * MIB), 0)
    assert memory_for_containers(root) == 2048 - 256


def test_a_group_without_a_memory_controller_limits_nothing(tmp_path: Path) -> None:
    root = machine(tmp_path, 10_000, 9000, "/a")
    (root / "sys/fs/cgroup/a").mkdir(parents=True)
    assert memory_for_containers(root) == 8000


def test_this_machine_has_some() -> None:
    assert memory_for_containers() >= 1
