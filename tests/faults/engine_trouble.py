"""The engine is restarted, stopped and killed while calls go on: calls wait or are told, and the books agree again."""

from __future__ import annotations

import time
from functools import partial
from typing import Final

import trio

from tests.faults.load import Request, load
from tests.faults.places import DockerPlace
from tests.faults.stage import Stage
from tests.faults.tally import Allowed

ABSENT: Final = 3.0
"""Seconds for which an engine that is stopped stays away."""
_TROUBLE: Final = (
    Allowed(502, "Docker Engine"),
    Allowed(502, "error receiving function response"),  # it was inside when the engine ended its container
    Allowed(503, "Timed out - server too busy"),
)


async def trouble_engine(stage: Stage) -> None:
    """Restart, stop and kill the engine in turn, for the scenario's time, each at least once."""
    place = stage.place
    assert isinstance(place, DockerPlace)
    engine = place.engine
    in_thread = trio.to_thread.run_sync
    async with stage.running():
        quick = await stage.function("quick", idle_timeout=1)
        slow = await stage.function("slow", idle_timeout=1)
        async with stage.watching_descriptors(quick):
            requests = (Request(quick), Request(slow, do="sleep 0.1"))
            until = time.monotonic() + stage.seconds
            rounds = 0
            async with load(lambda: stage.port, *requests, callers=6, pause=0.01) as put:
                while rounds == 0 or time.monotonic() < until:
                    for end, absent in ((engine.stop, 0.0), (engine.kill, 0.0), (engine.stop, ABSENT)):
                        await trio.sleep(1.5)
                        await in_thread(end)
                        await trio.sleep(absent)
                        await in_thread(engine.start)
                        await stage.recovers(quick)
                    rounds += 1
            stage.count(put.tally, *_TROUBLE)
            stage.fact(f"{rounds} × restarted, killed and started, stopped for {ABSENT:g} s and started")
            await stage.becomes(partial(_books_agree, stage), "the engine lists other containers than the daemon has")
            await stage.serves(quick)
            await stage.serves(slow)


def _books_agree(stage: Stage) -> bool:
    """Whether engine, daemon and disk know the same containers."""
    assert stage.daemon is not None
    pools = stage.daemon.control.get("/control/pools")["pools"]
    known = {container["id"] for pool in pools for container in pool["containers"]}
    directories = {path.name for path in (stage.daemon.run / "docker").iterdir()}
    return known == stage.place.containers() == directories
