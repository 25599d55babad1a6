"""The roles that the containers of the kit's tests play, and programs that play them wherever they can run."""

from __future__ import annotations

import enum
from importlib import resources
from pathlib import Path
from typing import Final

SOCKET: Final = "FND_TEST_SOCKET"
"""The variable that tells a container where to bind its socket, as it sees it."""
EXIT_CODE: Final = 7
LINES: Final = 20_000
MOST_CHILDREN: Final = 300
_PROGRAM: Final = "role"


class Role(enum.Enum):
    """What a container does. Its value is the argument that the kit's programs take."""

    WAITS = "waits"
    """Writes the line `ready` to standard output and lives until it is ended; SIGTERM ends it at once."""
    SERVES = "serves"
    """Binds a Unix socket at the path in FND_TEST_SOCKET, open to all users and listening as soon as it is there, and
    sends back what each connection sends."""
    COPIES = "copies"
    """Copies standard input to standard output; at its end, writes the line `end of input` to standard error and exits
    with 0. Started with the link STREAMS."""
    EXITS = "exits"
    """Exits by itself with code 7."""
    KILLED = "killed"
    """Ends by SIGKILL, soon and by itself."""
    TALKS = "talks"
    """Writes lines `stdout 0` to `stdout 19999` to standard output, then `stdout end` without a newline; the same,
    with `stderr`, to standard error; and exits with 0."""
    CHATTERS = "chatters"
    """Writes short lines to standard output and standard error without end."""
    REPORTS = "reports"
    """Writes its environment to standard output as /proc/self/environ has it, and exits with 0."""
    STUBBORN = "stubborn"
    """Has a child, ignores SIGTERM as it does, writes the line `ready` to standard output, and lives for ever."""
    LEAVES_CHILDREN = "leaves-children"
    """Starts children that ignore SIGTERM and live for ever; some hold its output open, some have left its session or
    lost their parent. Then writes the line `ready` to standard output and exits with 0."""
    TAKES_MEMORY = "takes-memory"
    """Takes ever more memory, 4 MiB every few milliseconds."""
    FORKS = "forks"
    """Starts up to 300 children that live for ever, with a line `forked` on standard output for each; then, or when it
    may start no more, writes the line `ready` and lives on, or ends."""
    COMPUTES = "computes"
    """Writes the line `ready` to standard output and uses processors without end, as does a child of its."""
    BUILT = "built"
    """Writes the content of the file `word` beside it to standard output, and exits with 0. Made by the tests with the
    driver's own `build`."""
    UNUSABLE = "unusable"
    """An image that will never be startable: `ImageUnusable`."""


def write_function(directory: Path, role: Role, *, shell: bool = False) -> None:
    """Write a function into a directory that plays a role, with a func.yaml and the program that this names.

    It is a Python program, or, for images without a Python, one for any POSIX shell, which can play all roles but
    SERVES. The directory also has a file `word`, for BUILT.
    """
    name = f"{_PROGRAM}.sh" if shell else f"{_PROGRAM}.py"
    program = directory / name
    program.write_bytes(resources.files("fnd.testing").joinpath("programs", name).read_bytes())
    program.chmod(0o755)
    command = f"./{name}" if shell else f"python {name}"
    (directory / "func.yaml").write_text(
        f"name: {role.value}\nruntime: {'native' if shell else 'python'}\nentrypoint: {command} {role.value}\n"
    )
    (directory / "word").write_text("word")
