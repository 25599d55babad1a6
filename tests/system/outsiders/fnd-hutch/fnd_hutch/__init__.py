"""A driver for fnd: containers of images hutch://…"""

from fnd.hookspecs import Driver, DriverContext, hookimpl
from fnd_hutch.settings import HutchSettings

fnd_surface = 1


@hookimpl
def fnd_settings() -> type[HutchSettings]:
    """Declare the table [plugins.hutch]."""
    return HutchSettings


@hookimpl
def fnd_driver(context: DriverContext) -> Driver:
    """Offer the driver."""
    from fnd_hutch.driver import HutchDriver

    return HutchDriver(context)
