"""A daemon with a control group to itself, as a service has with Delegate=yes, on the kernel's own files."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fnd_process.cgroups import CgroupUnavailable, _own_group
from tests.parts import missing

pytestmark = pytest.mark.system


@pytest.fixture
def group() -> Iterator[Path]:
    """A new group, beside or below this process's."""
    try:
        path = _own_group() / f"fnd-test-{secrets.token_hex(6)}"
        path.mkdir()
    except (CgroupUnavailable, OSError) as error:
        missing(f"no cgroup v2 to make groups in: {error}")
    yield path
    path.rmdir()


DAEMON = """
import json, subprocess, time
from pathlib import Path
from fnd_process.cgroups import Cgroups, CgroupUnavailable
def where():
    line, = (line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    return line.rpartition("/")[2]
before = where()
try:
    groups = Cgroups.open(Path("/run/fnd"))
except CgroupUnavailable as error:
    print(json.dumps(str(error)))
    raise SystemExit
found = {"before": before, "during": where(), "beside": groups.path.parent.name, "existing": len(groups.existing())}
container = groups.create("C1", memory=64, pids=10, cpu=250)
child = subprocess.Popen(["sleep", "1000"])
container.add(child.pid)
found["members"] = container.members() == [child.pid]
found["frozen"] = container.freeze(time.monotonic() + 10)
container.kill()
found["killed"] = child.wait()
found["empty"] = container.wait_empty(time.monotonic() + 10)
found["existing then"] = [group.path.name for group in groups.existing()]
container.remove()
groups.close()
found["after"] = where()
print(json.dumps(found))
"""


def daemon(group: Path, *, alone: bool) -> object:
    """Run a daemon in a group, alone or beside the shell that starts it; return what it says."""
    run = 'exec "$@"' if alone else '"$@"; exit $?'
    done = subprocess.run(
        ["/bin/sh", "-c", f'echo $$ > "$0/cgroup.procs"; {run}', str(group), sys.executable, "-c", DAEMON],
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def test_it_moves_aside_works_below_and_leaves_all_as_it_was(group: Path) -> None:
    assert daemon(group, alone=True) == {
        "before": group.name,
        "during": "fnd-daemon",
        "beside": group.name,
        "existing": 0,
        "members": True,
        "frozen": True,
        "killed": -9,
        "empty": True,
        "existing then": ["C1"],
        "after": group.name,
    }
    assert [path for path in group.iterdir() if path.is_dir()] == []


def test_it_does_not_move_processes_that_are_not_its_own(group: Path) -> None:
    said = daemon(group, alone=False)
    assert isinstance(said, str)
    assert said.startswith("other processes share the daemon's cgroup")
