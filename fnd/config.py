# ruff: noqa: RUF009  the fields below are made by setting_field, which calls attrs.field
"""The daemon's settings: one class that the command line, the FND_ variables and docs/settings.md follow.

A setting is read, in this order, from a flag, from its FND_ variable, from the TOML file of `--config`, and
else has its default. Everything about one stands in its field below; `SETTINGS` has the descriptions.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from fnd.errors import ConfigurationError
from fnd.machine import memory_for_containers
from fnd.setting_fields import Setting, described, setting_field
from fnd.setting_kinds import (
    Choice,
    Directory,
    ListenAddress,
    Listeners,
    Seconds,
    Size,
    SocketPath,
    Switch,
    Tables,
    Whole,
    Word,
)

__all__ = [
    "SETTINGS",
    "ListenAddress",
    "ReloadedSettings",
    "Setting",
    "Settings",
    "load_settings",
    "reload_settings",
]

MIB: Final = 1 << 20
GIB: Final = 1 << 30

NOT_SETTINGS: Final = frozenset({"FND_CONFIG", "FND_FUZZ", "FND_REQUIRE_PARTS"})
"""FND_ variables that are not the daemon's settings: the CLI's file option, and the test suite's switches."""


@functools.cache
def _memory_at_start() -> int:
    """Return what was available when it was first asked: at a reload, containers that run would be missing in it."""
    return memory_for_containers()


def _memory(value: int) -> int:
    return value or _memory_at_start()


