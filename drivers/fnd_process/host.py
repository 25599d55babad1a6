"""Containers without bubblewrap: plain processes of this host, with fewer rights than the daemon where that can be."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from fnd_process.launch import SOCKETS, TEMPORARY, Launched, Start, container_environment, join, spawn
from fnd_process.privileges import Tools, split_environment
from fnd_process.sandbox import search_path
from fnd_process.settings import ProcessSettings


@attrs.frozen(kw_only=True)
class Host:
    """Starts containers as plain processes."""

    tools: Tools
    settings: ProcessSettings
    privileged: bool
    """Whether the daemon is root, and has capabilities to give up."""

    @property
    def directories(self) -> Sequence[str]:
        """What a container's own directory must hold."""
        return (SOCKETS, TEMPORARY)

    @property
    def own_processes(self) -> int:
        """None but the function's."""
        return 0

    def launch(self, start: Start) -> Launched:
        """Start a container's process. Raises ContainerFailed; then nothing is left of it."""
        program = start.program
        temporary = str(start.directory / TEMPORARY)
        path = search_path(program, str(program.environment))
        defaults = {"PATH": path, "HOME": temporary, "TMPDIR": temporary, "LANG": "C.UTF-8"}
        environment = container_environment(start, str(start.directory / SOCKETS), defaults)
        for_all, for_command = split_environment(environment)
        # Without a user id of its own a container would be counted together with all else its user runs.
        pids = None if start.user is None else self.settings.pids
        return spawn(
            start,
            [
                *join(start.cgroup),
                *self.tools.on_host(start.user, self.privileged),
                *self.tools.limit(self.settings, pids, start.data_limit),
                *self.tools.set_variables(for_command),
                *program.host_command,
            ],
            for_all,
            directory=program.function,
        )
