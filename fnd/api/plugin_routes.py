"""Plugins' own routes: each plugin's ASGI application, under a prefix that has its name.

What an application raises or does not answer is its plugin's trouble, which the log and `fnd plugins list` name; the
caller gets 500, and the daemon goes on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from fnd import errors
from fnd.http.asgi import ASGIBridge
from fnd.plugin_manager import routes_at
from fnd.plugins import Plugin, describe

if TYPE_CHECKING:
    from fnd.http.asgi_types import ASGIApplication, Receive, Scope, Send
    from fnd.http.connection import Connection
    from fnd.http.request import Request

PREFIX: Final = b"/plugins/"
LIFESPAN_SECONDS: Final = 10.0
"""For an application's start, and again for its stop."""
WHERE: Final = "routes"


class PluginRoutes:
    """The handler of every request below PREFIX."""

    def __init__(self) -> None:
        self._mounted: dict[bytes, _Mounted] = {}

    def __call__(self, connection: Connection, request: Request) -> Awaitable[None]:
        """Return what answers the request, to be awaited. Raises NotFound if no plugin has such routes."""
        path, _, _ = request.target.partition(b"?")
        name, _, _ = path.removeprefix(PREFIX).partition(b"/")
        mounted = self._mounted.get(name)
        if mounted is None:
            raise errors.NotFound(
                f"No plugin {name.decode('latin-1')!r} has routes here; fnd plugins list shows which do"
            )
        return mounted.answer(connection, request)

    @asynccontextmanager
    async def mounting(self, applications: Mapping[Plugin, ASGIApplication]) -> AsyncIterator[None]:
        """Serve these while in the context, those that start. Cancelled, they are, without their shutdown."""
        async with trio.open_nursery() as nursery:
            leaving = trio.Event()
            for plugin, application in applications.items():
                mounted = _Mounted(plugin, application)
                if await nursery.start(mounted.live, leaving):
                    self._mounted[plugin.name.encode()] = mounted
            try:
                yield
            finally:
                self._mounted.clear()
                leaving.set()


class _Mounted:
    """One plugin's application."""

    def __init__(self, plugin: Plugin, application: ASGIApplication) -> None:
        self._plugin = plugin
        self._bridge = ASGIBridge(_without_exit(application), f"/plugins/{plugin.name}")

    async def live(self, leaving: trio.Event, *, task_status: trio.TaskStatus[bool]) -> None:
        """Start the application, tell whether it has, and stop it once `leaving` is set."""
        started = False
        try:
            with trio.CancelScope(deadline=trio.current_time() + LIFESPAN_SECONDS) as limit:
                async with self._bridge.lifespan():
                    limit.deadline = inf
                    started = True
                    task_status.started(True)
                    await leaving.wait()
                    limit.deadline = trio.current_time() + LIFESPAN_SECONDS
            if limit.cancelled_caught:
                what = "stop" if started else "start"
                self._plugin.trouble(WHERE, f"the application did not {what} within {LIFESPAN_SECONDS:g} s")
        except Exception as error:
            self._plugin.trouble(WHERE, describe(error), error)
        if not started:
            self._plugin.withdraw(routes_at(self._plugin.name))
            task_status.started(False)

    async def answer(self, connection: Connection, request: Request) -> None:
        """Have the application answer. Raises APIError; cancelled, so was the application."""
        try:
            await self._bridge(connection, request)
        except errors.APIError:
            raise
        except Exception as error:
            method, target = request.method.decode("latin-1"), request.target.decode("latin-1")
            self._plugin.trouble(WHERE, f"{method} {target}: {describe(error)}", error)
            raise errors.InternalError from error


def _without_exit(application: ASGIApplication) -> ASGIApplication:
    """Return an application that cannot end the daemon: what is no Exception, but for cancellation, becomes one."""

    async def contained(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await application(scope, receive, send)
        except SystemExit as error:
            raise RuntimeError(f"it raised {error!r}") from error

    return contained
