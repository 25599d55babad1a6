"""The chain of small programs (util-linux) through which a container's command is started with less than it would have.

Each executes the next in the same process: `setpriv` gives up user and privileges, `prlimit` sets limits. Nothing the
function's configuration says may reach them: a variable such as LD_PRELOAD would run code of the function's in them,
before they have done their work. Those variables are set by `env`, last in the chain.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from typing import Final

import attrs

from fnd_process.settings import ProcessSettings

MIB: Final = 1 << 20

_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What the C library and its loader heed, and ignore in privileged programs (glibc's unsecvars.h and its like), and what
# makes a shell run something.
_LOADER_PREFIXES: Final = ("LD_", "MALLOC_", "GLIBC_", "GCONV_", "BASH")
_LOADER_NAMES: Final = frozenset(
    {
        "ENV",
        "GETCONF_DIR",
        "HOSTALIASES",
        "LOCALDOMAIN",
        "LOCPATH",
        "NIS_PATH",
        "NLSPATH",
        "PS4",
        "RESOLV_HOST_CONF",
        "RES_OPTIONS",
        "SHELLOPTS",
        "TZDIR",
    }
)


def split_environment(environment: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables that the chain may see, and those that only the command may."""
    ours: dict[str, str] = {}
    theirs: dict[str, str] = {}
    for name, value in environment.items():
        harmless = _PLAIN_NAME.fullmatch(name) and not name.startswith(_LOADER_PREFIXES) and name not in _LOADER_NAMES
        (ours if harmless else theirs)[name] = value
    return ours, theirs


@attrs.frozen
class Tools:
    """The programs of the chain, or None for those this machine lacks."""

    setpriv: str | None
    prlimit: str | None
    env: str

    @classmethod
    def find(cls) -> Tools:
        """Look for them."""
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/bin", "/bin"])
        return cls(
            setpriv=shutil.which("setpriv", path=path),
            prlimit=shutil.which("prlimit", path=path),
            env=shutil.which("env", path=path) or "/usr/bin/env",
        )

    def drop_user(self, user: int) -> list[str]:
        """Return the arguments that make the rest run as a user and group of that number, without any privilege."""
        assert self.setpriv is not None
        return [self.setpriv, f"--reuid={user}", f"--regid={user}", "--clear-groups", *_NO_CAPABILITIES]

    def limit(self, settings: ProcessSettings, pids: int | None, data: int | None) -> list[str]:
        """Return the arguments that limit the rest, `pids` by count and `data` in bytes where they are not None."""
        if self.prlimit is None:
            return []
        limits = [
            f"--nofile={settings.open_files}",
            f"--fsize={settings.file_size * MIB}",
            "--core=0",
        ]
        if pids is not None:
            limits.append(f"--nproc={pids}")
        if data is not None:
            limits.append(f"--data={data}")
        return [self.prlimit, *limits]

    def on_host(self, user: int | None, privileged: bool) -> list[str]:
        """Return the arguments that give up, without a sandbox, all that can be, and die with the daemon.

        `user` is the one to become, or None to stay; `privileged` says whether the daemon may drop capabilities.
        """
        if self.setpriv is None:
            return []
        if user is not None:
            arguments = self.drop_user(user)
        else:
            arguments = [self.setpriv, *(_NO_CAPABILITIES if privileged else _NO_INHERITED)]
        return [*arguments, "--no-new-privs", "--pdeathsig=KILL"]

    def set_variables(self, environment: Mapping[str, str]) -> list[str]:
        """Return the arguments that add these variables for the command alone; none for none."""
        if not environment:
            return []
        return [self.env, "--", *(f"{name}={value}" for name, value in environment.items())]


_NO_INHERITED: Final = ["--inh-caps=-all", "--ambient-caps=-all"]
_NO_CAPABILITIES: Final = [*_NO_INHERITED, "--bounding-set=-all"]


def data_limit(memory: int) -> int:
    """Return the private memory, in bytes, that one process may map where only the watchdog keeps `memory` (MiB).

    It bounds what can be taken between two looks of the watchdog, and leaves room for what programs map and never
    touch, the stacks of threads above all.
    """
    return (4 * memory + 512) * MIB
