"""SIGKILL of the daemon in a loop, at any moment, its start included: the next start removes what the dead one left."""

from __future__ import annotations

import time
from functools import partial
from typing import Final

import trio

from fnd.cli.own_daemon import own_environment, serve_command
from tests.faults.load import Request, load
from tests.faults.places import Held
from tests.faults.stage import Stage
from tests.faults.tally import NO_ANSWER, Allowed

LIVES: Final = 3
"""How many daemons are killed at least, however short the time."""
_KILLED: Final = (Allowed(NO_ANSWER, "refused"), Allowed(NO_ANSWER, "broke off"))


async def kill_daemon(stage: Stage) -> None:
    """Kill one daemon after the other for the scenario's time; the last one stops in order."""
    async with stage.running():
        quick = await stage.function("quick")
        slow = await stage.function("slow")
    requests = (Request(quick), Request(slow, do="sleep 0.05"), Request(slow, do="sleep 0.5"))
    until = time.monotonic() + stage.seconds
    lives = while_starting = found = 0
    async with load(lambda: stage.port, *requests, callers=9) as put:
        left: Held | None = None
        while lives < LIVES or time.monotonic() < until:
            async with stage.running() as daemon:
                await _check_removed(stage, left)
                await stage.serves(quick)
                await trio.sleep(stage.chance.uniform(0.0, 1.5))
                left = await stage.held()
                found += len(left.processes)
                daemon.process.kill()
                await trio.to_thread.run_sync(daemon.process.wait)
            lives += 1
            if lives % 2:
                await _kill_while_starting(stage)
                while_starting += 1
    async with stage.running():
        await _check_removed(stage, left)
        await stage.serves(quick)
        await stage.serves(slow)
    stage.count(put.tally, *_KILLED)
    stage.fact(f"SIGKILL of {lives} daemons that served and of {while_starting} that started; {found} processes left")


async def _check_removed(stage: Stage, left: Held | None) -> None:
    """Check that nothing is left of what a killed daemon's containers had, as soon as the next is ready."""
    if left is not None:
        problems = (await trio.to_thread.run_sync(left.left, stage.place)).problems()
        stage.result.problems += [f"the next start is ready, and {problem}" for problem in problems]


async def _kill_while_starting(stage: Stage) -> None:
    assert stage.daemon is not None
    directory = stage.daemon.directory
    environment = own_environment()
    with (directory / "daemon.log").open("ab") as log:
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, stdout=log, stderr=log, env=environment, check=False)
            process = await nursery.start(run, serve_command(directory))
            await trio.sleep(stage.chance.uniform(0.0, 1.5))
            process.kill()
