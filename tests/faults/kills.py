"""kill -9 of random processes of containers while calls go on: who is not inside does not notice."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Final

import trio

from tests.faults.load import Request, load
from tests.faults.places import processes_of
from tests.faults.stage import Stage
from tests.faults.tally import not_inside

CALLERS: Final = 8
SERVING: Final = frozenset({"idle", "busy", "paused"})
"""States of containers that are killed. One that starts has no call inside, and its death is a failed launch: three
of those in a row, and callers are told at once for a second or more, which would be all that is seen."""
_LEAST_PAUSE: Final = 0.05
_MOST_PAUSE: Final = 0.4
"""Seconds between two kills."""


async def kill_containers(stage: Stage) -> None:
    """Kill one some times a second, for the scenario's time."""
    async with stage.running():
        slow = await stage.function("slow", idle_timeout=1)
        quick = await stage.function("quick", idle_timeout=1)
        async with stage.watching_descriptors(quick):
            killed: list[str] = []
            async with load(lambda: stage.port, Request(slow, do="sleep 0.03"), Request(quick), callers=CALLERS) as put:
                with trio.move_on_after(stage.seconds):
                    while True:
                        await trio.sleep(stage.chance.uniform(_LEAST_PAUSE, _MOST_PAUSE))
                        await _kill_one(stage, killed)
            stage.fact(f"kill -9 of a process of {len(killed)} containers")
            failures = put.tally.failures
            named = [(failure, await stage.container_of(failure.call_id)) for failure in failures if failure.call_id]
            named += [(failure, "") for failure in failures if not failure.call_id]
            stage.result.calls.merge(put.tally)
            stage.result.problems += not_inside(named, killed)
            stage.check(bool(killed), "no container was there to be killed")
            await stage.serves(slow)
            await stage.serves(quick)


async def _kill_one(stage: Stage, killed: list[str]) -> None:
    containers = [one for one in await stage.containers() if one["pid"] and one["state"] in SERVING]
    if not containers:
        return
    container = stage.chance.choice(containers)
    processes = processes_of(container["pid"])
    with contextlib.suppress(ProcessLookupError, IndexError):
        killed.append(container["id"])  # before the call inside it can fail
        os.kill(stage.chance.choice(processes), signal.SIGKILL)
