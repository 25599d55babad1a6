"""Python interpreters of this host, by the `runtime` of a func.yaml."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import attrs

from fnd.hookspecs import BuildFailed
from fnd_process.sandbox import SEARCH_PATH

_QUERY: Final = (
    "import json, sys;"
    "print(json.dumps([getattr(sys, '_base_executable', sys.executable), sys.base_prefix, sys.version.split()[0]]))"
)
_QUERY_TIME: Final = 10.0
"""Seconds."""


@attrs.frozen
class Interpreter:
    """An installed Python."""

    executable: Path
    """Itself, not a link to it, which a sandbox might not show."""
    prefix: Path
    """Where its library is."""
    version: str

    @property
    def prefixes(self) -> tuple[Path, ...]:
        """The directories that a sandbox must show for it to run, beside /usr."""
        places = (self.prefix, self.prefix.resolve(), self.executable.parent.parent)
        return tuple(dict.fromkeys(place for place in places if not place.is_relative_to("/usr")))

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return {"executable": str(self.executable), "prefix": str(self.prefix), "version": self.version}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Interpreter:
        """Return what `to_json` was given."""
        return cls(Path(value["executable"]), Path(value["prefix"]), value["version"])


def own_interpreter() -> Interpreter:
    """Return the interpreter that runs the daemon."""
    executable = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    return Interpreter(executable, Path(sys.base_prefix), sys.version.split()[0])


def find_interpreter(runtime: str) -> Interpreter:
    """Return the interpreter for a runtime such as "python" or "python3.11". Synchronous, and may start it.

    Any version the runtime leaves open is the daemon's own. Raises BuildFailed.
    """
    wanted = runtime.removeprefix("python")
    own = own_interpreter()
    if _is_version(own.version, wanted):
        return own
    path = os.pathsep.join([os.environ.get("PATH", ""), SEARCH_PATH])
    program = shutil.which(f"python{wanted}", path=path)
    found = None if program is None else _query(program)
    if found is None or not _is_version(found.version, wanted):
        raise BuildFailed(
            f"func.yaml asks for runtime {runtime}, which is not installed here; install it, or say "
            f"runtime: python{'.'.join(own.version.split('.')[:2])} (or just python)"
        )
    return found


def _is_version(version: str, wanted: str) -> bool:
    parts = [part for part in wanted.split(".") if part]
    return version.split(".")[: len(parts)] == parts


def _query(program: str) -> Interpreter | None:
    try:
        done = subprocess.run(
            [program, "-I", "-c", _QUERY],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_QUERY_TIME,
            check=True,
        )
        executable, prefix, version = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Interpreter(Path(executable).resolve(), Path(prefix), version)
