"""The daemon's life: what runs, in which order it starts, and in which it stops.

Read `_live` from top to bottom for the start; the contexts close from bottom to top. What callers reach opens last and
closes first; the store, which everything stands on, the other way round.
"""

from __future__ import annotations

import gc
import math
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import trio

from fnd import __version__, listeners, systemd
from fnd.api.app import make_application
from fnd.api.doors import CONTROL, PUBLIC, Doors
from fnd.api.invoke import Invocation
from fnd.api.lambda_invoke import LambdaInvocation
from fnd.api.plugin_metrics import PluginMetrics
from fnd.api.plugin_routes import PluginRoutes
from fnd.api.services import Services
from fnd.catalog import Catalog
from fnd.clearing import Cleared, clear_spool, make_runtime_directory, remove_empty_directories
from fnd.config import Settings, reload_settings
from fnd.dispatch import Dispatch, KeepAlive, Limits
from fnd.errors import ApplicationFailed, ConfigurationError, FndError
from fnd.hookspecs import Driver, SocketWatcher
from fnd.http.asgi import ASGIBridge
from fnd.http.request import RequestLimits
from fnd.http.server import Server, ServerLimits, running_server
from fnd.log import DaemonLog, daemon_log, get_logger
from fnd.offers import Offers, ask, running_driver
from fnd.plugin_manager import PluginManager
from fnd.plugins import Plugin, blame
from fnd.runtime.agent import Agent, running_agent
from fnd.runtime.call_listeners import telling
from fnd.runtime.call_records import CallRecords
from fnd.runtime.events import Event, EventBus, EventKind
from fnd.runtime.function_logs import FunctionLogs
from fnd.runtime.pool import PoolTimeouts
from fnd.runtime.pressure import watching_pressure
from fnd.runtime.socket_watcher import watching_sockets
from fnd.store import CallHistory, StoreHealth, open_store
from fnd.store.lock import directory_held

_CLEANUP_SECONDS = 10.0
"""What stopping may take beyond the grace period; told to systemd."""

_LAST_WORDS_SECONDS = 0.5
"""For telling who still waits for a container, at the end of the grace period, that there will be none."""

_CONNECTIONS_SHARE = 0.75
"""Of the file descriptors that the daemon may have, connections take no more: containers need some, too."""

_log = get_logger(__name__)


def run(load: Callable[[], Settings], environment: MutableMapping[str, str] = os.environ) -> None:
    """Run the daemon until it is told to stop. `load` reads the settings, at the start and at each reload.

    Takes out of `environment` what systemd says of itself. Raises ConfigurationError, AlreadyRunning, StoreTooNew or
    StoreUnavailable when it cannot start.
    """
    settings = load()
    with daemon_log(settings.log_level, settings.log_format, environment) as log:
        try:
            trio.run(Daemon(settings, load, log, environment).run)
        except BaseExceptionGroup as group:  # what a start fails with comes through the nurseries of what had started
            reasons = list(_leaves(group))
            if all(isinstance(reason, FndError) for reason in reasons):
                raise reasons[0] from None
            raise


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


