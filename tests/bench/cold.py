"""A cold start with the process driver, beside the plain start of the same process."""

from __future__ import annotations

import time
from typing import Final

import attrs

from tests.bench import processes
from tests.bench.figures import Figure, Target, at_most, median, median_ratio
from tests.bench.load import Answer, Caller
from tests.bench.stage import FDK, Stage

MOST_START: Final = at_most(1.3)
_STARTS_A_ROUND: Final = 3


@attrs.frozen
class Start:
    """One start, in seconds."""

    until_ready: float
    """Until the function's socket is there."""
    until_answered: float
    """Until its first call is answered."""


def measure(stage: Stage) -> list[Figure]:
    """Return the figures of the Python FDK function: same command, same environment; the two ways alternate."""
    plain, cold = [], []
    for number in range(stage.rounds * _STARTS_A_ROUND):
        stage.say(f"cold starts: {number + 1} of {stage.rounds * _STARTS_A_ROUND}")
        plain.append(_start_plainly(stage, number))
        cold.append(_start_cold(stage, number))
    return [
        _figure(
            "cold start until ready", [one.until_ready for one in cold], [one.until_ready for one in plain], MOST_START
        ),
        _figure(
            "cold start until answered", [one.until_answered for one in cold], [one.until_answered for one in plain]
        ),
    ]


def _start_plainly(stage: Stage, number: int) -> Start:
    command = stage.command(FDK)
    started = time.perf_counter()
    with processes.function(command, stage.directory / "cold" / str(number)) as function:
        ready = time.perf_counter()
        _call(Caller(function))
        answered = time.perf_counter()
    return Start(ready - started, answered - started)


def _start_cold(stage: Stage, number: int) -> Start:
    """Call a fn that nobody has called, of an image that the machine has just started; its container soon goes."""
    fn = stage.daemon.another(stage.deployed(FDK), f"cold{number}", idle_timeout=1)
    caller = Caller(stage.daemon.port_of(fn.fn_id))
    answer = _call(caller)
    return Start(launch_seconds(answer.header("Fnd-Timing")), answer.seconds)


def _call(caller: Caller) -> Answer:
    with caller.sock:
        answer = caller.call()
    if not answer.succeeded:
        raise processes.NotStarted(f"a first call was answered: {answer.data.decode(errors='replace')}")
    return answer


def launch_seconds(timing: str) -> float:
    """Return what a Fnd-Timing header says of the launch. Raises ValueError if it says nothing."""
    parts = dict(part.split("=", 1) for part in timing.split(";"))
    return float(parts["launch"])


def _figure(name: str, cold: list[float], plain: list[float], target: Target | None = None) -> Figure:
    return Figure(
        name=f"{name}, process driver, over plain start",
        value=median_ratio(cold, plain),
        unit="×",
        target=target,
        detail=f"fnd {median(cold) * 1e3:.0f} ms, plain {median(plain) * 1e3:.0f} ms",
    )
