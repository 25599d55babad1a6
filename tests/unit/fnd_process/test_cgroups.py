"""Control groups: what is written where, and where there is none. The kernel's part is in the system tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from fnd_process import cgroups
from fnd_process.cgroups import Cgroup, Cgroups, CgroupUnavailable


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """A directory that looks like a group with all controllers."""
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory pids\n")
    return tmp_path


def test_a_container_has_its_limits_before_anything_is_in_it(group: Path) -> None:
    container = Cgroups(group, None).create("C1", memory=128, pids=52, cpu=1500)
    assert container.path == group / "C1"
    written = {path.name: path.read_text() for path in container.path.iterdir()}
    assert written == {
        "memory.max": str(128 << 20),
        "memory.oom.group": "1",
        "memory.swap.max": "0",
        "pids.max": "52",
        "cpu.max": "150000 100000",
    }


@pytest.mark.parametrize(("cpu", "written"), [(0, None), (1, "1000 100000"), (1000, "100000 100000")])
def test_processors_are_limited_for_who_asked_and_never_to_less_than_the_kernel_takes(
    group: Path, cpu: int, written: str | None
) -> None:
    limit = Cgroups(group, None).create("C1", memory=128, pids=52, cpu=cpu).path / "cpu.max"
    assert (limit.read_text() if limit.exists() else None) == written


def test_what_the_kernel_does_not_count_is_not_claimed(group: Path) -> None:
    (group / "cgroup.subtree_control").write_text("io\n")
    groups = Cgroups(group, None)
    assert not groups.cpu
    assert not groups.memory
    assert not groups.pids
    assert list(groups.create("C1", memory=128, pids=52, cpu=1500).path.iterdir()) == []


@pytest.mark.parametrize(("events", "ran_out"), [("oom 0\noom_kill 0\n", False), ("oom 3\noom_kill 1\n", True)])
def test_running_out_of_memory_is_what_the_kernel_says(tmp_path: Path, events: str, ran_out: bool) -> None:
    (tmp_path / "memory.events").write_text(events)
    assert Cgroup(tmp_path, memory=True).ran_out_of_memory() is ran_out
    assert not Cgroup(tmp_path, memory=False).ran_out_of_memory()
    assert not Cgroup(tmp_path / "gone", memory=True).ran_out_of_memory()


def test_a_group_that_is_gone_is_empty(tmp_path: Path) -> None:
    gone = Cgroup(tmp_path / "gone", memory=True)
    gone.kill()
    assert gone.wait_empty(0)
    assert gone.members() == []
    gone.remove()


def test_a_group_shared_with_others_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "_own_group", lambda: tmp_path)
    (tmp_path / "cgroup.type").write_text("domain\n")
    (tmp_path / "cgroup.procs").write_text("1\n2\n")
    with pytest.raises(CgroupUnavailable, match=r"other processes share the daemon's cgroup .*Delegate=yes"):
        Cgroups.open(tmp_path)
    assert not (tmp_path / "fnd-daemon").exists()


def test_a_group_that_is_not_ours_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "_own_group", lambda: tmp_path / "gone")
    with pytest.raises(CgroupUnavailable, match=r"is not the daemon's to use \(No such file or directory\)"):
        Cgroups.open(tmp_path)


def test_a_kernel_that_cannot_kill_a_group_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "_own_group", lambda: tmp_path)
    (tmp_path / "cgroup.controllers").write_text("")
    with pytest.raises(CgroupUnavailable, match=r"Linux 5\.14"):
        Cgroups.open(tmp_path)
