"""What a driver promises of a spec's launcher: a program in the command's place, which becomes the command."""

from __future__ import annotations

import pytest

from fnd.hookspecs import Exit
from fnd.testing.bench import Bench, DriverTests, promise_of_a_running_driver
from fnd.testing.leavings import MARK
from fnd.testing.roles import EXIT_CODE, Role

_LAUNCHER = """
import os, sys
if sys.flags.isolated and sys.flags.no_site:
    os.environ["FND_TEST_LAUNCHED"] = "yes"
    os.write(2, b"launched\\n")
    os.execvp(sys.argv[1], sys.argv[1:])
"""


class LauncherPromises(DriverTests):
    """Tests of the `launcher` of a spec, for drivers whose containers are programs and can run a Python."""

    def _need_a_python(self) -> None:
        if self.shell:
            pytest.skip("a launcher needs a Python in the image")

    @promise_of_a_running_driver(Role.EXITS, Role.REPORTS)
    async def test_a_launcher_runs_in_the_commands_place_and_becomes_it(self, bench: Bench) -> None:
        self._need_a_python()
        async with bench.start(Role.EXITS, launcher=_LAUNCHER) as (container, log):
            assert await container.wait() == Exit(code=EXIT_CODE)
        assert log.streams == {"stdout": b"", "stderr": b"launched\n"}

    @promise_of_a_running_driver(Role.REPORTS)
    async def test_a_launcher_has_the_commands_environment_and_may_add_to_it(self, bench: Bench) -> None:
        self._need_a_python()
        async with bench.start(Role.REPORTS, environment={"GREETING": "hello"}, launcher=_LAUNCHER) as (container, log):
            assert (await container.wait()).code == 0
        found = bytes(log.streams["stdout"]).rstrip(b"\0").split(b"\0")
        assert {b"GREETING=hello", b"FND_TEST_LAUNCHED=yes"} < set(found)
        assert any(variable.startswith(f"{MARK}=".encode()) for variable in found)

    @promise_of_a_running_driver(Role.COPIES, Role.REPORTS)
    async def test_a_launcher_leaves_the_standard_streams_to_the_command(self, bench: Bench) -> None:
        self._need_a_python()
        async with bench.start(Role.COPIES, launcher=_LAUNCHER) as (container, log):
            await container.streams.send_all(b"x")
            assert await container.streams.receive_some(100) == b"x"
            await container.streams.send_eof()
            assert (await container.wait()).code == 0
        assert log.streams["stderr"].startswith(b"launched\n")

    @promise_of_a_running_driver(Role.EXITS, Role.REPORTS)
    async def test_a_launcher_that_fails_is_how_the_container_ends(self, bench: Bench) -> None:
        self._need_a_python()
        async with bench.start(Role.EXITS, launcher="import sys; sys.exit('no')") as (container, log):
            assert (await container.wait()).code == 1
        assert log.streams == {"stdout": b"", "stderr": b"no\n"}
