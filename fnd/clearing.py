"""What a daemon that was killed left behind: removed when the next one starts, or by `fnd doctor --clean`.

An instance is a data directory and a runtime directory, each held by the one daemon that uses it. Drivers clear what is
theirs; what is of the daemon's own is here.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio

from fnd.config import Settings
from fnd.errors import AlreadyRunning, ConfigurationError, FndError
from fnd.hookspecs import ContainerFailed, Driver, DriverContext
from fnd.listeners import remove_stale
from fnd.plugin_manager import PluginManager
from fnd.plugins import describe
from fnd.store.lock import directory_held, held

SPOOL: Final = "spool"
"""Where uploaded functions lie while they are built, in the data directory."""


@attrs.frozen(kw_only=True)
class Cleared:
    """What became of a driver's leavings."""

    driver: str
    containers: int = 0
    """How many were removed."""
    error: str = ""
    """Why there may be more."""


@attrs.frozen(kw_only=True)
class Cleaning:
    """What was cleared of an instance."""

    data_directory: Path
    runtime_directory: Path
    drivers: tuple[Cleared, ...]
    removed: tuple[str, ...]
    """The files, sockets and directories that are gone, by their paths."""


def driver_context(settings: Settings, plugin: str) -> DriverContext:
    """Return what the daemon gives the driver of a plugin."""
    return DriverContext(
        data_directory=settings.data_directory / plugin,
        runtime_directory=settings.runtime_directory / plugin,
        settings=settings.plugins.get(plugin, {}),
    )


def make_runtime_directory(path: Path) -> None:
    """Make the runtime directory for this user alone. Raises ConfigurationError if it is somebody else's."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise ConfigurationError(
            f"the runtime directory {path} cannot be used: {error.strerror}. Choose another with --runtime-directory"
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise ConfigurationError(f"the runtime directory {path} is not a directory of this user's; choose another")


async def clear(scheme: str, driver: Driver) -> Cleared:
    """Have a running driver remove what an earlier daemon left. Cancelled: the next call removes the rest."""
    try:
        return Cleared(driver=scheme, containers=await driver.clear())
    except ContainerFailed as error:
        return Cleared(driver=scheme, error=error.message)


def clear_spool(data_directory: Path) -> None:
    """Remove what is left of builds that were cut short. Blocks; no build may be under way."""
    shutil.rmtree(data_directory / SPOOL, ignore_errors=True)


def remove_empty_directories(runtime_directory: Path) -> None:
    """Remove the directories of plugins, empty by now; what somebody left in one stays to be seen."""
    for directory in runtime_directory.iterdir() if runtime_directory.is_dir() else ():
        with suppress(OSError):
            directory.rmdir()


async def clean(settings: Settings) -> Cleaning:
    """Remove all that is left of an instance whose daemon is dead, as the next start of one would.

    Raises AlreadyRunning, with nothing done, while a daemon of this instance runs, and ConfigurationError. Cancelled:
    the next call removes the rest.
    """
    drivers: list[Cleared] = []
    removed: set[str] = set()
    if settings.data_directory.is_dir() or settings.runtime_directory.is_dir():
        with ExitStack() as stack:
            await trio.to_thread.run_sync(_hold, settings, stack)
            before = await trio.to_thread.run_sync(_listing, settings)
            plugins = PluginManager()
            found = plugins.drivers(partial(driver_context, settings))
            drivers = [await _run_and_clear(scheme, driver) for scheme, driver in found.items()]
            drivers += [Cleared(driver=plugin.name, error=plugin.reason) for plugin in plugins.without_driver()]
            await trio.to_thread.run_sync(_clear_own, settings)
            removed = before - await trio.to_thread.run_sync(_listing, settings)
    return Cleaning(
        data_directory=settings.data_directory,
        runtime_directory=settings.runtime_directory,
        drivers=tuple(drivers),
        removed=tuple(sorted(removed)),
    )


async def _run_and_clear(scheme: str, driver: Driver) -> Cleared:
    try:
        async with driver.running():
            return await clear(scheme, driver)
    except FndError as error:
        return Cleared(driver=scheme, error=error.message)
    except Exception as error:
        return Cleared(driver=scheme, error=describe(error))


def _hold(settings: Settings, stack: ExitStack) -> None:
    try:
        settings.data_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_runtime_directory(settings.runtime_directory)
        stack.enter_context(held(settings.data_directory))
        stack.enter_context(directory_held(settings.runtime_directory))
    except OSError as error:
        raise ConfigurationError(f"{error.filename} cannot be used: {error.strerror}") from error


def _listing(settings: Settings) -> set[str]:
    """Return what there is that a daemon leaves behind, or may."""
    runtime = settings.runtime_directory
    paths = {*runtime.glob("*"), *runtime.glob("*/*"), *_sockets(settings), settings.data_directory / SPOOL}
    return {str(path) for path in paths if os.path.lexists(path)}


def _sockets(settings: Settings) -> Iterator[Path]:
    yield settings.control
    yield from (address.path for address in settings.listen_addresses if address.path is not None)


def _clear_own(settings: Settings) -> None:
    clear_spool(settings.data_directory)
    for path in _sockets(settings):
        with suppress(AlreadyRunning, ConfigurationError, OSError):  # systemd's, or not this user's
            remove_stale(path)
    remove_empty_directories(settings.runtime_directory)
