"""GET /metrics: the daemon's statistics in Prometheus' format, made anew for each scrape and kept nowhere."""

from __future__ import annotations

from typing import Any, Final

import attrs
import trio
from litestar import Request, Response, get

from fnd.api.services import services_of
from fnd.catalog import CatalogCounts
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
    text, content_type = await trio.to_thread.run_sync(_render, snapshot, open_metrics)
    # A header, since the framework would add a second charset to a media type.
    return Response(text, media_type="text/plain", headers={"content-type": content_type})


def _render(snapshot: Snapshot, open_metrics: bool) -> tuple[bytes, str]:
    # Imported here: a daemon that nobody scrapes saves a megabyte.
    from fnd.api.exposition import render

    return render(snapshot, open_metrics)
