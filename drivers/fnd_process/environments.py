"""Python environments: what a requirements.txt asks for, installed once, read-only, and shared by all who ask for it.

An environment's name is a digest of its requirements and interpreter, so a function whose code alone changed is built
again without installing anything.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import attrs
import trio

from fnd.hookspecs import BuildFailed, KeyedLock
from fnd_process.files import make_read_only, settle
from fnd_process.interpreters import Interpreter
from fnd_process.removal import remove_tree
from fnd_process.steps import Steps

REQUIREMENTS: Final = "requirements.txt"
BUILDING: Final = ".building-"
"""The start of the names of directories that are being made."""
_LAYOUT: Final = b"fnd python environment 1\n"
# An option, a path or a URL of a file: what it leads to is not in requirements.txt itself.
_ELSEWHERE: Final = re.compile(r"^\s*(?:-|\.|/|file:)|@\s*file:|^[^#;\[=<>~!@\n]*/", re.MULTILINE)


@attrs.frozen
class Environments:
    """The environments in a directory."""

    directory: Path
    steps: Steps
    _making: KeyedLock = attrs.field(factory=KeyedLock, init=False)

    def path(self, key: str) -> Path:
        """Return where the environment of this key is, or would be."""
        return self.directory / key

    def usable(self, key: str) -> bool:
        """Whether it is there, and its interpreter still is."""
        return (self.path(key) / "bin" / "python").exists()

    async def make(self, function: Path, interpreter: Interpreter, digest: str, progress: Callable[[str], None]) -> str:
        """Install the requirements.txt of a function's directory, unless they are; return the environment's key.

        `digest` is that of the whole directory. Raises BuildFailed; failed or cancelled, nothing is left.
        """
        key = await trio.to_thread.run_sync(_key, function, interpreter, digest, limiter=self.steps.limiter)
        async with self._making.of(key):
            if self.usable(key):
                progress("requirements.txt: already installed")
            else:
                await self._install(key, function, interpreter, progress)
        return key

    async def _install(
        self, key: str, function: Path, interpreter: Interpreter, progress: Callable[[str], None]
    ) -> None:
        building = self.directory / f"{BUILDING}{secrets.token_hex(8)}"
        try:
            await self._fill(building, function, interpreter, progress)
            await trio.to_thread.run_sync(self._finish, building, self.path(key), limiter=self.steps.limiter)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(remove_tree, building, limiter=self.steps.limiter)

    async def _fill(
        self, building: Path, function: Path, interpreter: Interpreter, progress: Callable[[str], None]
    ) -> None:
        pip_is_here = importlib.util.find_spec("pip") is not None
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        variables |= {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}

        async def run(what: str, *arguments: str | Path) -> None:
            words = [str(argument) for argument in arguments]
            await self.steps.run(words, what=what, directory=function, environment=variables, progress=progress)

        python = building / "bin" / "python"
        without_pip = ("--without-pip",) if pip_is_here else ()
        await run("Making a Python environment", interpreter.executable, "-I", "-m", "venv", *without_pip, building)
        temporary = building / "tmp"
        await trio.to_thread.run_sync(temporary.mkdir, limiter=self.steps.limiter)
        variables["TMPDIR"] = str(temporary)  # where pip, if killed, leaves what it was at
        pip = (sys.executable, "-I", "-m", "pip", "--python", building) if pip_is_here else (python, "-I", "-m", "pip")
        await run("Installing requirements.txt with pip", *pip, *_INSTALL, "-r", REQUIREMENTS)
        try:
            await self.compile(python, building / "lib", _ignore)
        except BuildFailed:  # packages bring such files as tests, or for other versions
            progress("some of what was installed is not valid Python, and was not compiled")

    async def compile(self, python: Path, directory: Path, progress: Callable[[str], None]) -> None:
        """Compile all modules in a directory, since nothing can be written there later. Raises BuildFailed.

        The bytecode is never checked against its source, which spares each start a look at every source file.
        """
        arguments = [str(python), "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
        await self.steps.run(
            [*arguments, str(directory)], what="Compiling", directory=directory, environment={}, progress=progress
        )

    def _finish(self, building: Path, final: Path) -> None:
        """Make it what it will be, and put it where it will be looked for."""
        remove_tree(building / "tmp")
        _move_paths(building, final)
        make_read_only(building)
        remove_tree(final)  # of an interpreter that is gone
        settle(building, final)


def _ignore(_line: str) -> None:
    """Take a line that nobody needs."""


_INSTALL: Final[Sequence[str]] = (
    "install",
    "--no-compile",
    "--no-input",
    "--disable-pip-version-check",
    "--no-warn-script-location",
    "--progress-bar=off",
)


def _key(function: Path, interpreter: Interpreter, digest: str) -> str:
    """Return the digest of all that decides what is installed."""
    try:
        requirements = (function / REQUIREMENTS).read_bytes()
    except OSError as error:
        raise BuildFailed(f"{REQUIREMENTS} cannot be read: {error.strerror}") from error
    parts = [_LAYOUT, os.fsencode(interpreter.executable), interpreter.version.encode()]
    parts += [platform.machine().encode(), requirements]
    if _ELSEWHERE.search(requirements.decode(errors="replace")):
        parts.append(digest.encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _move_paths(building: Path, final: Path) -> None:
    """Make scripts and pyvenv.cfg name the place to which the environment will be moved."""
    files = [building / "pyvenv.cfg", *(path for path in (building / "bin").iterdir() if not path.is_symlink())]
    before, after = os.fsencode(building), os.fsencode(final)
    for path in files:
        content = path.read_bytes()
        if before in content and (path.name == "pyvenv.cfg" or content.startswith(b"#!")):
            path.write_bytes(content.replace(before, after))
