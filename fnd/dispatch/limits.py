"""What bounds dispatch: the machine's limits, and the settings of one pool. Sizes in MiB, times in seconds."""

from __future__ import annotations

import enum

import attrs


class KeepAlive(enum.StrEnum):
    """For how long an idle container is kept."""

    FIXED = "fixed"
    """For the idle time-out."""
    ADAPTIVE = "adaptive"
    """As long as its pool's habits tell that it may be needed, and no longer than that (fnd.dispatch.keep_alive)."""


@attrs.frozen(kw_only=True)
class Limits:
    """The machine, and how much of what callers send is taken in."""

    memory: int
    """MiB that all containers together may reserve."""
    cores: int = 2
    """Processors: what may start at once without crowding, and what all containers together may reserve."""
    max_pools: int = 10_000
    """Pools remembered while they have nothing; one with a container, a launch or a waiter is never forgotten."""
    max_waiting: int = 1_000
    """Calls in one pool's line."""
    launch_attempts: int = 3
    """Launches in a row that may fail before all who wait are rejected with the reason."""

    @property
    def cpu(self) -> int:
        """Thousandths of a core that all containers together may reserve."""
        return 1000 * self.cores

    def share(self, settings: PoolSettings) -> float:
        """Return which part of the machine one container takes: of memory or of processors, whichever is more."""
        return max(settings.memory / self.memory, settings.cpu / self.cpu)


@attrs.frozen(kw_only=True)
class PoolSettings:
    """One fn version, as far as dispatch is concerned."""

    memory: int
    """MiB each container reserves."""
    cpu: int = 0
    """Thousandths of a core each container reserves."""
    idle_timeout: float
    """Seconds that a container may stay idle."""
    keep_alive: KeepAlive = KeepAlive.FIXED
    hot: bool = True
    """Whether a container serves more than one call."""
    concurrency: int = 1
    """Calls that a container serves at once; more than one only of a hot pool."""
    min_warm: int = 0
    """Containers kept even when nobody calls; calls that wait for memory outrank this."""
    max_containers: int | None = None
    """Containers at most, or None."""
