"""What one function's flood does to another's calls: their p99 during it, over their p99 without it."""

from __future__ import annotations

import time
from typing import Final

from tests.bench.calls import MANY
from tests.bench.figures import Figure, at_most, percentile, ratio
from tests.bench.load import WARM_SECONDS, Caller, Load
from tests.bench.stage import FDK, TRIVIAL, Stage

MOST_P99: Final = at_most(2.0)
_SPARE: Final = 0.5
"""How much of the flood's time is left over when the calls are counted, at least."""


def measure(stage: Stage) -> list[Figure]:
    """Return the figure: one caller of the FDK function, alone and while 64 callers flood the trivial one, in turn."""
    caller = Caller(stage.port(FDK))
    stage.deployed(TRIVIAL)
    alone: list[float] = []
    flooded: list[float] = []
    rates: list[float] = []
    for number in range(stage.rounds):
        stage.say(f"flood: round {number + 1} of {stage.rounds}")
        alone += _calls(caller, stage.seconds / 2)
        flood = Load(stage.port(TRIVIAL), MANY, stage.seconds)
        time.sleep(WARM_SECONDS)
        flooded += _calls(caller, stage.seconds - _SPARE)
        rates.append(flood.result().rate)
    caller.sock.close()
    return [flood_figure(alone, flooded, min(rates))]


def _calls(caller: Caller, seconds: float) -> list[float]:
    """Call for so long; return what each call took, in seconds."""
    end = time.perf_counter() + seconds
    taken: list[float] = []
    while time.perf_counter() < end:
        taken.append(caller.call().seconds)
    return taken


def flood_figure(alone: list[float], flooded: list[float], rate: float) -> Figure:
    """Return the ratio of the two p99, from latencies in seconds; `rate` is the flood's calls per second."""
    before, during = percentile(alone, 0.99), percentile(flooded, 0.99)
    return Figure(
        name="p99 of a function's calls while 64 callers flood another, over p99 without",
        value=ratio(during, before),
        unit="×",
        target=MOST_P99,
        detail=f"{before * 1e3:.2f} ms alone, {during * 1e3:.2f} ms in the flood of {rate:,.0f}/s",
    )
