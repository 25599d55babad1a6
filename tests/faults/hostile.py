"""Hostile functions, each beside one that means well: that is served all the time, and nothing of theirs is left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from tests.faults.load import Calling, Load, Request, load
from tests.faults.places import HOSTILE, processes_with
from tests.faults.stage import Stage
from tests.faults.tally import NO_ANSWER, Allowed, Failure, Tally
from tests.system.live_daemon import PROGRAMS

TIMEOUT: Final = 30
"""Seconds that a call of a hostile function may take: three starts of a container that fail, on a busy machine."""
SHORT: Final = 10
"""The same where it is waited for that this is over: one start that succeeds must fit in."""
CONTAINER_PROCESSES: Final = 50
"""What both drivers let a container have, if no setting says otherwise."""
LOG_KEEP: Final = 4
"""MiB of one function's output that are kept."""
PEAK: Final = 400
"""MiB that the daemon itself may have, whatever functions do."""
_ENDED: Final = Allowed(502, "error receiving function response")
_SETTINGS: Final = f"function_log_keep = {LOG_KEEP << 20}\nmax_response_body_size = {8 << 20}\n"


@asynccontextmanager
async def beside_a_good_one(stage: Stage, **fields: Any) -> AsyncIterator[str]:
    """Make a hostile fn and one that is called all the time; yield the hostile one's id. The daemon runs meanwhile."""
    async with stage.running(_SETTINGS) as daemon:
        good = await stage.function("good", idle_timeout=1)
        hostile = await stage.function("hostile", HOSTILE, **{"timeout": TIMEOUT, "idle_timeout": 1, **fields})
        async with stage.watching_descriptors(good):
            async with load(lambda: stage.port, Request(good), callers=2, pause=0.02) as put:
                yield hostile
                await _nothing_stays(stage, hostile)
            _count_good(stage, put)
        peak = daemon.peak_memory() >> 20
        stage.fact(f"the daemon had at most {peak} MiB")
        stage.check(peak <= PEAK, f"the daemon had {peak} MiB of memory")


def _count_good(stage: Stage, put: Load) -> None:
    stage.count(put.tally)
    stage.fact(f"beside it, {put.tally.answered:,} of {put.tally.sent:,} calls of another function answered")


async def _nothing_stays(stage: Stage, fn_id: str) -> None:
    """Wait until the hostile fn's containers have left, and check that no process of theirs has stayed."""

    def gone() -> bool:
        assert stage.daemon is not None
        pools = stage.daemon.control.get("/control/pools")["pools"]
        if any(pool["containers"] for pool in pools if pool["fn_id"] == fn_id):
            return False
        return not processes_with([f"FN_FN_ID={fn_id}"])

    await stage.becomes(gone, "processes of a hostile function stay")


async def _call(stage: Stage, fn_id: str, do: str, body: bytes = b"", due: bytes | None = None) -> Failure | None:
    calling = Calling(lambda: stage.port)
    outcome = await calling.call(Request(fn_id, body, do, due))
    calling.close()
    return outcome


async def _told(stage: Stage, fn_id: str, do: str) -> str:
    """Call; return what the function says, or why it does not."""
    outcome = await _call(stage, fn_id, do, due=b"\0no answer is this")
    assert outcome is not None
    return outcome.why.removeprefix("another answer than is due: ").removeprefix("b").strip("'")


async def bomb(stage: Stage) -> None:
    """A fork bomb: every process forks for as long as it can."""
    # With memory for all of them, so that their number is what is limited.
    async with beside_a_good_one(stage, memory=512) as fn_id:
        for _ in range(2):
            told = await _told(stage, fn_id, "bomb")
            stage.result.calls.add(None)
            # What has gone off is still there, so that the next one needs another container.
            tally = Tally()
            tally.add(await _call(stage, fn_id, "raw-then-die"))
            stage.count(tally, _ENDED)
            stage.fact(f"a bomb of 300 processes came to {told}")
            if not told.isdigit() or int(told) > CONTAINER_PROCESSES:
                stage.problem(f"a fork bomb came to {told} processes, where {CONTAINER_PROCESSES} are allowed")
    await _gone_at_the_end(stage)


async def _gone_at_the_end(stage: Stage) -> None:
    left = await trio.to_thread.run_sync(partial(processes_with, [stage.app_id]))
    stage.check(not left, f"{len(left)} processes outlive the daemon")


