"""Calls per second by other formats, over those by http-stream: the same trivial work, warm."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Final

from tests.bench.calls import MANY, Measured
from tests.bench.figures import Figure, Target, at_least, median, median_ratio
from tests.bench.load import WARM_SECONDS, Load, put_load
from tests.bench.processes import processor_seconds
from tests.bench.stage import TRIVIAL, Stage

LEAST_RATE: Final = at_least(0.7)
OTHERS: Final[Mapping[str, Target | None]] = {"json": LEAST_RATE, "http": None, "webserver": None}
"""The other formats, and what they must reach."""
HTTP_STREAM: Final = "http-stream"
_FUNCTIONS: Final = {HTTP_STREAM: TRIVIAL, **{name: f"{TRIVIAL}_{name}" for name in OTHERS}}
_LEARNING_SECONDS: Final = 3.0

Round = Mapping[str, Measured]
"""One load of each, by format."""


def measure(stage: Stage) -> list[Figure]:
    """Return the figures, at 64 callers and at one."""
    figures = []
    for callers in (MANY, 1):
        rounds = _run_rounds(stage, callers)
        figures += [rate_figure(rounds, name, callers, target) for name, target in OTHERS.items()]
        figures += [processor_figure(rounds, name, callers) for name in OTHERS]
    return figures


def _run_rounds(stage: Stage, callers: int) -> list[Round]:
    """Measure in rounds, in one order in one and in the other in the next."""
    for function in _FUNCTIONS.values():
        put_load(stage.port(function), callers, _LEARNING_SECONDS)
    rounds: list[Round] = []
    order = list(_FUNCTIONS)
    for number in range(stage.rounds):
        stage.say(f"formats, {callers} callers: round {number + 1} of {stage.rounds}")
        rounds.append({name: _load(stage, _FUNCTIONS[name], callers) for name in order})
        order.reverse()
    return rounds


def _load(stage: Stage, function: str, callers: int) -> Measured:
    load = Load(stage.port(function), callers, stage.seconds)
    time.sleep(WARM_SECONDS)
    began = processor_seconds(stage.daemon.pid)
    result = load.result()
    return Measured(result, processor_seconds(stage.daemon.pid) - began)


def _who(callers: int) -> str:
    return f"{callers} callers" if callers > 1 else "1 caller"


def rate_figure(rounds: Sequence[Round], name: str, callers: int, target: Target | None) -> Figure:
    """Return a format's calls per second over http-stream's; not a number if any call failed."""
    stream, socket = [one[name].load for one in rounds], [one[HTTP_STREAM].load for one in rounds]
    failed = sum(load.errors for load in [*stream, *socket])
    rates = [load.rate for load in stream], [load.rate for load in socket]
    return Figure(
        name=f"calls per second by {name} over http-stream's, {_who(callers)}",
        value=math.nan if failed else median_ratio(*rates),
        unit="×",
        target=target,
        detail=f"{name} {median(rates[0]):,.0f}/s, {HTTP_STREAM} {median(rates[1]):,.0f}/s"
        + (f", {failed} calls failed" if failed else ""),
    )


def processor_figure(rounds: Sequence[Round], name: str, callers: int) -> Figure:
    """Return what a call by a format costs the daemon, over what one by http-stream does."""
    stream = [one[name].processor_per_call for one in rounds]
    socket = [one[HTTP_STREAM].processor_per_call for one in rounds]
    return Figure(
        name=f"processor time of a call by {name} over http-stream's, {_who(callers)}",
        value=median_ratio(stream, socket),
        unit="×",
        detail=f"{name} {median(stream) * 1e6:.0f} µs, {HTTP_STREAM} {median(socket) * 1e6:.0f} µs",
    )
