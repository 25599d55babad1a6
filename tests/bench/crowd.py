"""A thousand callers of one cold function at once."""

from __future__ import annotations

import math
from typing import Final

from tests.bench.figures import Figure, at_most
from tests.bench.load import Caller, run_callers
from tests.bench.stage import FDK, Stage

MOST_TIME: Final = at_most(3.0)
CALLERS: Final = 1000
_RUNS: Final = 200


def measure(stage: Stage) -> list[Figure]:
    """Return the figure: the time until all are answered, over one cold start and the runs shared out."""
    stage.say(f"{CALLERS} callers of a cold function")
    deployed = stage.deployed(FDK)
    # One cold call tells the start, warm ones the run, as callers see them.
    alone = stage.daemon.another(deployed, "crowd-alone", idle_timeout=1)
    caller = Caller(stage.daemon.port_of(alone.fn_id))
    start = caller.call().seconds
    run = sum(caller.call().seconds for _ in range(_RUNS)) / _RUNS
    caller.sock.close()
    fn = stage.daemon.another(deployed, "crowd")
    result = run_callers([stage.daemon.port_of(fn.fn_id)] * CALLERS, warm=0.0, seconds=0.0)
    containers = max(1, len(stage.daemon.containers(fn.fn_id)))
    expected = start + CALLERS * run / containers
    return [
        Figure(
            name=f"{CALLERS:,} callers of one cold function, until all are answered",
            value=math.nan if result.errors else result.duration / expected,
            unit="×",
            target=MOST_TIME,
            detail=f"{result.duration:.2f} s, {result.requests} answered, {result.errors} failed, "
            f"{containers} containers; one cold start {start * 1e3:.0f} ms, a run {run * 1e3:.2f} ms",
        )
    ]