class Daemon:
    """The daemon, as the control routes steer it."""

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings],
        log: DaemonLog,
        environment: MutableMapping[str, str],
    ) -> None:
        self.settings = settings
        self.started_at = datetime.now(UTC)
        self.state = "starting"
        self.listeners: tuple[str, ...] = ()
        self._load = load
        self._log = log
        self._events = EventBus()
        self._records = CallRecords(settings.call_records)
        self._logs = FunctionLogs(
            settings.data_directory / "logs",
            per_call_limit=settings.function_log_size,
            keep=settings.function_log_keep,
            keep_total=settings.function_log_total,
        )
        self._manager = systemd.ServiceManager.from_environment(environment)
        self._inherited = systemd.inherited_sockets(environment)
        self._drain_requested = trio.Event()
        self._stop_requested = trio.Event()
        self._hurry_requested = trio.Event()
        self._reloading = trio.Lock()
        self._plugins: PluginManager | None = None

    # What an operator asks for, by signal or over the control socket.

    def stop(self) -> None:
        """Begin an orderly stop; asked again, do not wait for running calls."""
        if self._stop_requested.is_set():
            self._hurry_requested.set()
        self._drain_requested.set()
        self._stop_requested.set()

    def drain(self) -> None:
        """Take no new call and let running ones finish; the control socket goes on answering."""
        self._drain_requested.set()

    async def reload(self) -> None:
        """Read the settings again and apply what can change while running; the log names what cannot.

        Raises ConfigurationError, with everything as it was before.
        """
        async with self._reloading, self._manager.reloading():
            loaded = await trio.to_thread.run_sync(self._load)
            if self._plugins is not None:
                await trio.to_thread.run_sync(self._plugins.check_settings, loaded.plugins)
            reloaded = reload_settings(self.settings, loaded)
            self.settings = settings = reloaded.settings
            self._log.set_level(settings.log_level)
            self._logs.set_limits(settings.function_log_size, settings.function_log_keep, settings.function_log_total)
        fields = {"changed": reloaded.changed, "restart_needed": reloaded.restart_needed}
        _log.info("settings reloaded", **fields)
        self._events.publish(Event(EventKind.SETTINGS_RELOADED, fields))

    # Its life.

    async def run(self) -> None:
        """Live, from start to stop."""
        _raise_descriptor_limit()
        make_runtime_directory(self.settings.runtime_directory)
        # From the first moment to the last: a signal that comes while it starts is obeyed once it has, and one that
        # comes while it cleans up does not keep it from that.
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with trio.open_nursery() as obeying:
                obeying.start_soon(self._obey, signals)
                async with self._live() as (agent, public, control):
                    gc.freeze()  # what is here now stays: no collection need look at it again
                    await self._enter("ready", f"Serving functions on {', '.join(self.listeners)}")
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._manager.feed_watchdog)
                        await self._drain_requested.wait()
                        await self._stop(agent, public, control)
                        nursery.cancel_scope.cancel()
                obeying.cancel_scope.cancel()
        _log.info("stopped")

    async def _stop(self, agent: Agent, public: Server, control: Server) -> None:
        """Let what runs finish, as long as the grace period lasts and nobody is in a hurry."""
        agent.refuse_calls()
        if not self._stop_requested.is_set():
            await self._enter("draining", "Draining: no new calls are taken")
            await self._drain(public)
            await self._stop_requested.wait()
        await self._manager.stopping(self.settings.grace_period + _CLEANUP_SECONDS, "Stopping: letting calls finish")
        await self._enter("stopping", "Stopping: letting calls finish")
        self._events.close()
        self._records.over.close()
        self._logs.end_streams()
        await self._drain(public, control)
        if public.connections or control.connections:
            agent.reject_waiting()
            with trio.move_on_after(_LAST_WORDS_SECONDS):
                await _drain_all(public, control)
        if cut_short := public.connections + control.connections:
            _log.warning("calls cut short", connections=cut_short)

    async def _drain(self, *servers: Server) -> None:
        with trio.move_on_after(self.settings.grace_period) as grace:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cut_short, grace)
                await _drain_all(*servers)
                nursery.cancel_scope.cancel()

    async def _cut_short(self, grace: trio.CancelScope) -> None:
        await self._hurry_requested.wait()
        grace.cancel()

    @asynccontextmanager
    async def _live(self) -> AsyncIterator[tuple[Agent, Server, Server]]:
        """Run everything while in the context. Yields the agent, and the servers of public and control listeners."""
        settings = self.settings
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            stack.callback(remove_empty_directories, settings.runtime_directory)
            stack.callback(self._manager.close)
            store = await enter(open_store(settings.data_directory))
            # Before anything is cleared there: it would be another daemon's.
            stack.enter_context(directory_held(settings.runtime_directory))
            store.on_health = self._tell_store_health
            contents = await store.load()
            catalog = Catalog(contents.apps, contents.fns, contents.triggers)
            await enter(_background(self._logs.run))
            history = CallHistory(store, settings.call_history)
            await enter(self._records.flushing(history))
            watcher = await enter(watching_sockets())
            # In a thread, for modules are imported and hooks called that may take their time.
            plugins, offered = await trio.to_thread.run_sync(self._ask_plugins, watcher)
            codecs = offered.codecs
            drivers = dict(offered.drivers)
            _check_default_driver(settings.default_driver, drivers, plugins)
            for scheme, driver in offered.drivers.items():
                try:
                    cleared = await enter(running_driver(driver, partial(plugins.of_driver(scheme).trouble, "driver")))
                except Exception as error:
                    plugins.driver_failed(scheme, error)
                    del drivers[scheme]
                    _check_default_driver(settings.default_driver, drivers, plugins)
                else:
                    _tell_of_cleared(cleared)
            self._records.listeners = await enter(telling(offered.listeners))
            agent = await enter(
                running_agent(
                    Dispatch(_limits(settings)),
                    drivers=drivers,
                    codecs=codecs,
                    default_driver=settings.default_driver,
                    keep_alive=KeepAlive(settings.keep_alive),
                    timeouts=_timeouts(settings),
                    logs=self._logs,
                    events=self._events,
                    records=self._records,
                    on_fault=partial(blame, plugins),
                )
            )
            await enter(watching_pressure(agent.relieve))
            catalog.on_retired = agent.retire
            catalog.on_warm = agent.warm
            for version in catalog.warm():
                agent.warm(version)
            services = Services(
                settings=settings,
                store=store,
                catalog=catalog,
                agent=agent,
                daemon=self,
                drivers=drivers,
                codecs=codecs,
                logs=self._logs,
                events=self._events,
                records=self._records,
                history=history,
                plugins=plugins,
                metrics=PluginMetrics(offered.metrics),
            )
            await trio.to_thread.run_sync(clear_spool, settings.data_directory)
            management = ASGIBridge(make_application(services))
            await enter(management.lifespan())
            token = settings.management_token if settings.management else ""
            routes = PluginRoutes()
            await enter(routes.mounting(offered.routes))
            invocation = Invocation(agent, catalog)
            of_lambda = LambdaInvocation(invocation, agent, catalog)
            handler = Doors(invocation, of_lambda, management, token, routes)
            opened = await enter(listeners.open_listeners(settings.listen, settings.control, self._inherited))
            public = await enter(running_server(handler, _server_limits(settings)))
            control = await enter(running_server(handler, _server_limits(settings)))
            for listener in opened:
                (control if listener.name == CONTROL else public).listen(listener)
            self.listeners = tuple(listeners.address_of(one) for one in opened if one.name == PUBLIC)
            yield agent, public, control

    async def _enter(self, state: str, status: str) -> None:
        self.state = state
        if state == "ready":
            await self._manager.ready(status)
        else:
            await self._manager.status(status)
        _log.info(state, version=__version__, listeners=self.listeners, control=str(self.settings.control))
        self._events.publish(Event(EventKind.DAEMON_STATE, {"state": state}))

    def _tell_store_health(self, health: StoreHealth) -> None:
        self._events.publish(Event(EventKind.STORE_HEALTH, {"ok": health.ok, "error": health.error}))

    async def _obey(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if number == signal.SIGHUP:
                try:
                    await self.reload()
                except ConfigurationError as error:
                    _log.error("settings not reloaded", error=error.message)
            else:
                self.stop()

    def _ask_plugins(self, watcher: SocketWatcher) -> tuple[PluginManager, Offers]:
        """Load every plugin and take what it offers. Raises ConfigurationError."""
        plugins = self._plugins = PluginManager(_tell_of_plugin)
        return plugins, ask(plugins, self.settings, watcher)


def _tell_of_cleared(cleared: Cleared) -> None:
    if cleared.containers:
        _log.warning("cleared what an earlier daemon left", driver=cleared.driver, containers=cleared.containers)
    if cleared.error:
        _log.warning("what an earlier daemon left cannot be cleared", driver=cleared.driver, error=cleared.error)


def _tell_of_plugin(plugin: Plugin, where: str, what: str, count: int, error: BaseException | None) -> None:
    # A module that is not there says all in its message.
    trace = None if isinstance(error, ImportError | ApplicationFailed) else error
    about = {"plugin": plugin.name, "distribution": plugin.distribution, "where": where, "what": what, "count": count}
    _log.error("plugin failed", **about, exc_info=trace)


async def _drain_all(*servers: Server) -> None:
    async with trio.open_nursery() as nursery:
        for server in servers:
            nursery.start_soon(server.drain)


@asynccontextmanager
async def _background(task: Callable[[], object]) -> AsyncIterator[None]:
    """Run `task` while in the context, and cancel it at the end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(task)  # type: ignore[arg-type]
        yield
        nursery.cancel_scope.cancel()


def _limits(settings: Settings) -> Limits:
    return Limits(
        memory=settings.memory,
        cores=len(os.sched_getaffinity(0)),
        max_pools=settings.max_pools,
        max_waiting=settings.max_waiting,
    )


def _timeouts(settings: Settings) -> PoolTimeouts:
    return PoolTimeouts(
        start=settings.start_timeout, image=settings.pull_timeout, pause=settings.pause_after or math.inf
    )


def _server_limits(settings: Settings) -> ServerLimits:
    return ServerLimits(
        request=RequestLimits(
            start_line=settings.max_start_line, header=settings.max_header_size, body=settings.max_body_size
        ),
        read_timeout=settings.read_timeout,
        idle_timeout=settings.idle_timeout,
        write_timeout=settings.write_timeout,
        max_connections=min(settings.max_connections, max(1, int(_CONNECTIONS_SHARE * _descriptor_limit()))),
    )


def _check_default_driver(name: str, drivers: Mapping[str, Driver], plugins: PluginManager) -> None:
    if name not in drivers:
        known = ", ".join(sorted(drivers)) or "none"
        reasons = [f"; the plugin {plugin.name!r} failed: {plugin.reason}" for plugin in plugins.suspects(name)]
        raise ConfigurationError(f"default_driver: there is no driver {name!r} here, only: {known}{''.join(reasons)}")


def _raise_descriptor_limit() -> None:
    """Take as many file descriptors as this user may have: each connection and each container needs some."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _descriptor_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