@attrs.frozen(kw_only=True)
class Settings:
    """The daemon's settings, all of them in force. Sizes are in bytes but for `memory`, times in seconds."""

    listen: tuple[str, ...] = setting_field(
        "Where callers reach functions: a TCP address or a Unix socket. Port 0 lets the kernel choose.",
        Listeners(),
        default=("127.0.0.1:8080",),
        default_text="127.0.0.1:8080",
    )
    data_directory: Path = setting_field(
        "Where the database, built functions and logs are kept.",
        Directory(),
        default_text="$STATE_DIRECTORY under systemd; /var/lib/fnd as root; else $XDG_DATA_HOME/fnd",
        flag="--data",
    )
    runtime_directory: Path = setting_field(
        "Where sockets and running containers' directories are, gone after a reboot. Keep its path short: "
        "functions' sockets are inside.",
        Directory(),
        default_text="$RUNTIME_DIRECTORY under systemd; /run/fnd as root; else $XDG_RUNTIME_DIR/fnd or /tmp/fnd-UID",
    )
    control: Path = setting_field(
        "The control socket, by which the fnd command reaches the daemon; for its owner and root alone.",
        SocketPath(),
        default=attrs.Factory(lambda self: self.runtime_directory / "control.sock", takes_self=True),
        default_text="control.sock in the runtime directory",
    )
    default_driver: str = setting_field(
        "The driver that takes images without a scheme.",
        Word(r"[a-z][a-z0-9_-]{0,62}", "a driver's name"),
        default="process",
    )
    management: bool = setting_field(
        "Serve /v2, metrics and control on TCP listeners too, to who has the management token. "
        "Who can manage can run code on this machine.",
        Switch(),
        default=False,
    )
    management_token: str = setting_field(
        "What a manager sends over TCP as Authorization: Bearer TOKEN. Not a flag, so that no process list shows it.",
        Word(r"[!-~]{16,512}", "16 to 512 printable ASCII characters without spaces"),
        default="",
        default_text="none",
        flag="",
        secret=True,
    )
    memory: int = setting_field(
        "Memory for all containers together; 0 takes what is available at start less a headroom of a tenth "
        "of the machine (256 MiB to 5 GiB).",
        Size(0, 1 << 30, unit=MIB),
        default=0,
        default_text="0, the machine's",
        unit="MiB",
        converter=_memory,
    )
    """MiB, never 0: 0 has become what the machine has."""
    max_pools: int = setting_field(
        "Function versions kept in mind at once; beyond it, the longest unused are forgotten.",
        Whole(1, 1_000_000),
        default=10_000,
    )
    max_waiting: int = setting_field(
        "Calls that may wait for one function; more are answered 429.", Whole(1, 1_000_000), default=1000
    )
    start_timeout: float = setting_field(
        "How long a container may take until it is ready.", Seconds(3600), default=5.0, unit="seconds"
    )
    pull_timeout: float = setting_field(
        "How long getting an image ready may take.", Seconds(), default=600.0, unit="seconds"
    )
    pause_after: float = setting_field(
        "How long a container may be idle before it is paused, so that it uses no processor until the next call; "
        "0 pauses none.",
        Seconds(86400, or_zero=True),
        default=5.0,
        unit="seconds",
    )
    keep_alive: str = setting_field(
        "How long idle containers are kept: fixed, for their fn's idle time-out; adaptive, as long as the gaps between "
        "its calls so far make another likely, at most for that, and ready again before one is expected.",
        Choice(("fixed", "adaptive")),
        default="fixed",
    )
    grace_period: float = setting_field(
        "How long running calls may take to finish when the daemon stops.",
        Seconds(),
        default=30.0,
        unit="seconds",
        reloadable=True,
    )
    call_records: int = setting_field(
        "Calls whose records are kept in memory: what fnd calls and fnd explain tell of the last ones.",
        Whole(0, 1_000_000),
        default=10_000,
    )
    call_history: int = setting_field(
        "Calls whose records are kept on disk; 0 writes none. Of more than 100 calls a second, those that failed, "
        "those that were cold and the slowest are written.",
        Whole(0, 10_000_000),
        default=100_000,
    )
    max_connections: int = setting_field(
        "Connections open at once on all listeners, and at most three quarters of the file descriptors that the daemon "
        "may have; more wait to be accepted.",
        Whole(1, 1_000_000),
        default=10_000,
    )
    max_start_line: int = setting_field(
        "The longest start line (method and URL) of a request.", Size(256, MIB), default=8192, unit="bytes"
    )
    max_header_size: int = setting_field(
        "All headers of a request together.", Size(1024, 16 * MIB), default=32768, unit="bytes"
    )
    max_body_size: int = setting_field(
        "The body of a request; 0 is no limit. Bodies are streamed, not held in memory.",
        Size(0, 1 << 50),
        default=0,
        unit="bytes",
    )
    max_response_header_size: int = setting_field(
        "All headers of a function's answer together.", Size(1024, 16 * MIB), default=65536, unit="bytes"
    )
    max_response_body_size: int = setting_field(
        "The body of a function's answer; 0 is no limit.", Size(0, 1 << 50), default=0, unit="bytes"
    )
    read_timeout: float = setting_field(
        "How long a caller may take to send a request's head, and how long it may pause within its body.",
        Seconds(),
        default=30.0,
        unit="seconds",
    )
    idle_timeout: float = setting_field(
        "How long a connection may be without a request before it is closed.",
        Seconds(),
        default=75.0,
        unit="seconds",
    )
    write_timeout: float = setting_field(
        "How long a caller may take none of an answer before its connection is closed.",
        Seconds(),
        default=60.0,
        unit="seconds",
    )
    log_level: str = setting_field(
        "The least serious events the daemon logs.",
        Choice(("debug", "info", "warning", "error")),
        default="info",
        reloadable=True,
    )
    log_format: str = setting_field(
        "How the daemon logs: lines for people, or JSON. auto is json under systemd.",
        Choice(("auto", "console", "json")),
        default="auto",
    )
    function_log_size: int = setting_field(
        "What is kept of the output of one call; more is cut, with a mark.",
        Size(1024, GIB),
        default=MIB,
        unit="bytes",
        reloadable=True,
    )
    function_log_keep: int = setting_field(
        "What is kept of the output of one function; the oldest goes first.",
        Size(MIB, 1 << 40),
        default=16 * MIB,
        unit="bytes",
        reloadable=True,
    )
    function_log_total: int = setting_field(
        "What is kept of the output of all functions together; the oldest goes first, whose ever it is.",
        Size(16 * MIB, 1 << 44),
        default=GIB,
        unit="bytes",
        reloadable=True,
    )
    plugins: Mapping[str, Mapping[str, Any]] = setting_field(
        "What each plugin is told: the tables [plugins.NAME] of the configuration file.",
        Tables(),
        default=attrs.Factory(dict),
        default_text="none",
    )

    @property
    def listen_addresses(self) -> tuple[ListenAddress, ...]:
        """`listen`, parsed."""
        return tuple(ListenAddress.parse(text) for text in self.listen)


SETTINGS: Final = described(Settings)
_BY_VARIABLE: Final = {setting.variable: setting for setting in SETTINGS.values() if setting.variable}


