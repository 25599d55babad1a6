"""Does with plugins what a daemon does at its start, and ends it again: for who looks at them without one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from fnd.api.plugin_metrics import PluginMetrics
from fnd.api.plugin_routes import PluginRoutes
from fnd.config import Settings
from fnd.hookspecs import Driver
from fnd.offers import ask, running_driver
from fnd.plugin_manager import PluginManager
from fnd.runtime.call_listeners import telling
from fnd.runtime.socket_watcher import watching_sockets


async def try_plugins(plugins: PluginManager, settings: Settings, seen: Callable[[Driver], None]) -> None:
    """Use all that plugins offer once; what goes wrong is theirs to tell. `seen` is given each driver that runs.

    Raises ConfigurationError, for which a daemon would not start. Cancelled: nothing runs any more.
    """
    async with watching_sockets() as watcher:
        offers = await trio.to_thread.run_sync(ask, plugins, settings, watcher)
    for scheme, driver in offers.drivers.items():
        try:
            async with running_driver(driver, partial(plugins.of_driver(scheme).trouble, "driver")):
                seen(driver)
        except Exception as error:
            plugins.driver_failed(scheme, error)
    async with telling(offers.listeners), PluginRoutes().mounting(offers.routes):
        await PluginMetrics(offers.metrics).collect()
