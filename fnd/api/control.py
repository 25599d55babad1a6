"""The control routes: what an operator asks of the daemon, over its control socket.

Who may reach them is decided before a request gets here. Streams are NDJSON, and end when their reader goes away.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final

import attrs
import trio
from litestar import Request, Router, get, post
from litestar.params import QueryParameter
from litestar.types import ASGIApp, Receive

from fnd import __version__
from fnd.api.builds import BuildDone, BuildError, BuildProgress
from fnd.api.calls import get_call, list_calls, stream_calls
from fnd.api.ndjson import Emit, LineStream, Producer, emit_all, lines_of
from fnd.api.problems import documented
from fnd.api.services import Services, services_of
from fnd.checks import Diagnosis, DriverStatus, check_machine, check_plugins
from fnd.errors import BadRequest, ConfigurationError
from fnd.plugins import PluginStatus, blame
from fnd.runtime.events import Event
from fnd.runtime.function_logs import MAX_LINES, FunctionLogStatistics
from fnd.runtime.log_files import LogLine
from fnd.runtime.statistics import AgentStatistics
from fnd.store.store import StoreHealth


@attrs.frozen(kw_only=True)
class Status:
    """The daemon at a glance. Memory is in MiB, uptime in seconds."""

    version: str
    pid: int
    state: str
    started_at: datetime
    uptime: float
    listeners: tuple[str, ...]
    control: str
    data_directory: str
    runtime_directory: str
    store: StoreHealth
    logs: FunctionLogStatistics
    """What became of functions' output."""
    memory_limit: int
    memory_reserved: int
    cpu_limit: int
    """Thousandths of a core, as the next."""
    cpu_reserved: int
    calls_running: int
    calls_waiting: int
    calls_total: int
    launches_total: int
    containers: int
    pools: int
    apps: int
    fns: int
    triggers: int
    drivers: tuple[DriverStatus, ...]
    default_driver: str
    formats: tuple[str, ...]


@get("/status", operation_id="GetStatus")
async def status(request: Request[Any, Any, Any]) -> Status:
    """Return the daemon's state, its capacity and what protects its containers."""
    services = services_of(request)
    return _status(services, services.agent.statistics())


def _status(services: Services, agent: AgentStatistics) -> Status:
    daemon, settings, counts = services.daemon, services.settings, services.catalog.counts()
    return Status(
        version=__version__,
        pid=os.getpid(),
        state=daemon.state,
        started_at=daemon.started_at,
        uptime=(datetime.now(UTC) - daemon.started_at).total_seconds(),
        listeners=daemon.listeners,
        control=str(settings.control),
        data_directory=str(settings.data_directory),
        runtime_directory=str(settings.runtime_directory),
        store=services.store.health,
        logs=services.logs.statistics(),
        memory_limit=agent.memory_limit,
        memory_reserved=agent.memory_reserved,
        cpu_limit=agent.cpu_limit,
        cpu_reserved=agent.cpu_reserved,
        calls_running=agent.calls_running,
        calls_waiting=agent.calls_waiting,
        calls_total=agent.calls_total,
        launches_total=agent.launches_total,
        containers=sum(len(pool.containers) for pool in agent.pools),
        pools=len(agent.pools),
        apps=counts.apps,
        fns=counts.fns,
        triggers=counts.triggers,
        drivers=tuple(DriverStatus.of(driver) for driver in services.drivers.values()),
        default_driver=settings.default_driver,
        formats=tuple(services.codecs),
    )


@get("/pools", operation_id="GetPools")
async def pools(request: Request[Any, Any, Any]) -> AgentStatistics:
    """Return every pool with the state and the ages of its containers."""
    return services_of(request).agent.statistics()


@get("/doctor", operation_id="Diagnose")
async def doctor(request: Request[Any, Any, Any]) -> Diagnosis:
    """Check the machine as the daemon finds it."""
    services = services_of(request)
    settings = services.settings
    checks = await trio.to_thread.run_sync(check_machine, settings.data_directory, settings.runtime_directory)
    drivers = tuple(DriverStatus.of(driver) for driver in services.drivers.values())
    return Diagnosis(checks=checks + check_plugins(services.plugins), drivers=drivers)


