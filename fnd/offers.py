"""All that plugins offer under given settings: asked for by the daemon at its start, and by who looks without one."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import attrs
import trio

from fnd.clearing import Cleared, clear, driver_context
from fnd.config import Settings
from fnd.errors import PluginFailed
from fnd.hookspecs import (
    ASGIApplication,
    CallListener,
    Codec,
    CodecContext,
    Driver,
    MetricsSource,
    PluginContext,
    SocketWatcher,
)
from fnd.plugin_manager import PluginManager
from fnd.plugins import Plugin

_START_SECONDS = 60.0
"""Until a driver runs, and what an earlier daemon left is cleared; systemd waits for longer."""
_STOP_SECONDS = 10.0
"""For a driver to end its threads and connections, when its containers are gone already."""


@attrs.frozen(kw_only=True)
class Offers:
    """What plugins offer."""

    drivers: Mapping[str, Driver]
    codecs: Mapping[str, Codec]
    listeners: Mapping[Plugin, CallListener]
    routes: Mapping[Plugin, ASGIApplication]
    metrics: Mapping[Plugin, MetricsSource]


def ask(plugins: PluginManager, settings: Settings, watcher: SocketWatcher) -> Offers:
    """Check the settings of every plugin, and call its hooks. Raises ConfigurationError. Blocks: run it in a thread."""
    plugins.check_settings(settings.plugins)
    plain = partial(_context, settings)
    return Offers(
        drivers=plugins.drivers(partial(driver_context, settings)),
        codecs=plugins.codecs(partial(_codec_context, settings, watcher)),
        listeners=plugins.call_listeners(plain),
        routes=plugins.routes(plain),
        metrics=plugins.metrics(plain),
    )


@asynccontextmanager
async def running_driver(driver: Driver, left_behind: Callable[[str], None]) -> AsyncIterator[Cleared]:
    """Run a driver while in the context; gives what became of what an earlier daemon had left.

    Raises whatever the driver does, and PluginFailed if it takes longer than it may to start. `left_behind` is told
    why, if it has not ended when it should have.
    """
    started = False
    with trio.CancelScope(deadline=trio.current_time() + _START_SECONDS) as limit:
        async with driver.running():
            cleared = await clear(driver.scheme, driver)
            limit.deadline = math.inf
            started = True
            try:
                yield cleared
            finally:
                limit.deadline = trio.current_time() + _STOP_SECONDS
    if limit.cancelled_caught:
        if not started:
            raise PluginFailed(f"it was not ready after {_START_SECONDS:g} s")
        left_behind(f"it had not ended after {_STOP_SECONDS:g} s")


def _context(settings: Settings, plugin: str) -> PluginContext:
    of_driver = driver_context(settings, plugin)
    return PluginContext(of_driver.data_directory, of_driver.runtime_directory, of_driver.settings)


def _codec_context(settings: Settings, watcher: SocketWatcher, plugin: str) -> CodecContext:
    return CodecContext(
        socket_watcher=watcher,
        max_response_header_size=settings.max_response_header_size,
        max_response_body_size=settings.max_response_body_size,
        settings=settings.plugins.get(plugin, {}),
    )
