"""GET /metrics: the daemon's statistics in Prometheus' format, made anew for each scrape and kept nowhere."""

from __future__ import annotations

from typing import Any, Final

import attrs
import trio
from litestar import Request, Response, get

from fnd.api.plugin_metrics import WHERE
from fnd.api.services import services_of
from fnd.catalog import CatalogCounts
from fnd.plugins import Plugin
from fnd.runtime.statistics import AgentStatistics
from fnd.store import StoreHealth

OPEN_METRICS: Final = "application/openmetrics-text"


@attrs.frozen(kw_only=True)
class Snapshot:
    """What one scrape tells."""

    agent: AgentStatistics
    catalog: CatalogCounts
    store: StoreHealth
    state: str
    """The daemon's."""


@get("/metrics", operation_id="GetMetrics", media_type="text/plain")
async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Tell the state of the daemon, of each function's calls and containers, and of the daemon's process."""
    services = services_of(request)
    snapshot = Snapshot(
        agent=services.agent.statistics(),
        catalog=services.catalog.counts(),
        store=services.store.health,
        state=services.daemon.state,
    )
    open_metrics = OPEN_METRICS in request.headers.get("accept", "")
    # Written out in a thread: there may be thousands of functions.
    of_plugins = await services.metrics.collect()
    text, content_type, troubles = await trio.to_thread.run_sync(_render, snapshot, of_plugins, open_metrics)
    for plugin, trouble in troubles:
        plugin.trouble(WHERE, trouble)
    # A header, since the framework would add a second charset to a media type.
    return Response(text, media_type="text/plain", headers={"content-type": content_type})


def _render(
    snapshot: Snapshot, of_plugins: list[tuple[Plugin, list[Any]]], open_metrics: bool
) -> tuple[bytes, str, list[tuple[Plugin, str]]]:
    # Imported here: a daemon that nobody scrapes saves a megabyte.
    from fnd.api.exposition import render

    return render(snapshot, of_plugins, open_metrics)
