"""Calls per second and p99: fnd beside the bare proxy, in front of the same function in as many processes."""

from __future__ import annotations

import math
from typing import Final

import attrs

from tests.bench.figures import Figure, Target, at_least, at_most, median, median_ratio
from tests.bench.load import LoadResult, put_load
from tests.bench.stage import FDK, TRIVIAL, Stage

LEAST_RATE: Final = at_least(0.75)
MOST_P99: Final = at_most(2.0)
MANY: Final = 64
_WARM_SECONDS: Final = 2


@attrs.frozen
class Round:
    """Both measured once, one after the other."""

    fnd: LoadResult
    proxy: LoadResult
    containers: int
    """How many fnd had, and the proxy was given."""


def measure(stage: Stage) -> list[Figure]:
    """Return the figures of the trivial function, at 64 callers and at one, and of the FDK's at 64."""
    trivial = run_rounds(stage, TRIVIAL, MANY)
    one = run_rounds(stage, TRIVIAL, 1)
    fdk = run_rounds(stage, FDK, MANY)
    return [
        rate_figure("calls per second, 64 callers, trivial function", trivial, LEAST_RATE),
        p99_figure("p99, 64 callers, trivial function", trivial, MOST_P99),
        rate_figure("calls per second, 1 caller, trivial function", one, LEAST_RATE),
        rate_figure("calls per second, 64 callers, Python FDK function", fdk, LEAST_RATE),
        p99_figure("p99, 64 callers, Python FDK function", fdk, MOST_P99),
    ]


def run_rounds(stage: Stage, name: str, callers: int) -> list[Round]:
    """Measure in rounds, fnd first in one and the proxy first in the next."""
    fn_id = stage.deployed(name).fn_id
    put_load(stage.port(name), callers, _WARM_SECONDS)
    containers = count_containers(stage, fn_id)
    rounds = []
    for number in range(stage.rounds):
        stage.say(f"{name}, {callers} callers: round {number + 1} of {stage.rounds}")
        if number % 2:
            proxy = _load_proxy(stage, name, callers, containers)
            fnd = put_load(stage.port(name), callers, stage.seconds)
        else:
            fnd = put_load(stage.port(name), callers, stage.seconds)
            containers = count_containers(stage, fn_id)
            proxy = _load_proxy(stage, name, callers, containers)
        rounds.append(Round(fnd, proxy, containers))
    return rounds


def _load_proxy(stage: Stage, name: str, callers: int, containers: int) -> LoadResult:
    port = stage.proxy(stage.functions(name, containers))
    put_load(port, callers, 1)  # it may be new
    return put_load(port, callers, stage.seconds)


def count_containers(stage: Stage, fn_id: str) -> int:
    """Return how many containers fnd has for a function now, at least one."""
    return max(1, len(stage.daemon.containers(fn_id)))


def rate_figure(name: str, rounds: list[Round], target: Target) -> Figure:
    """Return fnd's calls per second over the proxy's; not a number if any call failed."""
    value = median_ratio([one.fnd.rate for one in rounds], [one.proxy.rate for one in rounds])
    detail = (
        f"fnd {median([one.fnd.rate for one in rounds]):,.0f}/s, "
        f"proxy {median([one.proxy.rate for one in rounds]):,.0f}/s, {_common(rounds)}"
    )
    return Figure(name=name, value=_unless_failed(value, rounds), unit="×", target=target, detail=detail)


def p99_figure(name: str, rounds: list[Round], target: Target) -> Figure:
    """Return fnd's p99 over the proxy's; not a number if any call failed."""
    value = median_ratio([one.fnd.p99 for one in rounds], [one.proxy.p99 for one in rounds])
    detail = (
        f"fnd {median([one.fnd.p99 for one in rounds]) * 1e3:.1f} ms, "
        f"proxy {median([one.proxy.p99 for one in rounds]) * 1e3:.1f} ms, {_common(rounds)}"
    )
    return Figure(name=name, value=_unless_failed(value, rounds), unit="×", target=target, detail=detail)


def _errors(rounds: list[Round]) -> int:
    return sum(one.fnd.errors + one.proxy.errors for one in rounds)


def _unless_failed(value: float, rounds: list[Round]) -> float:
    return math.nan if _errors(rounds) else value


def _common(rounds: list[Round]) -> str:
    counts = sorted({one.containers for one in rounds})
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    failed = _errors(rounds)
    return f"{span} containers" + (f", {failed} calls failed" if failed else "")
