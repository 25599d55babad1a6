"""The process driver, fnd's default: a container is a sandboxed tree of processes on this host."""

from fnd.hookspecs import Driver, DriverContext, hookimpl

__all__ = ["fnd_driver"]


@hookimpl
def fnd_driver(context: DriverContext) -> Driver:
    """Offer the driver. Raises ConfigurationError."""
    from fnd_process.driver import ProcessDriver

    return ProcessDriver(context)
