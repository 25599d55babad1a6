"""The wall clock jumps, for the daemon alone: its process has a library preloaded that shifts what it is told.

Nothing else on the machine sees it. A time namespace would not do: it has clocks that count from the boot only.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import trio

from tests.faults.load import Calling, Request, load
from tests.faults.stage import Stage
from tests.parts import missing

SOURCE: Final = Path(__file__).with_name("programs") / "shifted_clock.c"
HOUR: Final = 3600
JUMPS: Final = (HOUR, -2 * HOUR, 0, 365 * 24 * HOUR, 1, -30 * 365 * 24 * HOUR, 0)
"""Seconds that the daemon's clock is off, one after the other."""
IDLE: Final = 3
"""Seconds, an idle time-out."""
TIMEOUT: Final = 5
"""Seconds, a call's; a container must start within it."""
LATE: Final = 5.0
"""Seconds that a container may leave later than that: ending one takes a moment."""


async def jump_clock(stage: Stage) -> None:
    """Shift it back and forth under load; what waits for time to pass waits neither for less nor for ever."""
    shift = stage.directory / "shift"
    shift.write_bytes(struct.pack("=q", 0))
    library = await trio.to_thread.run_sync(partial(_library, stage.directory))
    environment = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(shift)}
    async with stage.running(environment=environment):
        quick = await stage.function("quick", idle_timeout=1)
        idle = await stage.function("idle", idle_timeout=IDLE)
        timed = await stage.function("timed", timeout=TIMEOUT)
        async with stage.watching_descriptors(quick):
            requests = (Request(quick), Request(timed, do="sleep 0.3"))
            async with load(lambda: stage.port, *requests, callers=4, pause=0.005) as put:
                for seconds in JUMPS:
                    _set(shift, seconds)
                    await _check_believed(stage, seconds)
                    await trio.sleep(stage.seconds / len(JUMPS))
            stage.count(put.tally)
            stage.fact(f"the clock was off by {', '.join(f'{jump / HOUR:+g}' for jump in JUMPS)} hours")
            for seconds in (-24 * HOUR, 24 * HOUR):
                await _check_idle_time(stage, idle, shift, seconds)
                await _check_deadline(stage, timed, shift, seconds)


def _set(shift: Path, seconds: float) -> None:
    """Have the daemon's clock off by so much from now on."""
    with shift.open("r+b") as file:  # in its place: it is mapped
        file.write(struct.pack("=q", int(seconds * 1e9)))


async def _check_believed(stage: Stage, seconds: float) -> None:
    """Check that the daemon's clock is off, or all this would try nothing."""
    app = await stage.ask("POST", "/v2/apps", {"name": f"at-{time.monotonic_ns()}"})
    off = datetime.fromisoformat(app["created_at"]) - datetime.now(UTC)
    stage.check(abs(off.total_seconds() - seconds) < 30, f"the daemon's clock is off by {off}, not {seconds} s")


async def _check_idle_time(stage: Stage, fn_id: str, shift: Path, seconds: float) -> None:
    await stage.serves(fn_id, 1)
    began = time.monotonic()
    _set(shift, seconds)
    await stage.becomes(partial(_no_container, stage, fn_id), "an idle container stays after a jump")
    took = time.monotonic() - began
    stage.check(IDLE - 0.5 <= took <= IDLE + LATE, f"a container idle for {IDLE} s left after {took:.1f} s")
    stage.fact(f"idle time-out of {IDLE} s across a jump of {seconds / HOUR:+g} hours: left after {took:.1f} s")
    _set(shift, 0)


def _no_container(stage: Stage, fn_id: str) -> bool:
    assert stage.daemon is not None
    pools = stage.daemon.control.get("/control/pools")["pools"]
    return not any(pool["containers"] for pool in pools if pool["fn_id"] == fn_id)


async def _check_deadline(stage: Stage, fn_id: str, shift: Path, seconds: float) -> None:
    """Check that a call that never ends is ended at its time, whatever the clock says meanwhile."""
    calling = Calling(lambda: stage.port)
    began = time.monotonic()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_jump_later, shift, seconds)
        outcome = await calling.call(Request(fn_id, do="sleep 20"))
    calling.close()
    took = time.monotonic() - began
    stage.check(outcome is not None and outcome.status == 504, f"a call over its time-out ended with {outcome}")
    in_time = TIMEOUT - 0.5 <= took <= TIMEOUT + LATE
    stage.check(in_time, f"a call with a time-out of {TIMEOUT} s ended after {took:.1f} s")
    stage.fact(f"time-out of {TIMEOUT} s across a jump of {seconds / HOUR:+g} hours: answered 504 after {took:.1f} s")


async def _jump_later(shift: Path, seconds: float) -> None:
    await trio.sleep(0.5)
    _set(shift, seconds)
    await trio.sleep(0.5)
    _set(shift, 0)


def _library(directory: Path) -> Path:
    """Compile what is preloaded; skips where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        missing("no C compiler, which the shifted clock needs (apt-get install gcc libc6-dev)")
    library = directory / "shifted_clock.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return library
