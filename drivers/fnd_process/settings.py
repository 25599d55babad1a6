"""The settings of the process driver: the table [plugins.process], checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from fnd.hookspecs import ConfigurationError

_TABLE: Final = "plugins.process"
AUTO: Final = "auto"
OFF: Final = "off"
REQUIRE: Final = "require"


def _error(name: str, must: str, value: object) -> ConfigurationError:
    return ConfigurationError(f"{_TABLE}.{name} must be {must}, not {value!r}")


def _mode(value: object, name: str) -> str:
    if value not in (AUTO, OFF, REQUIRE):
        raise _error(name, '"auto", "off" or "require"', value)
    return str(value)


def _whole(value: object, name: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _error(name, f"a whole number from {least} to {most}", value)
    return value


def _seconds(value: object, name: str, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise _error(name, f"seconds from 0 to {most:g}", value)
    return float(value)


def _paths(value: object, name: str) -> tuple[Path, ...]:
    what = "a list of absolute paths"
    if not isinstance(value, list | tuple):
        raise _error(name, what, value)
    for path in value:
        if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
            raise _error(name, what, value)
    return tuple(Path(path) for path in value)


@attrs.frozen(kw_only=True)
class ProcessSettings:
    """How containers are confined and what they may use; docs/process-driver.md tells each."""

    bubblewrap: str = AUTO
    """"auto": where it works; "require": refuse to start without; "off"."""
    cgroup: str = AUTO
    """The same for a cgroup v2 of the daemon's own."""
    pids: int = 50
    """Processes and threads in one container."""
    open_files: int = 350
    """File descriptors of one process."""
    file_size: int = 1024
    """MiB of one file that a function writes."""
    tmp_size: int = 64
    """MiB of a sandboxed container's /tmp, and of its /dev/shm."""
    stop_grace: float = 1.0
    """Seconds between asking a container to end (SIGTERM) and making it (SIGKILL)."""
    max_bundle_size: int = 512
    """MiB of a function's own files, less what requirements.txt installs."""
    max_bundle_files: int = 20_000
    """Files, directories and links in a function's directory."""
    extra_paths: tuple[Path, ...] = ()
    """Paths of the host that sandboxed functions see, read-only, beside /usr: a language in /opt, for one."""


def read_settings(table: Mapping[str, Any]) -> ProcessSettings:
    """Check the table. Raises ConfigurationError, naming the setting."""
    known = {field.name for field in attrs.fields(ProcessSettings)}
    for name in table:
        if name not in known:
            raise ConfigurationError(f"{_TABLE}.{name} is no setting; known are {', '.join(sorted(known))}")
    given = ProcessSettings(**table)
    return ProcessSettings(
        bubblewrap=_mode(given.bubblewrap, "bubblewrap"),
        cgroup=_mode(given.cgroup, "cgroup"),
        pids=_whole(given.pids, "pids", 1, 100_000),
        open_files=_whole(given.open_files, "open_files", 16, 1_000_000),
        file_size=_whole(given.file_size, "file_size", 1, 1_000_000),
        tmp_size=_whole(given.tmp_size, "tmp_size", 1, 100_000),
        stop_grace=_seconds(given.stop_grace, "stop_grace", 60),
        max_bundle_size=_whole(given.max_bundle_size, "max_bundle_size", 1, 100_000),
        max_bundle_files=_whole(given.max_bundle_files, "max_bundle_files", 1, 1_000_000),
        extra_paths=_paths(given.extra_paths, "extra_paths"),
    )