def load_settings(flags: Mapping[str, Any], config_file: Path | None, environment: Mapping[str, str]) -> Settings:
    """Return the settings in force.

    `flags` has values by setting name, text or of the setting's type; None and () mean that it was not given.
    An empty variable is one not set. Raises ConfigurationError, naming the setting, its value, where it was
    read and what is allowed.
    """
    values: dict[str, Any] = {}
    for name, value in _read_file(config_file).items():
        if name not in SETTINGS:
            raise _unknown(name, list(SETTINGS), str(config_file))
        values[name] = _read(SETTINGS[name], value, str(config_file))
    for variable, text in environment.items():
        if text and variable.startswith("FND_") and variable not in NOT_SETTINGS:
            if variable not in _BY_VARIABLE:
                raise _unknown(variable, list(_BY_VARIABLE), "the environment")
            setting = _BY_VARIABLE[variable]
            values[setting.name] = _read(setting, text, f"${variable}")
    for name, value in flags.items():
        if value is not None and value != ():
            values[name] = _read(SETTINGS[name], value, SETTINGS[name].flag)
    values.setdefault("data_directory", _default_data_directory(environment))
    values.setdefault("runtime_directory", default_runtime_directory(environment))
    settings = Settings(**values)
    _check_together(settings)
    return settings


def default_runtime_directory(environment: Mapping[str, str]) -> Path:
    """Return the runtime directory that is used where no setting names one."""
    if given := environment.get("RUNTIME_DIRECTORY"):  # systemd.exec(5): a list, of which the first is ours
        return Path(given.partition(":")[0])
    if os.geteuid() == 0:
        return Path("/run/fnd")
    if base := environment.get("XDG_RUNTIME_DIR"):
        return Path(base) / "fnd"
    return Path(f"/tmp/fnd-{os.geteuid()}")  # noqa: S108  the daemon checks that it owns it


def _default_data_directory(environment: Mapping[str, str]) -> Path:
    if given := environment.get("STATE_DIRECTORY"):
        return Path(given.partition(":")[0])
    if os.geteuid() == 0:
        return Path("/var/lib/fnd")
    base = environment.get("XDG_DATA_HOME")
    return (Path(base) if base else Path("~/.local/share").expanduser()) / "fnd"


def _read_file(config_file: Path | None) -> Mapping[str, Any]:
    if config_file is None:
        return {}
    import tomllib  # only who has a file pays for the parser at start

    try:
        return tomllib.loads(config_file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read {config_file}: {error.strerror}") from error
    except ValueError as error:  # syntax, or not UTF-8
        raise ConfigurationError(f"{config_file} is not valid TOML: {error}") from error


def _unknown(name: str, names: list[str], source: str) -> ConfigurationError:
    import difflib

    near = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    hint = f" Do you mean {near[0]}?" if near else ""
    return ConfigurationError(f"{name!r} in {source} is not a setting.{hint} docs/settings.md lists them.")


def _read(setting: Setting, value: Any, source: str) -> Any:
    try:
        return setting.kind.read(value)
    except ValueError as error:
        shown = "the value" if setting.secret else repr(value)
        raise ConfigurationError(
            f"{setting.name}: {shown} from {source} cannot be used ({error}): it must be {setting.kind.allowed}"
        ) from error


def _check_together(settings: Settings) -> None:
    """Check what no setting can check alone."""
    if settings.management and not settings.management_token:
        raise ConfigurationError(
            "management: true needs a management_token: set FND_MANAGEMENT_TOKEN or the configuration file's "
            f"management_token, {SETTINGS['management_token'].kind.allowed}"
        )
    for part, whole in (
        ("function_log_size", "function_log_keep"),
        ("function_log_keep", "function_log_total"),
    ):
        if getattr(settings, part) > getattr(settings, whole):
            raise ConfigurationError(
                f"{whole}: {getattr(settings, whole)} cannot be used: "
                f"it must be at least {part}, {getattr(settings, part)}"
            )
    try:
        SocketPath().read(settings.control)
    except ValueError as error:
        raise ConfigurationError(
            f"control: {settings.control} cannot be used ({error}): set a shorter runtime_directory or control"
        ) from error


@attrs.frozen
class ReloadedSettings:
    """What a reload comes to."""

    settings: Settings
    """Those in force from now on."""
    changed: tuple[str, ...]
    """Names of the settings that have a new value."""
    restart_needed: tuple[str, ...]
    """Names of those whose new value waits for a restart."""


def reload_settings(current: Settings, loaded: Settings) -> ReloadedSettings:
    """Return `current` with the values of `loaded` where a running daemon can take them."""
    different = [name for name in SETTINGS if getattr(current, name) != getattr(loaded, name)]
    changed = tuple(name for name in different if SETTINGS[name].reloadable)
    return ReloadedSettings(
        attrs.evolve(current, **{name: getattr(loaded, name) for name in changed}),
        changed,
        tuple(name for name in different if not SETTINGS[name].reloadable),
    )
