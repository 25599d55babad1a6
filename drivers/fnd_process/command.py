"""From a func.yaml's entrypoint and cmd to a command that this host can start, or a clear word on why it cannot.

Fn's images have the function in /function and its environment in /python; func.yaml files say so, and mean the
bundle's own.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from fnd.hookspecs import FunctionFile
from fnd_process.interpreters import Interpreter
from fnd_process.sandbox import FUNCTION, PYTHON, SEARCH_PATH

_FUNCTION_PREFIX: Final = re.compile(rf"(?:^|(?<==)){FUNCTION}(?=/|$)")
_PYTHON_PREFIX: Final = re.compile(rf"(?:^|(?<==)){PYTHON}(?=/|$)")
_PYTHON_NAME: Final = re.compile(r"python[0-9.]*")


class CommandUnusable(Exception):
    """The command cannot be started; the message says why, for a person."""


def command_words(file: FunctionFile, has_func_py: bool) -> tuple[str, ...]:
    """Return the command that a func.yaml means, as it says it. Raises CommandUnusable if it means none."""
    words = file.entrypoint + file.cmd
    if words:
        return words
    if file.python and has_func_py:
        # What Fn's build of a Python function makes of no entrypoint at all.
        return ("fdk", "func.py", "handler") if file.format == "http-stream" else ("python", "func.py")
    raise CommandUnusable(
        "func.yaml has no entrypoint: say what to run, such as `entrypoint: ./server`"
        if not file.python
        else "func.yaml has no entrypoint, and there is no func.py to run without one"
    )


@attrs.frozen(kw_only=True)
class Resolver:
    """Finds what the words of a command stand for."""

    function: Path
    """The function's own files."""
    environment: Path | None
    """What its requirements.txt installed."""
    interpreter: Interpreter | None
    """For runtime python."""
    visible: Sequence[Path] | None
    """Where programs of the host may lie, if not everywhere."""

    def on_host(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return the command where the function's files are where they are. Raises CommandUnusable."""
        return self._resolve(words, str(self.function))

    def in_sandbox(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return the command where the function's files are at /function. Raises CommandUnusable."""
        return self._resolve(words, FUNCTION)

    def _resolve(self, words: Sequence[str], place: str) -> tuple[str, ...]:
        program, *arguments = words
        if self.environment is not None:
            environment = str(self.environment)
            arguments = [_PYTHON_PREFIX.sub(lambda _: environment, argument) for argument in arguments]
        arguments = [_FUNCTION_PREFIX.sub(lambda _: place, argument) for argument in arguments]
        return (*self._program(program, place), *arguments)

    def _program(self, word: str, place: str) -> tuple[str, ...]:
        if word.startswith(f"{PYTHON}/bin/"):
            word = word.removeprefix(f"{PYTHON}/bin/")
            return self._of_environment(word) or self._of_interpreter(word) or self._missing(word)
        if word.startswith(f"{FUNCTION}/"):
            return self._of_function(word.removeprefix(f"{FUNCTION}/"), place)
        if word.startswith("/"):
            return self._of_system(word, word)
        if "/" in word:
            return self._of_function(word, place)
        found = self._of_environment(word) or self._of_interpreter(word)
        if found:
            return found
        if (self.function / word).is_file():
            return self._of_function(word, place)
        system = shutil.which(word, path=SEARCH_PATH)
        return self._missing(word) if system is None else self._of_system(word, system)

    def _of_environment(self, name: str) -> tuple[str, ...]:
        """Return the command for a program that requirements.txt installed, or () if it is none."""
        if self.environment is None or "/" in name:
            return ()
        program = self.environment / "bin" / name
        if not os.access(program, os.X_OK):
            return ()
        python = str(self.environment / "bin" / "python")
        with program.open("rb") as file:
            is_script = file.read(2) == b"#!"
        # Naming the interpreter spares the kernel a look at the script, and a limit on the length of its first line.
        return (python, str(program)) if is_script else (str(program),)

    def _of_interpreter(self, name: str) -> tuple[str, ...]:
        """Return the command for the runtime's interpreter itself, or () if it is not meant."""
        if self.interpreter is None or not _PYTHON_NAME.fullmatch(name):
            return ()
        return (str(self.interpreter.executable),)

    def _of_function(self, name: str, place: str) -> tuple[str, ...]:
        path = self.function / name
        if not path.resolve().is_relative_to(self.function.resolve()) or not path.is_file():
            raise CommandUnusable(f"the command {name} is not among the function's files")
        command = os.path.normpath(f"{place}/{name}")
        if os.access(path, os.X_OK):
            return (command,)
        if self.interpreter is not None and name.endswith(".py"):
            return (*(self._of_environment("python") or self._of_interpreter("python")), command)
        raise CommandUnusable(f"the command {name} is not executable; `chmod +x {name}` makes it so")

    def _of_system(self, word: str, program: str) -> tuple[str, ...]:
        if not os.access(program, os.X_OK) or Path(program).is_dir():
            raise CommandUnusable(f"the command {word} is no program of this machine")
        real = Path(program).resolve()
        if self.visible is not None and not all(
            any(path.is_relative_to(seen) for seen in self.visible) for path in (Path(program), real)
        ):
            raise CommandUnusable(
                f"the command {word} is {real}, which sandboxed functions do not see; add its directory to "
                "plugins.process.extra_paths"
            )
        return (program,)

    def _missing(self, word: str) -> tuple[str, ...]:
        if self.interpreter is None:
            raise CommandUnusable(f"the command {word} is neither among the function's files nor on this machine")
        raise CommandUnusable(
            f"the command {word} is not installed: add the package that has it to requirements.txt"
            + (" (for fdk, a line `fdk`)" if word == "fdk" else "")
        )
