"""The Docker driver on a real engine: beside the engine asked by hand, and beside the process driver."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from fnd_docker.engine import KEPT_CONNECTIONS
from tests.bench.bare_engine import Steps
from tests.bench.cold import launch_seconds
from tests.bench.docker_stage import DockerGround, DockerStage, docker_ground
from tests.bench.figures import Figure, at_least, at_most, median, median_ratio, ratio, skipped
from tests.bench.load import Caller, LoadResult, run_callers
from tests.bench.stage import FDK, TRIVIAL, Stage
from tests.faults.result import Descriptors, Leavings

MOST_START: Final = at_most(1.1)
LEAST_RATE: Final = at_least(0.9)
MOST_WARM: Final = at_most(1.05)
MOST_LEFT: Final = at_most(0)
_STARTS_A_ROUND: Final = 3
_PAIRS_A_ROUND: Final = 3
_BLOCKS: Final = 5
"""Of calls to one container; the first of them does not count."""
_CALLS_A_BLOCK: Final = 200
_WARMING: Final = 50
_AT_ONCE: Final = (2, 4, 8)
"""How many containers the engine is asked for at once by hand; the best counts."""
_STARTS: Final = 40
"""By hand, each time."""
_FN_MEMORY: Final = 64
"""MiB: the daemon has room for 64."""
_FN_TIMEOUT: Final = 300
"""Seconds that a call may wait: as many as there can be."""
_LONGEST_HERD: Final = 900.0

COLD: Final = "cold start until ready, Docker driver, over create, start and ready by hand"
CREATED: Final = "the same by hand for a container that was created before, over all three"
HERD: Final = "answers per second, distinct cold Docker functions called at once, over the engine's starts by hand"
WARM: Final = "warm call, Docker driver, over the process driver's"
LEFT: Final = "left of containers after all of it"


def measure(stage: Stage) -> list[Figure]:
    """Return the figures, or lines that say why there are none."""
    try:
        with docker_ground(stage) as ground:
            return _measure(stage, ground)
    except pytest.skip.Exception as why:
        lines = ((COLD, "×", MOST_START), (HERD, "×", LEAST_RATE), (WARM, "×", MOST_WARM), (LEFT, "", MOST_LEFT))
        return [skipped(name, unit, target, str(why)) for name, unit, target in lines]


def _measure(stage: Stage, ground: DockerGround) -> list[Figure]:
    stage.say("deploying to a Docker Engine")
    with ground.stage() as docker:
        app_id = docker.docker[FDK].app_id
        figures = _cold(stage, docker)
        before = _descriptors(docker.daemon.pid)
        figures += [*_warm(stage, docker), *_herd(stage, docker)]
        descriptors = Descriptors(before, _descriptors(docker.daemon.pid), KEPT_CONNECTIONS)
    return [*figures, left_figure(ground.left(app_id), descriptors)]


def _cold(stage: Stage, docker: DockerStage) -> list[Figure]:
    """Start containers of the FDK's function in both ways, in turn; nothing else is made or removed meanwhile."""
    bare = docker.bare(FDK)
    cold: list[float] = []
    by_hand: list[Steps] = []
    for number in range(stage.rounds * _STARTS_A_ROUND):
        stage.say(f"cold starts with Docker: {number + 1} of {stage.rounds * _STARTS_A_ROUND}")
        by_hand.append(bare.start_one())
        fn = docker.daemon.another(docker.docker[FDK], f"cold{number}")
        cold.append(launch_seconds(docker.call(fn).header("Fnd-Timing")))
        docker.forget(fn)
    return cold_figures(cold, by_hand)


def cold_figures(cold: list[float], by_hand: list[Steps]) -> list[Figure]:
    """Return the figures of starts made in turn: how long fnd's took, in seconds, and each step of those by hand."""
    parts = {name: median([getattr(one, name) for one in by_hand]) * 1e3 for name in ("create", "start", "ready")}
    totals = [one.total for one in by_hand]
    steps = ", ".join(f"{name} {milliseconds:.0f}" for name, milliseconds in parts.items())
    return [
        Figure(
            name=COLD,
            value=median_ratio(cold, totals),
            unit="×",
            target=MOST_START,
            detail=f"fnd {median(cold) * 1e3:.0f} ms, by hand {median(totals) * 1e3:.0f} ms",
        ),
        Figure(
            name=CREATED,
            value=median_ratio([one.start + one.ready for one in by_hand], totals),
            unit="×",
            detail=f"by hand, in ms: {steps}",
        ),
    ]


