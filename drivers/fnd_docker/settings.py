"""The settings of the Docker driver: the table [plugins.docker], checked."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from fnd.hookspecs import ConfigurationError

_TABLE: Final = "plugins.docker"
DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
_HOST: Final = re.compile(r"unix:///.+|tcp://[^/:]+:\d+")
_NETWORK: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")
_USER: Final = re.compile(r"\d+:\d+")


def _error(name: str, must: str, value: object) -> ConfigurationError:
    return ConfigurationError(f"{_TABLE}.{name} must be {must}, not {value!r}")


def _text(value: object, name: str, form: re.Pattern[str], what: str) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise _error(name, what, value)
    return value


def _whole(value: object, name: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _error(name, f"a whole number from {least} to {most}", value)
    return value


def _switch(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise _error(name, "true or false", value)
    return value


def _directory(value: object, name: str) -> str:
    if not isinstance(value, str) or (value and not Path(value).is_absolute()):
        raise _error(name, "an absolute path", value)
    return value


@attrs.frozen(kw_only=True)
class DockerSettings:
    """Where the engine is, and what its containers may do; docs/docker-driver.md tells each."""

    host: str = attrs.field(factory=lambda: os.environ.get("DOCKER_HOST", DEFAULT_HOST))
    """unix:///PATH, or tcp://HOST:PORT, with TLS if `certificates` is given."""
    certificates: str = attrs.field(factory=lambda: os.environ.get("DOCKER_CERT_PATH", ""))
    """The directory of ca.pem, cert.pem and key.pem for tcp://; "" is no TLS."""
    user: str = "1000:1000"
    """User and group of functions' processes, by number."""
    pids: int = 50
    """Processes and threads in one container."""
    open_files: int = 350
    """File descriptors of one process."""
    tmp_size: int = 64
    """MiB of a container's /tmp, in memory."""
    network: str = "bridge"
    """The engine's network for functions that ask for one: `network: true` in the func.yaml they were built of."""
    network_always: bool = False
    """Whether all containers are in it, asked or not."""
    image_disk_limit: int = 20_480
    """MiB that images pulled or built here take at most, the least recently used going first; 0 is no limit."""
    writable: bool = False
    """Whether containers may write to their own root file system."""
    privilege_gain: bool = False
    """Whether processes may gain privileges by what they execute (setuid)."""
    capabilities: bool = False
    """Whether containers keep the capabilities that the engine gives by default."""


def read_settings(table: Mapping[str, Any]) -> DockerSettings:
    """Check the table. Raises ConfigurationError, naming the setting."""
    known = {field.name for field in attrs.fields(DockerSettings)}
    for name in table:
        if name not in known:
            raise ConfigurationError(f"{_TABLE}.{name} is no setting; known are {', '.join(sorted(known))}")
    given = DockerSettings(**table)
    return DockerSettings(
        host=_text(given.host, "host", _HOST, "unix:///PATH or tcp://HOST:PORT"),
        certificates=_directory(given.certificates, "certificates"),
        user=_text(given.user, "user", _USER, "UID:GID"),
        pids=_whole(given.pids, "pids", 1, 100_000),
        open_files=_whole(given.open_files, "open_files", 16, 1_000_000),
        tmp_size=_whole(given.tmp_size, "tmp_size", 1, 100_000),
        network=_text(given.network, "network", _NETWORK, "the name of a network"),
        network_always=_switch(given.network_always, "network_always"),
        image_disk_limit=_whole(given.image_disk_limit, "image_disk_limit", 0, 1_000_000_000),
        writable=_switch(given.writable, "writable"),
        privilege_gain=_switch(given.privilege_gain, "privilege_gain"),
        capabilities=_switch(given.capabilities, "capabilities"),
    )


def instance_file(data_directory: Path) -> Path:
    """Return where it is kept which instance this is; it is there once the driver was used."""
    return data_directory / "instance"
