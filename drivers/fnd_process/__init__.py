"""The process driver, fnd's default: a container is a sandboxed tree of processes on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fnd.hookspecs import Driver, DriverContext, hookimpl

if TYPE_CHECKING:
    from fnd_process.settings import ProcessSettings

__all__ = ["fnd_driver", "fnd_settings"]


@hookimpl
def fnd_settings() -> type[ProcessSettings]:
    """Declare the settings."""
    from fnd_process.settings import ProcessSettings

    return ProcessSettings


@hookimpl
def fnd_driver(context: DriverContext) -> Driver:
    """Offer the driver. Raises ConfigurationError."""
    from fnd_process.driver import ProcessDriver

    return ProcessDriver(context)
