"""What a call through fnd takes longer than on the function's own socket, beside what the bare proxy adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tests.bench.figures import Figure, at_most, median, ratio
from tests.bench.load import Caller
from tests.bench.stage import FDK, Stage

MOST_ADDED: Final = at_most(1.3)
_BLOCKS_A_ROUND: Final = 5
_CALLS_A_BLOCK: Final = 300
_WARMING: Final = 100
"""Calls at the start of each block that do not count: the caches are still full of another way's work."""


def measure(stage: Stage) -> list[Figure]:
    """Return the figure: blocks of calls, the three ways in turn, one caller, the Python FDK function."""
    direct, behind_proxy = stage.functions(FDK, 2)
    callers = {
        "direct": Caller(direct),
        "proxy": Caller(stage.proxy([behind_proxy]).port),
        "fnd": Caller(stage.port(FDK)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in callers}
    for number in range(stage.rounds):
        stage.say(f"latency: round {number + 1} of {stage.rounds}")
        for _ in range(_BLOCKS_A_ROUND):
            for name, caller in callers.items():
                block = [caller.call().seconds for _ in range(_CALLS_A_BLOCK)]
                seconds[name] += block[_WARMING:]
    for caller in callers.values():
        caller.sock.close()
    return [added_figure(seconds)]


def added_figure(seconds: Mapping[str, Sequence[float]]) -> Figure:
    """Return the ratio of what fnd adds to the median to what the proxy adds, from each way's latencies in seconds."""
    direct, proxy, fnd = (median(seconds[name]) for name in ("direct", "proxy", "fnd"))
    return Figure(
        name="added median latency, 1 caller, Python FDK function",
        value=ratio(fnd - direct, proxy - direct),
        unit="×",
        target=MOST_ADDED,
        detail=f"direct {direct * 1e6:.0f} µs, proxy {proxy * 1e6:.0f} µs, fnd {fnd * 1e6:.0f} µs",
    )
