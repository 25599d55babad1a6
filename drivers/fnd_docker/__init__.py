"""The Docker driver: a container is one of Docker Engine's, or of Podman's through the same interface."""

from fnd.hookspecs import Driver, DriverContext, hookimpl

__all__ = ["fnd_driver"]


@hookimpl
def fnd_driver(context: DriverContext) -> Driver:
    """Offer the driver. Raises ConfigurationError."""
    from fnd_docker.driver import DockerDriver

    return DockerDriver(context)
