"""The settings of the process driver: the table [plugins.process], checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from fnd.hookspecs import plugin_settings

AUTO: Final = "auto"
OFF: Final = "off"
REQUIRE: Final = "require"
_MODE: Final = plugin_settings.choice(AUTO, OFF, REQUIRE)


@attrs.frozen(kw_only=True)
class ProcessSettings:
    """How containers are confined and what they may use; docs/process-driver.md tells each."""

    bubblewrap: str = attrs.field(default=AUTO, metadata=_MODE)
    """"auto": where it works; "require": refuse to start without; "off"."""
    cgroup: str = attrs.field(default=AUTO, metadata=_MODE)
    """The same for a cgroup v2 of the daemon's own."""
    pids: int = attrs.field(default=50, metadata=plugin_settings.whole(1, 100_000))
    """Processes and threads in one container."""
    open_files: int = attrs.field(default=350, metadata=plugin_settings.whole(16, 1_000_000))
    """File descriptors of one process."""
    file_size: int = attrs.field(default=1024, metadata=plugin_settings.whole(1, 1_000_000))
    """MiB of one file that a function writes."""
    tmp_size: int = attrs.field(default=64, metadata=plugin_settings.whole(1, 100_000))
    """MiB of a sandboxed container's /tmp, and of its /dev/shm."""
    stop_grace: float = attrs.field(default=1.0, metadata=plugin_settings.seconds(60))
    """Seconds between asking a container to end (SIGTERM) and making it (SIGKILL)."""
    max_bundle_size: int = attrs.field(default=512, metadata=plugin_settings.whole(1, 100_000))
    """MiB of a function's own files, less what requirements.txt installs."""
    max_bundle_files: int = attrs.field(default=20_000, metadata=plugin_settings.whole(1, 1_000_000))
    """Files, directories and links in a function's directory."""
    extra_paths: tuple[Path, ...] = attrs.field(default=(), metadata=plugin_settings.paths())
    """Paths of the host that sandboxed functions see, read-only, beside /usr: a language in /opt, for one."""


def read_settings(table: Mapping[str, Any]) -> ProcessSettings:
    """Check the table. Raises ConfigurationError, naming the setting."""
    return plugin_settings.read("process", ProcessSettings, table)
