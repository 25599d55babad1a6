"""Running a program as a step of a build: its output goes to a person line by line, and nothing is left of it."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio

from fnd.hookspecs import BuildFailed
from fnd_process.privileges import Tools
from fnd_process.processes import MARKER
from fnd_process.spawner import Spawner
from fnd_process.tree import HostTree

LAST_LINES: Final = 30
"""Lines of output that an error has."""
LINE_LENGTH: Final = 500
"""Characters of a line; what follows is cut."""
KILL_TIME: Final = 5.0
"""Seconds in which what a step started must be gone."""
_ESCAPE: Final = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


@attrs.frozen
class Steps:
    """Runs steps."""

    spawner: Spawner
    tools: Tools
    limiter: trio.CapacityLimiter

    async def run(
        self,
        arguments: Sequence[str],
        *,
        what: str,
        directory: Path,
        environment: Mapping[str, str],
        progress: Callable[[str], None],
    ) -> None:
        """Run a program to its end. Raises BuildFailed, which names `what` and has the end of the output, if it fails.

        Cancelled, or at its end, all that it started is killed.
        """
        step_id = secrets.token_hex(13)
        process, pidfd = await self.spawner.run(
            partial(self._start, arguments, what, directory, {**environment, MARKER: step_id})
        )
        assert process.stdout is not None
        stream = trio.lowlevel.FdStream(os.dup(process.stdout.fileno()))
        process.stdout.close()
        last: deque[str] = deque(maxlen=LAST_LINES)

        def take(line: str) -> None:
            last.append(line)
            progress(line)

        try:
            await _read_lines(stream, take)
            await trio.lowlevel.wait_readable(pidfd)
        finally:
            stream.close()
            tree = HostTree(pid=process.pid, pidfd=pidfd, container_id=step_id, user=None, cgroup=None)
            with trio.CancelScope(shield=True):
                kill = partial(tree.kill, time.monotonic() + KILL_TIME)
                await trio.to_thread.run_sync(kill, limiter=self.limiter)
            process.poll()
            os.close(pidfd)
        if process.returncode != 0:
            raise BuildFailed("\n".join([f"{what} failed (exit code {process.returncode}):", *last]))

    def _start(
        self, arguments: Sequence[str], what: str, directory: Path, environment: Mapping[str, str]
    ) -> tuple[subprocess.Popen[bytes], int]:
        die_with_us = [] if self.tools.setpriv is None else [self.tools.setpriv, "--pdeathsig=KILL"]
        try:
            process = subprocess.Popen(
                [*die_with_us, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=directory,
                start_new_session=True,
            )
        except OSError as error:
            raise BuildFailed(f"{what} could not be started: {error}") from error
        try:
            return process, os.pidfd_open(process.pid)
        except OSError as error:
            process.kill()
            process.wait()
            raise BuildFailed(f"{what} could not be started: {error}") from error


async def _read_lines(stream: trio.lowlevel.FdStream, take: Callable[[str], None]) -> None:
    """Give `take` what can be read, line by line, each as a person should see it."""
    rest = b""
    while data := await stream.receive_some(65536):
        *lines, rest = (rest + data).replace(b"\r", b"\n").split(b"\n")
        rest = rest[: 4 * LINE_LENGTH]
        for line in lines:
            if text := _text(line):
                take(text)
    if text := _text(rest):
        take(text)


def _text(line: bytes) -> str:
    return _ESCAPE.sub(b"", line).decode(errors="replace").rstrip()[:LINE_LENGTH]
