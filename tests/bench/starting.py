"""How long the daemon takes to be ready, and how much memory it has then."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Final

from tests.bench import processes
from tests.bench.figures import Figure, at_most, median, median_ratio
from tests.bench.stage import Stage

MOST_RESIDENT: Final = at_most(71.0)
MOST_START: Final = at_most(1.5)
_IMPORTS: Final = "import trio, httptools, sqlalchemy, litestar"
_STARTS_A_ROUND: Final = 2
_MIB: Final = 1 << 20


def measure(stage: Stage) -> list[Figure]:
    """Return the figures; starts of the daemon and of the bare imports alternate, the first of each not counted."""
    starts: list[float] = []
    imports: list[float] = []
    resident: list[float] = []
    directory = stage.directory / "starting"
    for number in range(stage.rounds * _STARTS_A_ROUND + 1):
        stage.say(f"starts: {number} of {stage.rounds * _STARTS_A_ROUND}")
        imports.append(_time_imports(stage))
        with processes.daemon(directory) as daemon:
            starts.append(daemon.start_seconds)
            daemon.status()
            resident.append(daemon.resident() / _MIB)
    starts, imports, resident = starts[1:], imports[1:], resident[1:]
    fresh = []
    fresh_resident = []
    for number in range(stage.rounds):
        with processes.daemon(stage.directory / f"fresh{number}") as daemon:
            fresh.append(daemon.start_seconds)
            daemon.status()
            fresh_resident.append(daemon.resident() / _MIB)
    return [
        Figure(
            name="memory of the idle daemon",
            value=median(resident),
            unit="MiB",
            target=MOST_RESIDENT,
            detail="resident, after a start and one look at its status",
        ),
        Figure(
            name="memory of the idle daemon, first start",
            value=median(fresh_resident),
            unit="MiB",
            target=MOST_RESIDENT,
            detail="the same, but it has made its database",
        ),
        Figure(
            name="start to READY over bare imports",
            value=median_ratio(starts, imports),
            unit="×",
            target=MOST_START,
            detail=f"fnd {median(starts) * 1e3:.0f} ms, imports {median(imports) * 1e3:.0f} ms",
        ),
        Figure(
            name="start to READY without a database yet",
            value=median(fresh) * 1e3,
            unit="ms",
            detail="the first start on a machine makes it",
        ),
    ]


def _time_imports(stage: Stage) -> float:
    started = time.perf_counter()
    environment = processes.base_environment(stage.directory)
    subprocess.run([sys.executable, "-c", _IMPORTS], env=environment, check=True)
    return time.perf_counter() - started