def _warm(stage: Stage, docker: DockerStage) -> list[Figure]:
    """Call the FDK's function in a new pair of containers at a time, in blocks, the two drivers in turn."""
    with_docker: list[float] = []
    with_processes: list[float] = []
    for number in range(stage.rounds * _PAIRS_A_ROUND):
        stage.say(f"warm calls with Docker: pair {number + 1} of {stage.rounds * _PAIRS_A_ROUND}")
        fns = [
            docker.daemon.another(docker.docker[FDK], f"warm-docker{number}"),
            docker.daemon.another(docker.processes[FDK], f"warm-process{number}"),
        ]
        callers = [Caller(docker.daemon.port_of(fn.fn_id)) for fn in fns]
        blocks: list[list[float]] = []
        for block in range(_BLOCKS):
            order = (0, 1) if block % 2 else (1, 0)
            taken = {one: _median_of_block(callers[one]) for one in order}
            blocks.append([taken[0], taken[1]])
        for caller in callers:
            caller.sock.close()
        docker.forget(*fns)
        with_docker.append(median([block[0] for block in blocks[1:]]))
        with_processes.append(median([block[1] for block in blocks[1:]]))
    detail = f"Docker {median(with_docker) * 1e6:.0f} µs, process {median(with_processes) * 1e6:.0f} µs"
    value = median_ratio(with_docker, with_processes)
    return [Figure(name=WARM, value=value, unit="×", target=MOST_WARM, detail=detail)]


def _median_of_block(caller: Caller) -> float:
    return median([caller.call().seconds for _ in range(_CALLS_A_BLOCK)][_WARMING:])


def _herd(stage: Stage, docker: DockerStage) -> list[Figure]:
    """Call distinct functions all at once, many more than the daemon has room for: each starts as another has gone.

    By hand the engine does the same, before and after: each container is removed once the next is wanted.
    """
    bare = docker.bare(TRIVIAL)
    by_hand: dict[int, list[float]] = {at_once: [] for at_once in _AT_ONCE}

    def ask_by_hand() -> None:
        for at_once, rates in by_hand.items():
            stage.say(f"starting by hand, {at_once} at once")
            rates.append(bare.replace_rate(at_once, _STARTS))

    stage.say(f"making {stage.distinct} functions")
    names = [f"distinct{number}" for number in range(stage.distinct)]
    fns = docker.daemon.others(docker.docker[TRIVIAL], names, memory=_FN_MEMORY, timeout=_FN_TIMEOUT)
    ask_by_hand()
    stage.say(f"calling {stage.distinct} cold functions at once")
    result = run_callers([docker.daemon.port_of(fn.fn_id) for fn in fns], 0.0, 0.0, spare=_LONGEST_HERD)
    stage.say("removing what they left")
    docker.forget(*fns)
    ask_by_hand()
    alone = bare.start_rate(4, _STARTS)
    return [herd_figure(result, stage.distinct, by_hand, alone)]


def herd_figure(result: LoadResult, distinct: int, by_hand: Mapping[int, Sequence[float]], alone: float) -> Figure:
    """Return the figure; by hand, containers a second by how many were made at once, the best of which counts."""
    means = {at_once: sum(rates) / len(rates) for at_once, rates in by_hand.items()}
    best = max(means, key=means.__getitem__)
    answered = distinct - result.errors
    rate = ratio(answered, result.duration)
    detail = (
        f"{answered:,} of {distinct:,} answered in {result.duration:.0f} s: {rate:.2f}/s; "
        f"by hand {means[best]:.2f}/s at {best} at once, {alone:.2f}/s if none is removed"
    )
    value = math.nan if result.errors else ratio(rate, means[best])
    return Figure(name=HERD, value=value, unit="×", target=LEAST_RATE, detail=detail)


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def left_figure(left: Leavings, descriptors: Descriptors) -> Figure:
    """Return what was left; the daemon's descriptors are those that it had while it ran."""
    counts = left.counts()
    parts = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    value = sum(counts.values()) + descriptors.leaked
    detail = f"{parts} once the daemon has stopped; {descriptors.leaked} descriptors while it ran"
    return Figure(name=LEFT, value=value, unit="", target=MOST_LEFT, detail=detail)