@attrs.frozen
class Plugins:
    """Every plugin of this installation."""

    plugins: tuple[PluginStatus, ...]


@get("/plugins", operation_id="GetPlugins")
async def plugins(request: Request[Any, Any, Any]) -> Plugins:
    """Return every plugin: where it came from, what it offers, and what has gone wrong with it."""
    return Plugins(tuple(plugin.status() for plugin in services_of(request).plugins))


@post("/drain", operation_id="Drain", status_code=202)
async def drain(request: Request[Any, Any, Any]) -> None:
    """Take no new calls; let running ones finish."""
    services_of(request).daemon.drain()


@post("/reload", operation_id="Reload", status_code=204, responses=documented(400))
async def reload(request: Request[Any, Any, Any]) -> None:
    """Read the configuration again; 400 with everything as it was if it is wrong."""
    try:
        await services_of(request).daemon.reload()
    except ConfigurationError as error:
        raise BadRequest(error.message) from error


@post("/stop", operation_id="Stop", status_code=202)
async def stop(request: Request[Any, Any, Any]) -> None:
    """Begin an orderly stop."""
    services_of(request).daemon.stop()


@get("/logs", operation_id="StreamLogs", responses=lines_of(LogLine) | documented(400))
async def logs(
    request: Request[Any, Any, Any],
    fn: Annotated[str | None, QueryParameter(description="A function's id.")] = None,
    app: Annotated[str | None, QueryParameter(description="An app's id; with follow.")] = None,
    call: Annotated[str | None, QueryParameter(description="A call's id.")] = None,
    follow: Annotated[bool, QueryParameter(description="Go on with what is written from now on.")] = False,
    lines: Annotated[int, QueryParameter(description="Lines of a function's history.", ge=0, le=MAX_LINES)] = 100,
) -> ASGIApp:
    """Stream what functions write: the end of one's log and, with `follow`, what comes after it."""
    function_logs = services_of(request).logs
    if fn is None and not follow:
        raise BadRequest("Name a function with fn=ID, or follow all of them with follow=true")

    @asynccontextmanager
    async def opened(receive: Receive) -> AsyncIterator[Producer]:
        if follow:
            async with function_logs.subscribe(fn, app_id=app, call_id=call, lines=lines) as subscription:
                yield partial(emit_all, subscription, LogLine.as_json)
        else:
            assert fn is not None
            yield partial(_emit_each, await function_logs.read(fn, call, lines))

    return LineStream(opened)


@get("/events", operation_id="StreamEvents", responses=lines_of(dict[str, Any]))
async def events(request: Request[Any, Any, Any]) -> ASGIApp:
    """Stream what happens in the daemon from now on."""
    bus = services_of(request).events

    @asynccontextmanager
    async def opened(receive: Receive) -> AsyncIterator[Producer]:
        with bus.subscribe() as subscription:
            yield partial(emit_all, subscription, Event.as_json)

    return LineStream(opened)


async def _emit_each(lines: Iterable[LogLine], emit: Emit) -> None:
    for line in lines:
        await emit(line.as_json())


@post(
    "/build",
    operation_id="Build",
    status_code=200,
    responses=lines_of(BuildProgress | BuildDone | BuildError) | documented(400, 413),
)
async def build(
    request: Request[Any, Any, Any],
    driver: Annotated[str, QueryParameter(description="Who builds; the default driver if absent.")] = "",
) -> ASGIApp:
    """Build the function whose directory's tar is the body; stream progress, then the image or the error."""
    services = services_of(request)
    scheme = driver or services.settings.default_driver
    if scheme not in services.drivers:
        there_are = ", ".join(services.drivers)
        raise BadRequest(f"There is no driver {scheme!r} here; there are: {there_are}")
    return services.builder.build(services.drivers[scheme], partial(blame, services.plugins))


control_router: Final = Router(
    path="/control",
    route_handlers=[
        status,
        pools,
        doctor,
        plugins,
        drain,
        reload,
        stop,
        logs,
        events,
        build,
        list_calls,
        stream_calls,
        get_call,
    ],
    tags=["control"],
)
