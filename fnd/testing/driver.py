"""The driver conformance kit: one class of tests, in which every promise of the plugin surface has one."""

from __future__ import annotations

from fnd.testing.driver_container import ContainerPromises
from fnd.testing.driver_images import ImagePromises
from fnd.testing.driver_launcher import LauncherPromises
from fnd.testing.driver_life import LifePromises
from fnd.testing.driver_pause import PausePromises
from fnd.testing.driver_start import StartPromises
from fnd.testing.driver_streams import StreamPromises


class DriverConformance(
    LifePromises, ImagePromises, StartPromises, LauncherPromises, ContainerPromises, StreamPromises, PausePromises
):
    """Tests of everything that fnd.hookspecs promises of a driver.

    Derive a class whose name starts with Test from it, and override `make_driver`; where it differs, `image` and
    `leftovers`, and say in `cannot` what the driver's containers cannot do. docs/plugins.md shows it. The tests run on
    trio by themselves, without a plugin of pytest.
    """
