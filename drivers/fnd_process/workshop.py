"""What containers are made with: set up once in the driver's `running`, and shared by them all."""

from __future__ import annotations

from pathlib import Path

import attrs
import trio

from fnd_process.cgroups import Cgroups
from fnd_process.launch import Confinement
from fnd_process.settings import ProcessSettings
from fnd_process.spawner import Spawner
from fnd_process.users import Users
from fnd_process.watchdog import Watchdog


@attrs.frozen(kw_only=True)
class Workshop:
    """Everything of the driver that a container's life needs."""

    settings: ProcessSettings
    runtime_directory: Path
    confinement: Confinement
    users: Users | None
    """Where each container has a user id of its own."""
    cgroups: Cgroups | None
    spawner: Spawner
    watchdog: Watchdog
    limiter: trio.CapacityLimiter
    """For worker threads."""

    @property
    def memory_by_kernel(self) -> bool:
        """Whether the kernel keeps containers to their memory, so that the watchdog need not."""
        return self.cgroups is not None and self.cgroups.memory
