"""What a call through fnd takes longer than on the function's own socket, beside what the bare proxy adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tests.bench.figures import Figure, at_most, median, ratio
from tests.bench.load import Caller, FunctionSocket, Port
from tests.bench.stage import FDK, Stage

MOST_ADDED: Final = at_most(1.3)
_BLOCKS_A_ROUND: Final = 12
_CALLS_A_BLOCK: Final = 200
_WARMING: Final = 50
"""Calls at the start of each block that do not count: the caches are still full of another way's work."""


def measure(stage: Stage) -> list[Figure]:
    """Return the figure: blocks of calls, the three ways in turn, one caller, the Python FDK function.

    The functions, the proxy and the daemon are new in each round.
    """
    blocks: list[Mapping[str, float]] = []
    for number in range(stage.rounds):
        stage.say(f"latency: round {number + 1} of {stage.rounds}")
        direct, behind_proxy = stage.functions(FDK, 2 * number + 2)[-2:]
        stage.restart()
        blocks += _round(stage.port(FDK), stage.proxy([behind_proxy]).port, direct)
    return [added_figure(blocks)]


def _round(fnd: Port, proxy: Port, direct: FunctionSocket) -> list[Mapping[str, float]]:
    callers = {"direct": Caller(direct), "proxy": Caller(proxy), "fnd": Caller(fnd)}
    blocks: list[Mapping[str, float]] = []
    for _ in range(_BLOCKS_A_ROUND + 1):
        blocks.append({name: _median_of_block(caller) for name, caller in callers.items()})
        callers = dict(reversed(callers.items()))
    for caller in callers.values():
        caller.sock.close()
    return blocks[1:]


def _median_of_block(caller: Caller) -> float:
    return median([caller.call().seconds for _ in range(_CALLS_A_BLOCK)][_WARMING:])


def added_figure(blocks: Sequence[Mapping[str, float]]) -> Figure:
    """Return the ratio of what fnd adds to what the proxy adds, from the median latencies of each block, in seconds.

    What is added is taken within each block, so that it is the same machine that served all three.
    """
    fnd = median([block["fnd"] - block["direct"] for block in blocks])
    proxy = median([block["proxy"] - block["direct"] for block in blocks])
    direct = median([block["direct"] for block in blocks])
    return Figure(
        name="added median latency, 1 caller, Python FDK function",
        value=ratio(fnd, proxy),
        unit="×",
        target=MOST_ADDED,
        detail=f"direct {direct * 1e6:.0f} µs, proxy adds {proxy * 1e6:.0f} µs, fnd {fnd * 1e6:.0f} µs",
    )
