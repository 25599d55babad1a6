"""What scenarios share: a place, daemons that start and stop without holding up callers, and the count at the end."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import trio

from fnd.cli.exits import NotReachable, RequestFailed
from tests.bench.processes import FND
from tests.faults.load import Calling, Request, call_in_turn
from tests.faults.places import GOOD, Held, Place, held, kill_processes, left_after_stop
from tests.faults.result import Descriptors, Result
from tests.faults.tally import Allowed, Tally, unexpected
from tests.system.live_daemon import LiveDaemon, eventually, live_daemon

T = TypeVar("T")
LONGEST_RECOVERY: Final = 65.0
"""Seconds after which calls must be answered again, once nothing stands in the way."""
MEMORY: Final = 64
"""MiB, of a function."""
_SETTINGS: Final = "memory = 2048\ncall_records = 500000\ngrace_period = 20\nstart_timeout = 20\n"
"""Containers may take long to start: dozens do at once, on whatever machine."""


@attrs.define
class Stage:
    """One run of a scenario. What `directory` holds must not lengthen sockets' paths much."""

    place: Place
    directory: Path
    seconds: float
    """How long what can be long is done."""
    chance: random.Random
    result: Result
    daemon: LiveDaemon | None = None
    """The one that runs, or has run last."""
    app_id: str = ""

    # What is said.

    def fact(self, text: str) -> None:
        """Take down what was done or seen."""
        self.result.facts.append(text)

    def problem(self, text: str) -> None:
        """Take down what is not as it should be."""
        self.result.problems.append(text)

    def check(self, holds: bool, otherwise: str) -> None:
        """Take down a problem unless something holds."""
        if not holds:
            self.problem(otherwise)

    async def becomes(self, holds: Callable[[], object], otherwise: str) -> None:
        """Wait until something holds; take down a problem if it does not come to that."""
        try:
            await eventually(holds)
        except trio.TooSlowError:
            self.problem(otherwise)

    def count(self, tally: Tally, *allowed: Allowed) -> None:
        """Take down calls; failures that no way allows are problems."""
        self.result.calls.merge(tally)
        self.result.problems += unexpected(tally.failures, allowed)

    # Daemons.

    @asynccontextmanager
    async def running(
        self, settings: str = "", environment: Mapping[str, str] | None = None, within: Sequence[str] = ()
    ) -> AsyncIterator[LiveDaemon]:
        """Run a daemon while in the context, always in the same directory; at the end it must stop in order."""
        directory = self.directory / "d"
        directory.mkdir(exist_ok=True)
        text = f"{_SETTINGS}{settings}{self.place.settings}"
        async with in_thread(live_daemon(directory, text, environment, within)) as self.daemon:
            if not self.app_id:
                app = await self.ask("POST", "/v2/apps", {"name": "faults"})
                self.app_id = app["id"]
            yield self.daemon

    @property
    def port(self) -> int:
        """Where the daemon that runs, or has run last, serves calls."""
        assert self.daemon is not None
        return self.daemon.port

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask the daemon over its control socket. Raises RequestFailed, NotReachable."""
        assert self.daemon is not None
        control = self.daemon.control
        match method:
            case "GET":
                return await _threaded(partial(control.get, path))
            case "POST":
                return await _threaded(partial(control.post, path, body))
            case _:
                return await _threaded(partial(control.put, path, body))

    async def function(self, name: str, program: Path = GOOD, **fields: Any) -> str:
        """Make a fn of a program; return its id."""
        image = await _threaded(partial(self.place.image, program, self.directory / "functions"))
        body = {"name": name, "app_id": self.app_id, "image": image, "memory": MEMORY, **fields}
        fn_id: str = (await self.ask("POST", "/v2/fns", body))["id"]
        return fn_id

    def deploy(self, source: Path) -> str:
        """Deploy a function as a user would; return what that is refused with, "" if it is not. Blocks."""
        assert self.daemon is not None
        command = [str(FND), "--control", str(self.daemon.run / "control.sock"), "deploy", str(source)]
        done = subprocess.run([*command, "--app", "faults"], capture_output=True, text=True, check=False)
        return (done.stderr or done.stdout).strip().splitlines()[-1] if done.returncode else ""

    async def containers(self, fn_id: str = "") -> list[Mapping[str, Any]]:
        """Return containers, of one fn or of all, as the daemon tells of them."""
        pools = (await self.ask("GET", "/control/pools"))["pools"]
        return [one for pool in pools if fn_id in ("", pool["fn_id"]) for one in pool["containers"]]

    async def container_of(self, call_id: str) -> str:
        """Return which container had a call, "" if the daemon does not know."""
        try:
            return str((await self.ask("GET", f"/control/calls/{call_id}"))["container_id"])
        except RequestFailed:
            return ""

    async def serves(self, fn_id: str, times: int = 20) -> None:
        """Check that a function is served as if nothing had been."""
        self.count(await call_in_turn(self.port, Request(fn_id), times))

    async def recovers(self, *fn_ids: str) -> None:
        """Wait until functions that could not be started are served again, and take down how long that took.

        A pool whose launches have failed is tried again after a pause, which grows to a minute.
        """
        began = time.monotonic()
        calling = Calling(lambda: self.port)
        with trio.move_on_after(LONGEST_RECOVERY) as waiting:
            for fn_id in fn_ids:
                while await calling.call(Request(fn_id)) is not None:
                    assert self.daemon is not None
                    assert self.daemon.process.poll() is None, "the daemon has ended by itself"
                    await trio.sleep(0.1)
        calling.close()
        self.check(not waiting.cancelled_caught, f"no call is answered {LONGEST_RECOVERY:g} s after it could be")
        self.fact(f"answered {time.monotonic() - began:.1f} s after that was possible again")

    async def held(self) -> Held:
        """Return what the daemon's containers have now."""
        assert self.daemon is not None
        return await _threaded(partial(held, self.place, self.daemon.run, self.app_id))

    # The count at the end.

    async def resting_descriptors(self) -> int:
        """Return how many descriptors the daemon has once no container is left."""
        assert self.daemon is not None
        await self.becomes(self._no_container, "containers stay although nobody calls")
        return self._descriptors()

    def _descriptors(self) -> int:
        """Return how many it has, less those of functions' logs, of which it keeps so many open and no more."""
        assert self.daemon is not None
        logs = str(self.daemon.directory / "data" / "logs")
        found = 0
        for entry in Path(f"/proc/{self.daemon.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                found += not str(entry.readlink()).startswith(logs)
        return found

    def _no_container(self) -> bool:
        assert self.daemon is not None
        pools = self.daemon.control.get("/control/pools")["pools"]
        return not any(pool["containers"] for pool in pools)

    @asynccontextmanager
    async def watching_descriptors(self, fn_id: str) -> AsyncIterator[None]:
        """Compare what the daemon has open before and after, each time without a container.

        The function must have a short idle time-out; it is called first, so that what is opened once is open.
        """
        assert self.daemon is not None
        await self.serves(fn_id, 3)
        await self.ask("GET", "/v2/apps")
        before = await self.resting_descriptors()
        yield
        # What is closed a little later than it is seen to be over, callers' connections for one, is no leak.
        most = before + self.place.kept_descriptors
        await self.resting_descriptors()
        with trio.move_on_after(10):
            while self._descriptors() > most:  # noqa: ASYNC110
                await trio.sleep(0.1)
        self.result.note_descriptors(Descriptors(before, self._descriptors(), self.place.kept_descriptors))

    def note_left(self) -> None:
        """Take down what is left now that the daemon has stopped, and remove it."""
        if self.daemon is not None and self.app_id:
            left = left_after_stop(self.place, self.daemon.run, self.app_id)
            if not self.result.broke_off:  # else the daemon was killed in the middle, and nothing is to be learnt
                self.result.note_left(left)
            kill_processes(self.app_id)
        self.place.clean()


async def _threaded(function: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(function)


@asynccontextmanager
async def in_thread(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave a context whose both ends block."""
    value = await _threaded(manager.__enter__)
    try:
        yield value
    except BaseException:
        with trio.CancelScope(shield=True):
            if not await _threaded(partial(manager.__exit__, *sys.exc_info())):
                raise
    else:
        await _threaded(partial(manager.__exit__, None, None, None))


UNREACHABLE: Final = (NotReachable, RequestFailed)
"""What a question to a daemon in trouble may raise."""
