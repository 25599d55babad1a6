"""The program that a codec wants run in a container before the function's own, by the daemon's Python."""

from __future__ import annotations

import attrs

from fnd_process.interpreters import own_interpreter
from fnd_process.launch import Program


def with_launcher(program: Program, launcher: str) -> Program:
    """Return the program that runs `launcher`, unless it is "", which then becomes `program`."""
    if not launcher:
        return program
    python = own_interpreter()
    command = (str(python.executable), "-I", "-S", "-c", launcher)
    return attrs.evolve(
        program,
        host_command=command + program.host_command,
        sandbox_command=command + program.sandbox_command,
        prefixes=tuple(dict.fromkeys(program.prefixes + python.prefixes)),
    )
