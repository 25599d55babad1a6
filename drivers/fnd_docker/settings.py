"""The settings of the Docker driver: the table [plugins.docker], checked."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from fnd.hookspecs import plugin_settings

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
_HOST: Final = re.compile(r"unix:///.+|tcp://[^/:]+:\d+")
_NETWORK: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")
_USER: Final = re.compile(r"\d+:\d+")


@attrs.frozen(kw_only=True)
class DockerSettings:
    """Where the engine is, and what its containers may do; docs/docker-driver.md tells each."""

    host: str = attrs.field(
        factory=lambda: os.environ.get("DOCKER_HOST", DEFAULT_HOST),
        metadata=plugin_settings.text(_HOST, "unix:///PATH or tcp://HOST:PORT"),
    )
    """unix:///PATH, or tcp://HOST:PORT, with TLS if `certificates` is given."""
    certificates: str = attrs.field(
        factory=lambda: os.environ.get("DOCKER_CERT_PATH", ""), metadata=plugin_settings.directory()
    )
    """The directory of ca.pem, cert.pem and key.pem for tcp://; "" is no TLS."""
    user: str = attrs.field(default="1000:1000", metadata=plugin_settings.text(_USER, "UID:GID"))
    """User and group of functions' processes, by number."""
    pids: int = attrs.field(default=50, metadata=plugin_settings.whole(1, 100_000))
    """Processes and threads in one container."""
    open_files: int = attrs.field(default=350, metadata=plugin_settings.whole(16, 1_000_000))
    """File descriptors of one process."""
    tmp_size: int = attrs.field(default=64, metadata=plugin_settings.whole(1, 100_000))
    """MiB of a container's /tmp, in memory."""
    network: str = attrs.field(default="bridge", metadata=plugin_settings.text(_NETWORK, "the name of a network"))
    """The engine's network for functions that ask for one: `network: true` in the func.yaml they were built of."""
    network_always: bool = attrs.field(default=False, metadata=plugin_settings.switch())
    """Whether all containers are in it, asked or not."""
    image_disk_limit: int = attrs.field(default=20_480, metadata=plugin_settings.whole(0, 1_000_000_000))
    """MiB that images pulled or built here take at most, the least recently used going first; 0 is no limit."""
    writable: bool = attrs.field(default=False, metadata=plugin_settings.switch())
    """Whether containers may write to their own root file system."""
    privilege_gain: bool = attrs.field(default=False, metadata=plugin_settings.switch())
    """Whether processes may gain privileges by what they execute (setuid)."""
    capabilities: bool = attrs.field(default=False, metadata=plugin_settings.switch())
    """Whether containers keep the capabilities that the engine gives by default."""


def read_settings(table: Mapping[str, Any]) -> DockerSettings:
    """Check the table. Raises ConfigurationError, naming the setting."""
    return plugin_settings.read("docker", DockerSettings, table)


def instance_file(data_directory: Path) -> Path:
    """Return where it is kept which instance this is; it is there once the driver was used."""
    return data_directory / "instance"
