"""A driver for fnd: containers of images skeleton://…"""

from fnd.hookspecs import Driver, DriverContext, hookimpl

fnd_surface = 1


@hookimpl
def fnd_driver(context: DriverContext) -> Driver:
    """Offer the driver. Raises ConfigurationError."""
    from fnd_skeleton.driver import SkeletonDriver  # not before it is needed: commands look at plugins, too

    return SkeletonDriver(context)
