"""What one function's flood does to another's calls: to their p99, against a flood that does not go through fnd.

A flood takes processors from whoever else wants them: on a small machine, from the other function's process, whatever
stands between. What fnd is answerable for is what it adds to that. So the same number of callers flood the same
function in turn through fnd and past it, through the bare proxy, while the other function is called through fnd.
"""

from __future__ import annotations

import time
from typing import Final

from tests.bench.calls import MANY
from tests.bench.figures import Figure, at_most, percentile, ratio
from tests.bench.load import WARM_SECONDS, Caller, Load, Port
from tests.bench.stage import FDK, TRIVIAL, Stage

MOST_P99: Final = at_most(1.3)
_SPARE: Final = 0.5
"""How much of the flood's time is left over when the calls are counted, at least."""
_CONTAINERS: Final = 2
"""Processes of the flooded function behind the proxy: as many as fnd mostly has of it."""


def measure(stage: Stage) -> list[Figure]:
    """Return the figures: one caller of the FDK function alone, and in either flood, in turn."""
    caller = Caller(stage.port(FDK))
    stage.deployed(TRIVIAL)
    proxy = stage.proxy(stage.functions(TRIVIAL, _CONTAINERS))
    alone: list[float] = []
    through: list[float] = []
    past: list[float] = []
    for number in range(stage.rounds):
        stage.say(f"flood: round {number + 1} of {stage.rounds}")
        alone += _calls(caller, stage.seconds / 2)
        through += _flooded(stage, caller, stage.port(TRIVIAL))
        past += _flooded(stage, caller, proxy.port)
    caller.sock.close()
    return flood_figures(alone, through, past)


def _flooded(stage: Stage, caller: Caller, port: Port) -> list[float]:
    """Call while a function is flooded; return what each call took, in seconds."""
    flood = Load(port, MANY, stage.seconds)
    time.sleep(WARM_SECONDS)
    taken = _calls(caller, stage.seconds - _SPARE)
    flood.result()
    return taken


def _calls(caller: Caller, seconds: float) -> list[float]:
    end = time.perf_counter() + seconds
    taken: list[float] = []
    while time.perf_counter() < end:
        taken.append(caller.call().seconds)
    return taken


def flood_figures(alone: list[float], through: list[float], past: list[float]) -> list[Figure]:
    """Return the ratios of the p99, of latencies in seconds."""
    before, flooded, beside = (percentile(taken, 0.99) for taken in (alone, through, past))
    told = f"{before * 1e3:.2f} ms alone, {flooded * 1e3:.2f} ms in the flood, {beside * 1e3:.2f} ms in one past fnd"
    return [
        Figure(
            name="p99 of a function's calls while 64 callers flood another, over that in a flood past fnd",
            value=ratio(flooded, beside),
            unit="×",
            target=MOST_P99,
            detail=told,
        ),
        Figure(name="the same, over p99 without any flood", value=ratio(flooded, before), unit="×", detail=told),
    ]
