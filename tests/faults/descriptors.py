"""File descriptors run out: the daemon may have few more than it has, and more callers come than that."""

from __future__ import annotations

from typing import Final

import trio

from tests.faults.load import Request, load
from tests.faults.stage import Stage
from tests.faults.tally import NO_ANSWER, Allowed
from tests.parts import need_program

LIMIT: Final = 352
"""Descriptors that the daemon may have: some 25 are its own at rest, and connections leave a quarter."""
CALLERS: Final = 500
GREEDY: Final = 30
"""Further functions, whose containers take descriptors."""
USED_UP: Final = LIMIT - 10
"""From how many on they count as used up."""
LONGEST: Final = 40.0
"""Seconds in which containers must have taken what callers leave, if the scenario's time is shorter. Callers that wait
to be accepted are patient for longer."""
_SHORT: Final = (
    Allowed(502, "Too many open files|Container"),
    Allowed(503, "Timed out - server too busy"),
    Allowed(NO_ANSWER, "broke off"),
)


async def exhaust_descriptors(stage: Stage) -> None:
    """Call from more connections than there can be, for the scenario's time and until all are used; then from few."""
    within = [need_program("prlimit", "util-linux"), f"--nofile={LIMIT}:{LIMIT}"]
    async with stage.running(within=within) as daemon:
        quick = await stage.function("quick", idle_timeout=1)
        slow = await stage.function("slow", idle_timeout=1)
        greedy = [await stage.function(f"greedy-{number}", idle_timeout=1) for number in range(GREEDY)]
        async with stage.watching_descriptors(quick):
            requests = [Request(quick), Request(slow, do="sleep 0.02")]
            requests += [Request(one, do="sleep 0.1") for one in greedy]
            most = 0
            async with load(lambda: stage.port, *requests, callers=CALLERS) as put:
                until = trio.current_time() + stage.seconds
                with trio.move_on_after(max(stage.seconds, LONGEST)):
                    while most < USED_UP or trio.current_time() < until:
                        most = max(most, daemon.descriptors())
                        await trio.sleep(0.05)
            stage.count(put.tally, *_SHORT)
            stage.check(put.tally.answered > 0, "nobody was answered")
            stage.check(most >= USED_UP, f"only {most} of {LIMIT} descriptors were used: this tried nothing")
            stage.fact(f"{CALLERS} callers of a daemon with {LIMIT} descriptors, of which it used {most}")
            await stage.recovers(quick, slow, *greedy)
            for fn_id in (quick, slow, *greedy[:5]):
                await stage.serves(fn_id)