async def eat(stage: Stage) -> None:
    """Memory hogs: two processes, each up to half a gibibyte, in a container that may have 64 MiB."""
    async with beside_a_good_one(stage) as fn_id:
        tally = Tally()
        for _ in range(3):
            tally.add(await _call(stage, fn_id, "eat"))
        stage.check(not tally.answered, f"{tally.answered} hogs had a gibibyte")
        stage.count(tally, _ENDED)
        stage.fact("two processes of a container that may have 64 MiB never had a gibibyte")


async def talk(stage: Stage) -> None:
    """Endless output on both streams: 200 MB, of which little is kept."""
    async with beside_a_good_one(stage, timeout=60) as fn_id:
        tally = Tally()
        tally.add(await _call(stage, fn_id, "talk", due=b"%d" % _talked()))
        tally.add(await _call(stage, fn_id, "", b"still there"))
        stage.count(tally)
        logs = stage.directory / "d" / "data" / "logs"
        kept = sum(path.stat().st_size for path in logs.rglob("*") if path.is_file()) >> 20
        stage.fact(f"{_talked() >> 20} MiB written, {kept} MiB kept")
        stage.check(kept <= 2 * LOG_KEEP, f"{kept} MiB of output were kept, where {LOG_KEEP} are allowed")


def _talked() -> int:
    """How much `talk` of the hostile function writes."""
    mib = 1 << 20
    sizes = (mib, 6 * (mib // 6), mib)
    return sum(2 * sizes[number % 3] for number in range(100))


@attrs.frozen
class Lie:
    """What a function sends in place of an answer, and which outcomes that may have."""

    what: str
    do: str
    frame: bytes
    allowed: tuple[Allowed, ...]


_BROKEN_OFF: Final = Allowed(NO_ANSWER, "broke off")
_NOT_VALID: Final = Allowed(502, "invalid function response")
_LATE: Final = Allowed(504, "Timed out")
_HEAD: Final = b"HTTP/1.1 200 OK\r\n"
_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n\r\n"
LIES: Final = (
    Lie("promises more and closes", "raw-then-close", _HEAD + b"Content-Length: 100\r\n\r\nx", (_BROKEN_OFF, _ENDED)),
    Lie("promises more and dies", "raw-then-die", _HEAD + b"Content-Length: 100\r\n\r\nx", (_BROKEN_OFF, _ENDED)),
    Lie("promises more and waits", "raw", _HEAD + b"Content-Length: 100\r\n\r\nx", (_BROKEN_OFF, _LATE)),
    Lie("sends more than promised", "raw", _HEAD + b"Content-Length: 1\r\n\r\nxyz", (Allowed(200), _ENDED, _NOT_VALID)),
    Lie("two lengths", "raw", _HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy", (_NOT_VALID,)),
    Lie("a negative length", "raw", _HEAD + b"Content-Length: -1\r\n\r\n", (_NOT_VALID,)),
    Lie(
        "a length without end",
        "raw",
        _HEAD + b"Content-Length: " + b"9" * 200 + b"\r\n\r\n",
        (_NOT_VALID, Allowed(502)),
    ),
    Lie(
        "length and chunks",
        "raw",
        _HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        (_NOT_VALID,),
    ),
    Lie(
        "chunks of nonsense", "raw", _HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n", (_BROKEN_OFF, _NOT_VALID)
    ),
    Lie("garbage", "raw", bytes(range(256)) * 16, (_NOT_VALID,)),
    Lie("another protocol", "raw", b"SSH-2.0-OpenSSH_9.2\r\n", (_NOT_VALID,)),
    Lie(
        "an upgrade", "raw", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", (_NOT_VALID, _LATE)
    ),
    Lie("nothing", "raw-then-close", b"", (_ENDED,)),
    Lie("only informs", "raw-for-ever HTTP/1.1 100 Continue\\r\\n\\r\\n", b"", (_NOT_VALID, _LATE, Allowed(502))),
    Lie("headers without end", "raw-for-ever X-More: more\\r\\n", _HEAD, (Allowed(502, "header too large"),)),
    Lie("one header without end", "raw-for-ever xxxxxxxxxxxxxxxx", _HEAD + b"X: ", (Allowed(502, "header too large"),)),
    Lie("a start line without end", "raw-for-ever xxxxxxxxxxxx", b"HTTP/1.1 200 ", (Allowed(502),)),
    Lie(
        "a body without end",
        "raw-for-ever 5\\r\\nhello\\r\\n",
        _HEAD + _CHUNKED,
        (_BROKEN_OFF, Allowed(502, "body too large")),
    ),
)


async def lie(stage: Stage) -> None:
    """Answers that are no HTTP, or say one thing and do another. The call after each is answered well."""
    async with beside_a_good_one(stage, timeout=SHORT) as fn_id:
        tally = Tally()
        for one in LIES:
            outcome = await _call(stage, fn_id, one.do, one.frame, due=b"x")
            tally.add(outcome)
            told = "as if all were well" if outcome is None else f"{outcome.status or 'no answer'}: {outcome.why}"
            stage.fact(f"{one.what}: {told}")
            if outcome is not None and not any(way.covers(outcome) for way in one.allowed):
                stage.problem(f"a function that {one.what}: the caller gets {told}")
            if outcome is None and Allowed(200) not in one.allowed:
                stage.problem(f"a function that {one.what} is taken for one that answers")
            tally.add(after := await _call(stage, fn_id, "", b"after"))
            stage.check(after is None, f"the call after one that {one.what} fails: {after}")
        stage.result.calls.merge(tally)


async def link_out(stage: Stage) -> None:
    """Links out of every directory that a function may write, out of its bundle, and in the place of its socket."""
    kept = stage.directory / "kept"
    kept.mkdir()
    (kept / "file").write_text("kept")
    async with beside_a_good_one(stage) as fn_id:
        assert stage.daemon is not None
        made = await _told(stage, fn_id, f"link {kept}")
        stage.result.calls.add(None)
        stage.fact(f"links made: {made}")
        stage.check(made.isdigit() and int(made) >= 4, f"no links were made: {made}")
        tally = Tally()
        tally.add(await _call(stage, fn_id, "link-then-replace-socket ../../../control.sock", due=b"replaced"))
        stage.count(tally)
        control = str(stage.daemon.run / "control.sock")
        for number, target in enumerate(("../../../control.sock", control, "/etc/passwd", "..", "lsnr.sock")):
            fields = {"timeout": TIMEOUT, "config": {"FORBIDDEN_SOCKET": target}}
            forbidden = await stage.function(f"to-{number}", HOSTILE, **fields)
            tally = Tally()
            tally.add(await _call(stage, forbidden, "", b"x"))
            stage.count(tally, Allowed(502, "Container failed to initialize"))
            stage.check(not tally.answered, f"a socket that leads to {target} was called")
        await _refuses_bundle(stage, kept)
    stage.check((kept / "file").read_text() == "kept", "what a link led to was removed")
    stage.check([path.name for path in kept.iterdir()] == ["file"], "something was written where a link led")


async def _refuses_bundle(stage: Stage, outside: Path) -> None:
    """Check that a function's directory with a link that leads out is not deployed."""
    source = stage.directory / "linking"
    source.mkdir()
    (source / "func.yaml").write_text("name: linking\nruntime: python\nentrypoint: python func.py\n")
    (source / "func.py").symlink_to(PROGRAMS / "answering.py")
    (source / "out").symlink_to(outside)
    told = await trio.to_thread.run_sync(partial(stage.deploy, source))
    stage.fact(f"deploying a directory with a link that leads out: {told or 'done'}")
    stage.check("link" in told, f"a directory with a link that leads out was not refused: {told or 'deployed'}")


async def outlive(stage: Stage) -> None:
    """Children that outlive their parent: in another session, orphaned, without pipes, without an environment."""
    async with beside_a_good_one(stage, timeout=SHORT) as fn_id:
        tally = Tally()
        for _ in range(2):
            tally.add(await _call(stage, fn_id, "stray", due=b"four"))
            tally.add(await _call(stage, fn_id, "stray-and-die"))
            tally.add(await _call(stage, fn_id, "stray-and-hang"))
        stage.count(tally, _ENDED, _LATE)
        before = len(await trio.to_thread.run_sync(partial(processes_with, [stage.app_id])))
        stage.fact(f"{before} processes of functions right after 6 containers with 4 such children each")
    await _gone_at_the_end(stage)
