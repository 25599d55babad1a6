"""A full disk: the daemon's data directory is a small file system of its own, and somebody fills it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Final

import trio

from fnd.cli.exits import RequestFailed
from tests.faults.load import Request, load
from tests.faults.stage import Stage, in_thread
from tests.small_disk import fill, small_disk

SIZE: Final = 24
"""MiB."""
_LARGE: Final = "x" * 20_000
"""In an app's configuration: more than the database has room for without growing."""
_WRITES: Final = 10


async def fill_disk(stage: Stage) -> None:
    """Fill it while calls go on, ask for what needs room, free it, and ask again."""
    data = stage.directory / "d" / "data"
    async with in_thread(small_disk(data, SIZE)), stage.running():
        quick = await stage.function("quick", idle_timeout=1)
        cold = await stage.function("cold", idle_timeout=1)
        async with stage.watching_descriptors(quick):
            async with load(lambda: stage.port, Request(quick), callers=4, pause=0.005) as put:
                await trio.sleep(1)
                await trio.to_thread.run_sync(fill, data / "filler")
                told = [await _write(stage, f"full-{number}") for number in range(_WRITES)]
                stage.check(any(told), f"{_WRITES} apps were stored on a full disk")
                await _check_told(stage, [one for one in told if one])
                await stage.serves(cold, 5)  # its containers start although nothing can be written
                await trio.sleep(stage.seconds / 2)
                stage.check(_is_full(data), "the disk did not stay full")
                (data / "filler").unlink()
                left = await _write(stage, "freed")
                stage.check(not left, f"with room again, an app is not stored: {left}")
                status = (await stage.ask("GET", "/control/status"))["store"]
                stage.check(status["ok"], f"with room again, the store is not well: {status}")
                await trio.sleep(stage.seconds / 2)
            stage.count(put.tally)
            stage.fact(f"on a full disk: {sum(1 for one in told if one)} of {_WRITES} writes of the store refused")
            await stage.serves(cold, 5)


async def _write(stage: Stage, name: str) -> str:
    """Have the store grow; return what it is refused with, "" if it is not."""
    try:
        await stage.ask("POST", "/v2/apps", {"name": name, "config": {"large": _LARGE}})
    except RequestFailed as error:
        return str(error)
    return ""


async def _check_told(stage: Stage, told: list[str]) -> None:
    """Check that what an operator is told of a full disk is clear."""
    for message in sorted(set(told)):
        stage.fact(f"writing: {message}")
        stage.check("The store is not available" in message, f"an unclear message on a full disk: {message}")
    status = (await stage.ask("GET", "/control/status"))["store"]
    stage.check(not status["ok"] and "full" in status["error"], f"status says of a full disk: {status}")
    source = stage.directory / "deployed"
    source.mkdir()
    (source / "func.yaml").write_text("name: deployed\nruntime: python\nentrypoint: python func.py\n")
    (source / "func.py").write_text("# " + os.urandom(1 << 19).hex() + "\n")
    why = await trio.to_thread.run_sync(partial(stage.deploy, source))
    stage.fact(f"deploying: {why or 'done'}")
    stage.check("No space left" in why or "store" in why, f"deploying on a full disk: {why or 'done'}")


def _is_full(directory: Path) -> bool:
    status = os.statvfs(directory)
    return status.f_bavail == 0
