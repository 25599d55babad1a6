"""The same for a daemon that is not root, and for one whose functions can be other users without a sandbox.

These run the tests of containers again, in a view of this machine in which its Python is open to all users.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import trio

import tests
from fnd_process.removal import remove_tree
from tests.parts import missing, need_program

pytestmark = [pytest.mark.system, pytest.mark.bubblewrap]

REPOSITORY = Path(next(iter(tests.__path__))).parent
SOMEBODY = "12345"
TELLING = (
    "socket or streams or asked or left_its_session or ended_go_with_it or fork or memory or shared or fills "
    "or environment or configuration or paused or cancelled or user_of_its_own or sees or limits or refused or tmp"
)
"""Of the tests, those that a user or a namespace has to do with."""


@pytest.fixture
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="fnd-"))
    path.chmod(0o777)
    yield path
    remove_tree(path)


def open_view() -> list[str]:
    """Return the arguments that run a command where all users can reach this Python, as root."""
    if os.geteuid() != 0:
        missing("only root can become other users")
    prefix = Path(os.path.realpath(sys.base_prefix))
    closed = next((path for path in reversed(prefix.parents) if not path.stat().st_mode & 0o001), None)
    arguments = [need_program("bwrap", "bubblewrap"), "--dev-bind", "/", "/", "--cap-add", "ALL"]
    if closed is not None:
        arguments += ["--perms", "0755", "--tmpfs", str(closed)]
        for needed in (prefix, Path(sys.prefix), REPOSITORY):
            if needed.is_relative_to(closed):
                for path in reversed(needed.parents):
                    if path.is_relative_to(closed) and path != closed:
                        arguments += ["--dir", str(path)]
                arguments += ["--ro-bind", str(needed), str(needed)]
    return arguments


async def passes(command: Sequence[str], place: Path, which: str, files: Sequence[str], at_least: int) -> None:
    """Check that tests pass when a command runs them, and that they were not skipped."""
    folder = "tests/system/fnd_process"
    pytest_ = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={place}/base"]
    result = await trio.run_process(
        [*command, *pytest_, "-k", which, *(f"{folder}/{name}" for name in files)],
        cwd=REPOSITORY,
        env={**os.environ, "HOME": str(place)},
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        check=False,
    )
    output = result.stdout.decode(errors="replace")
    assert result.returncode == 0, output
    passed = re.search(r"(\d+) passed", output)
    assert passed is not None
    assert int(passed[1]) >= at_least, output


async def test_a_daemon_that_is_not_root_confines_its_functions_too(place: Path) -> None:
    become = ["setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups"]
    which = f"not cgroup and ({TELLING})"
    await passes([*open_view(), *become], place, which, ["test_container.py", "test_sandbox.py"], at_least=40)


async def test_functions_can_be_users_of_their_own_without_a_sandbox(place: Path) -> None:
    await passes(open_view(), place, f"host and ({TELLING})", ["test_container.py"], at_least=30)
