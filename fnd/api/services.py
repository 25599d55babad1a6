"""What the ASGI application's handlers work with: one frozen object, made by the daemon, given to each route.

The running parts are seen through protocols as narrow as their use here, so that a test gives a handler
a few lines of stand-in, and no handler reaches further than it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import attrs

from fnd.api.builds import Builder
from fnd.api.plugin_metrics import PluginMetrics

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection

    from fnd.catalog import Catalog
    from fnd.config import Settings
    from fnd.hookspecs import Codec, Driver
    from fnd.plugins import Plugin
    from fnd.runtime.call import Call
    from fnd.runtime.call_records import CallRecords
    from fnd.runtime.events import EventBus
    from fnd.runtime.function_logs import FunctionLogs
    from fnd.runtime.statistics import AgentStatistics
    from fnd.store import CallHistory, Store

STATE_KEY: Final = "services"
"""Where the application's state holds its Services."""


class AgentView(Protocol):
    """The agent, as far as routes see it."""

    def statistics(self) -> AgentStatistics:
        """Return a snapshot of every pool and of the machine's capacity."""

    def calls(self) -> Iterable[Call]:
        """Return the calls that wait for a container or have one."""


class DaemonControl(Protocol):
    """The daemon's own life, as far as an operator steers it over the control socket."""

    @property
    def state(self) -> str:
        """ "starting", "ready", "draining" or "stopping"."""

    @property
    def started_at(self) -> datetime:
        """When the daemon started, UTC."""

    @property
    def listeners(self) -> tuple[str, ...]:
        """The addresses that answer, as they would be written after `--listen`, ports as bound."""

    def stop(self) -> None:
        """Begin an orderly stop, as SIGTERM does; returns at once."""

    def drain(self) -> None:
        """Take no new call and let running ones finish, without stopping the daemon; returns at once."""

    async def reload(self) -> None:
        """Read the configuration again and apply what can change while running.

        Raises ConfigurationError, with everything as it was before.
        """


@attrs.frozen(kw_only=True, eq=False)
class Services:
    """Everything a route may use."""

    settings: Settings
    store: Store
    catalog: Catalog
    agent: AgentView
    daemon: DaemonControl
    drivers: Mapping[str, Driver]
    """By scheme."""
    codecs: Mapping[str, Codec]
    """By format."""
    logs: FunctionLogs
    events: EventBus
    records: CallRecords
    """Of the last calls that are over."""
    history: CallHistory
    """Where records go to."""
    plugins: Iterable[Plugin] = ()
    metrics: PluginMetrics = attrs.field(factory=lambda: PluginMetrics({}))
    """Plugins' own."""
    builder: Builder = attrs.field(
        default=attrs.Factory(lambda self: Builder(self.settings.data_directory), takes_self=True)
    )
    """The daemon clears it at start."""


def services_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Services:
    """Return the Services of the application that answers `connection`."""
    return cast("Services", connection.app.state[STATE_KEY])
