"""What dispatch says of itself: frozen snapshots, made on request in time linear in what they tell. Seconds and MiB."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import attrs

from fnd.dispatch.limits import PoolSettings
from fnd.dispatch.pool import Pool
from fnd.dispatch.slot import SlotState


@attrs.frozen(kw_only=True)
class SlotSnapshot:
    """One container, as it is now."""

    state: SlotState
    age: float
    """Since its launch was decided."""
    in_state: float
    """Since it came into this state."""
    calls: int
    """Calls it has been given."""
    running: int
    """Calls it runs."""
    container: Any
    """What the shell put there."""


@attrs.frozen(kw_only=True)
class PoolSnapshot:
    """One pool, as it is now."""

    key: Hashable
    settings: PoolSettings
    retired: bool
    waiting: int
    calls: int
    """Calls given to a container so far."""
    launches: int
    """Launches begun so far."""
    launch_failures: int
    mean_run: float | None
    """Seconds a call runs, of late; None before the first has finished."""
    mean_start: float | None
    """Seconds from launch to ready, of late; None before the first was ready."""
    launch_error: Any
    """What the last launch failed with, if none has succeeded since."""
    retry_at: float
    """No launch before this moment; -inf unless launches failed."""
    slots: tuple[SlotSnapshot, ...]
    """Oldest first."""


@attrs.frozen(kw_only=True)
class DispatchSnapshot:
    """Everything, as it is now."""

    memory_limit: int
    memory_reserved: int
    cpu_limit: int
    """Thousandths of a core."""
    cpu_reserved: int
    running: int
    """Calls that have a container."""
    waiting: int
    calls: int
    """Calls given to a container so far, by pools since forgotten too."""
    launches: int
    launching: int
    launch_limit: int
    """How many launches the machine is given at once at present."""
    pools: tuple[PoolSnapshot, ...]


def snapshot(pool: Pool, now: float) -> PoolSnapshot:
    """Return the pool as it is now."""
    meter = pool.meter
    return PoolSnapshot(
        key=pool.key,
        settings=pool.settings,
        retired=pool.retired,
        waiting=pool.line.length,
        calls=pool.calls,
        launches=pool.launches,
        launch_failures=pool.failures.total,
        mean_run=meter.mean_run if meter.runs else None,
        mean_start=meter.mean_start if meter.starts else None,
        launch_error=pool.failures.error,
        retry_at=pool.failures.retry_at,
        slots=tuple(
            SlotSnapshot(
                state=slot.state,
                age=now - slot.launched_at,
                in_state=now - slot.since,
                calls=slot.calls,
                running=len(slot.in_hand),
                container=slot.container,
            )
            for slot in pool.slots
        ),
    )
