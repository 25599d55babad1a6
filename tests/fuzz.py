"""`python -m tests.fuzz [FORMAT…]`: throw spoiled frames at the formats over streams, and see what that costs.

Each format has a process of its own, whose memory is looked at before and after. What a frame was spoiled by is chance,
from a seed that is printed, so that a run can be had again.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import attrs
import click
import trio
from rich.console import Console
from rich.table import Table

from fnd.testing.stream_fuzz import Outcome, Subject, play_by_chance, throw
from tests.stdio_subjects import LARGEST_FRAME, SUBJECTS

MOST_MEMORY: Final = 32
"""MiB that the process may grow by, whose answers' frames may take one each."""
_WARM_UP: Final = 500
"""Frames before memory is looked at: modules are imported at the first, and the allocator has its first arenas."""
_FOLLOWING: Final = b"following"


@attrs.frozen(kw_only=True)
class Found:
    """What came of one format."""

    format: str
    frames: int
    outcomes: dict[str, int]
    crashes: int
    first_crash: str
    grown: float
    """MiB of resident memory at its most, over what there was at the start."""
    seconds: float

    @property
    def good(self) -> bool:
        return not self.crashes and self.grown <= MOST_MEMORY


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def _throw_all(subject: Subject, seed: int, frames: int) -> Found:
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter({outcome.value: 0 for outcome in Outcome})
    crashes = 0
    first_crash = ""
    before = 0.0
    began = time.monotonic()
    for number in range(frames + _WARM_UP):
        if number == _WARM_UP:
            before = _peak()
        play = play_by_chance(chance, subject)
        try:
            outcome = await throw(subject, play, _FOLLOWING)
        except Exception as error:
            crashes += 1
            first_crash = first_crash or f"{type(error).__name__}: {error} at {play}"
        else:
            outcomes[outcome.value] += number >= _WARM_UP
    return Found(
        format=subject.codec.format,
        frames=frames,
        outcomes=dict(outcomes),
        crashes=crashes,
        first_crash=first_crash,
        grown=_peak() - before,
        seconds=time.monotonic() - began,
    )


def _in_own_process(format_: str, seed: int, frames: int) -> Found:
    command = [sys.executable, "-m", "tests.fuzz", format_, "--seed", str(seed), "--frames", str(frames), "--alone"]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return Found(**found)


def _table(found: list[Found]) -> Table:
    table = Table(box=None)
    for name in ("format", "frames", *(outcome.value for outcome in Outcome), "crashes", "memory", "time"):
        table.add_column(name, no_wrap=True)
    for one in found:
        outcomes = [f"{one.outcomes[outcome.value]:,}" for outcome in Outcome]
        memory = f"+{one.grown:.1f} MiB"
        table.add_row(one.format, f"{one.frames:,}", *outcomes, str(one.crashes), memory, f"{one.seconds:.0f} s")
    return table


@click.command()
@click.argument("formats", nargs=-1, type=click.Choice(sorted(SUBJECTS)), metavar="[FORMAT]...")
@click.option("--frames", type=click.IntRange(1), default=100_000, show_default=True, help="For each format.")
@click.option("--seed", type=int, help="Of the frames.  [default: by chance]")
@click.option("--alone", is_flag=True, hidden=True, help="Throw in this process, and print JSON.")
def main(formats: tuple[str, ...], frames: int, seed: int | None, alone: bool) -> None:
    """Throw spoiled frames at FORMATs (at all of them, if none is given); exit 1 on a crash, or if memory grows."""
    seed = random.randrange(1 << 32) if seed is None else seed
    if alone:
        (format_,) = formats
        print(json.dumps(attrs.asdict(trio.run(_throw_all, SUBJECTS[format_], seed, frames))))
        return
    console = Console()
    with console.status("throwing"), ThreadPoolExecutor(os.cpu_count()) as at_once:
        found = list(at_once.map(partial(_in_own_process, seed=seed, frames=frames), formats or sorted(SUBJECTS)))
    console.print(_table(found))
    console.print(f"seed {seed}; a frame may take {LARGEST_FRAME >> 20} MiB, memory may grow by {MOST_MEMORY} MiB")
    for one in found:
        if one.first_crash:
            console.print(f"{one.format}: {one.first_crash}", markup=False)
    sys.exit(0 if all(one.good for one in found) else 1)


if __name__ == "__main__":
    main()
