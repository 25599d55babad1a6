"""The Docker driver: a container is one of Docker Engine's, or of Podman's through the same interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fnd.hookspecs import Driver, DriverContext, hookimpl

if TYPE_CHECKING:
    from fnd_docker.settings import DockerSettings

__all__ = ["fnd_driver", "fnd_settings"]


@hookimpl
def fnd_settings() -> type[DockerSettings]:
    """Declare the settings."""
    from fnd_docker.settings import DockerSettings

    return DockerSettings


@hookimpl
def fnd_driver(context: DriverContext) -> Driver:
    """Offer the driver. Raises ConfigurationError."""
    from fnd_docker.driver import DockerDriver

    return DockerDriver(context)
