"""Calls per second and p99: fnd beside the bare proxy, in front of the same function in as many processes."""

from __future__ import annotations

import math
import time
from typing import Final

import attrs

from tests.bench.figures import Figure, Target, at_least, at_most, median, median_ratio
from tests.bench.load import WARM_SECONDS, Load, LoadResult, put_load
from tests.bench.processes import processor_seconds
from tests.bench.stage import FDK, TRIVIAL, Stage

LEAST_RATE: Final = at_least(0.75)
MOST_P99: Final = at_most(2.0)
MANY: Final = 64
_LEARNING_SECONDS: Final = 5.0
"""How long fnd may learn how many containers a load takes before anything is counted."""


@attrs.frozen
class Measured:
    """One load of one server."""

    load: LoadResult
    processor: float
    """Seconds that the server had a processor for it."""

    @property
    def processor_per_call(self) -> float:
        """Seconds."""
        return self.processor / max(1, self.load.requests)


@attrs.frozen
class Round:
    """Both measured once, one after the other."""

    fnd: Measured
    proxy: Measured
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
        processor_figure("processor time of a call, 64 callers, trivial function", trivial),
        rate_figure("calls per second, 1 caller, trivial function", one, LEAST_RATE),
        rate_figure("calls per second, 64 callers, Python FDK function", fdk, LEAST_RATE),
        p99_figure("p99, 64 callers, Python FDK function", fdk, MOST_P99),
    ]


def run_rounds(stage: Stage, name: str, callers: int) -> list[Round]:
    """Measure in rounds, fnd first in one and the proxy first in the next."""
    put_load(stage.port(name), callers, _LEARNING_SECONDS)
    containers = _load_fnd(stage, name, callers)[1]
    rounds = []
    for number in range(stage.rounds):
        stage.say(f"{name}, {callers} callers: round {number + 1} of {stage.rounds}")
        if number % 2:
            proxy = _load_proxy(stage, name, callers, containers)
            fnd, containers = _load_fnd(stage, name, callers)
        else:
            fnd, containers = _load_fnd(stage, name, callers)
            proxy = _load_proxy(stage, name, callers, containers)
        rounds.append(Round(fnd, proxy, containers))
    return rounds


def _load_fnd(stage: Stage, name: str, callers: int) -> tuple[Measured, int]:
    """Measure fnd; return, too, how many containers it had in the middle of it, at least one."""
    load = Load(stage.port(name), callers, stage.seconds)
    time.sleep(WARM_SECONDS)
    began = processor_seconds(stage.daemon.pid)
    time.sleep(stage.seconds / 2)
    containers = len(stage.daemon.containers(stage.deployed(name).fn_id))
    result = load.result()
    return Measured(result, processor_seconds(stage.daemon.pid) - began), max(1, containers)


def _load_proxy(stage: Stage, name: str, callers: int, containers: int) -> Measured:
    proxy = stage.proxy(stage.functions(name, containers))
    load = Load(proxy.port, callers, stage.seconds)
    time.sleep(WARM_SECONDS)
    began = processor_seconds(proxy.pid)
    result = load.result()
    return Measured(result, processor_seconds(proxy.pid) - began)


def rate_figure(name: str, rounds: list[Round], target: Target) -> Figure:
    """Return fnd's calls per second over the proxy's; not a number if any call failed."""
    value = median_ratio([one.fnd.load.rate for one in rounds], [one.proxy.load.rate for one in rounds])
    detail = (
        f"fnd {median([one.fnd.load.rate for one in rounds]):,.0f}/s, "
        f"proxy {median([one.proxy.load.rate for one in rounds]):,.0f}/s, {_common(rounds)}"
    )
    return Figure(name=name, value=_unless_failed(value, rounds), unit="×", target=target, detail=detail)


def p99_figure(name: str, rounds: list[Round], target: Target) -> Figure:
    """Return fnd's p99 over the proxy's; not a number if any call failed."""
    value = median_ratio([one.fnd.load.p99 for one in rounds], [one.proxy.load.p99 for one in rounds])
    detail = (
        f"fnd {median([one.fnd.load.p99 for one in rounds]) * 1e3:.1f} ms, "
        f"proxy {median([one.proxy.load.p99 for one in rounds]) * 1e3:.1f} ms, {_common(rounds)}"
    )
    return Figure(name=name, value=_unless_failed(value, rounds), unit="×", target=target, detail=detail)


def processor_figure(name: str, rounds: list[Round]) -> Figure:
    """Return what a call costs fnd over what it costs the proxy: the figure that a busy machine changes least."""
    fnd = [one.fnd.processor_per_call for one in rounds]
    proxy = [one.proxy.processor_per_call for one in rounds]
    detail = f"fnd {median(fnd) * 1e6:.0f} µs, proxy {median(proxy) * 1e6:.0f} µs, {_common(rounds)}"
    return Figure(name=name, value=median_ratio(fnd, proxy), unit="×", detail=detail)


def _errors(rounds: list[Round]) -> int:
    return sum(one.fnd.load.errors + one.proxy.load.errors for one in rounds)


def _unless_failed(value: float, rounds: list[Round]) -> float:
    return math.nan if _errors(rounds) else value


def _common(rounds: list[Round]) -> str:
    counts = sorted({one.containers for one in rounds})
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    failed = _errors(rounds)
    return f"{span} containers" + (f", {failed} calls failed" if failed else "")
