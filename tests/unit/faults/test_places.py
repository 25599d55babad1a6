"""What is looked for where others' processes and groups come and go."""

from __future__ import annotations

from pathlib import Path

import pytest

from fnd_process.cgroups import group_name
from tests.faults import places
from tests.faults.places import ProcessPlace


def test_groups_of_a_daemons_containers_are_found_wherever_it_is_delegated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "CGROUPS", tmp_path)
    run = Path("/run/fnd")
    ours = tmp_path / "system.slice" / "fnd.service" / group_name(run / "process")
    others = (tmp_path / "docker" / "C3", tmp_path / group_name(Path("/run/else")) / "C4")
    for path in (ours / "C1", ours / "C2", *others):
        path.mkdir(parents=True)
    (ours / "cgroup.procs").touch()
    assert set(ProcessPlace().cgroups(run)) == {ours / "C1", ours / "C2"}
