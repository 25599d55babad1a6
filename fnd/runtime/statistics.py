"""What the running daemon says of itself: frozen snapshots for status, `fnd top` and metrics.

Ages and durations are in seconds, memory in MiB.
"""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class ContainerStatistics:
    """One container, as it is now."""

    id: str
    state: str
    """"launching", "idle", "busy", "leaving", "paused" or "stopping"."""
    age: float
    """Since its launch was decided."""
    in_state: float
    """Since it came into this state."""
    calls: int
    """Calls it has been given."""
    pid: int | None
    running: int
    """Calls it runs."""
    call_id: str
    """The one of these that it has had for longest, or ""."""


@attrs.frozen(kw_only=True)
class PoolStatistics:
    """One fn version's pool."""

    app_id: str
    app_name: str
    fn_id: str
    fn_name: str
    image: str
    format: str
    memory: int
    idle_timeout: float
    retired: bool
    """The fn has changed or gone; this pool serves who waits and ends."""
    waiting: int
    calls: int
    failures: int
    launches: int
    mean_run: float | None
    mean_start: float | None
    containers: tuple[ContainerStatistics, ...]


@attrs.frozen(kw_only=True)
class AgentStatistics:
    """All pools and the machine's capacity."""

    memory_limit: int
    memory_reserved: int
    cpu_limit: int
    """Thousandths of a core, as the next."""
    cpu_reserved: int
    calls_running: int
    calls_waiting: int
    calls_total: int
    launches_total: int
    pools: tuple[PoolStatistics, ...]
