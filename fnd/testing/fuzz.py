"""Fuzz codecs for long: `python -m fnd.testing.fuzz FILE[::CLASS] … [--frames 100000]`, for suites of the codec kit."""

from __future__ import annotations

import argparse
import runpy
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fnd.testing.codec import CodecConformance

_FRAMES: Final = 100_000
_WARM: Final = 500
"""Frames after which what a process keeps for ever is there."""
_MOST_GROWTH: Final = 32
"""MiB that a process may grow by while all the others are tried."""
_TOLD: Final = 5
"""Crashes that are told in full."""


def _suites(place: str) -> Iterator[CodecConformance]:
    """Return the suites of a file, or the one that `::CLASS` names."""
    file, _, wanted = place.partition("::")
    for name, value in runpy.run_path(file).items():
        is_suite = isinstance(value, type) and issubclass(value, CodecConformance)
        if is_suite and (name == wanted or (not wanted and name.startswith("Test"))):
            yield value()


def _resident() -> float:
    """Return how much memory the process has, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("/proc tells no VmRSS")


def _try(suite: CodecConformance, frames: int, seed: int) -> bool:
    """Fuzz one codec and tell what came of it; return whether that is as it should be."""
    name = type(suite).__name__
    suite.fuzz(min(_WARM, frames), seed - 1)
    before, began = _resident(), time.monotonic()
    result = suite.fuzz(frames, seed)
    took, growth = time.monotonic() - began, _resident() - before
    outcomes = ", ".join(f"{count} × {outcome}" for outcome, count in result.outcomes.most_common())
    print(f"{name}: {frames} frames in {took:.0f} s, {len(result.crashes)} crashes, {growth:+.1f} MiB: {outcomes}")
    for crash in result.crashes[:_TOLD]:
        traceback.print_exception(crash)
    if growth > _MOST_GROWTH:
        print(f"{name}: its memory grew by more than {_MOST_GROWTH} MiB")
    return not result.crashes and growth <= _MOST_GROWTH


def main() -> None:
    """Do what the command line says; exit with 1 if there was a crash or memory is lost."""
    parser = argparse.ArgumentParser(prog="python -m fnd.testing.fuzz", description="Fuzz codecs.")
    parser.add_argument("places", nargs="+", metavar="FILE[::CLASS]", help="where suites of the codec kit are")
    parser.add_argument("--frames", type=int, default=_FRAMES, help="how many for each codec")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    arguments = parser.parse_args()
    suites = [suite for place in arguments.places for suite in _suites(place)]
    if not suites:
        sys.exit("no suites of the codec kit there: classes derived from CodecConformance whose names start with Test")
    passed = [_try(suite, arguments.frames, arguments.seed) for suite in suites]
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
