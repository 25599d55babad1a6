"""What a call through fnd takes longer than on the function's own socket, beside what the bare proxy adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tests.bench.figures import Figure, at_most, median, ratio
from tests.bench.load import Caller
from tests.bench.stage import FDK, Stage

MOST_ADDED: Final = at_most(1.3)
_CALLS_A_BLOCK: Final = 200
_BLOCKS_A_ROUND: Final = 4


def measure(stage: Stage) -> list[Figure]:
    """Return the figure: blocks of calls, the three ways in turn, one caller, the Python FDK function."""
    direct, behind_proxy = stage.functions(FDK, 2)
    callers = {
        "direct": Caller(direct),
        "proxy": Caller(stage.proxy([behind_proxy]).port),
        "fnd": Caller(stage.port(FDK)),
    }
    blocks: list[Mapping[str, float]] = []
    for number in range(stage.rounds):
        stage.say(f"latency: round {number + 1} of {stage.rounds}")
        for _ in range(_BLOCKS_A_ROUND):
            blocks.append({name: _median_of_block(caller) for name, caller in callers.items()})
    for caller in callers.values():
        caller.sock.close()
    return [added_figure(blocks[1:])]


def _median_of_block(caller: Caller) -> float:
    return median([caller.call().seconds for _ in range(_CALLS_A_BLOCK)])


def added_figure(blocks: Sequence[Mapping[str, float]]) -> Figure:
    """Return the ratio of what fnd adds to what the proxy adds, from the median latencies of each block, in seconds."""
    added = [(block["fnd"] - block["direct"], block["proxy"] - block["direct"]) for block in blocks]
    medians = {name: median([block[name] for block in blocks]) * 1e6 for name in ("direct", "proxy", "fnd")}
    return Figure(
        name="added median latency, 1 caller, Python FDK function",
        value=median([ratio(fnd, proxy) for fnd, proxy in added]),
        unit="×",
        target=MOST_ADDED,
        detail=f"direct {medians['direct']:.0f} µs, proxy {medians['proxy']:.0f} µs, fnd {medians['fnd']:.0f} µs",
    )
