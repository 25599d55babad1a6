"""A real daemon in a process of its own, functions in it, and a look at what it and they hold."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from fnd.cli.client import Daemon
from fnd.testing import running_daemon
from tests.http_caller import Answer, Caller, connected

PROGRAMS: Final = Path(__file__).with_name("programs")
_LIMIT: Final = 30.0


async def eventually(holds: Callable[[], object]) -> None:
    """Return once something holds that nothing tells us of: what /proc shows of others, or a daemon's status."""
    with trio.fail_after(_LIMIT):
        while not await trio.to_thread.run_sync(holds):  # noqa: ASYNC110
            await trio.sleep(0.01)


@attrs.frozen
class LiveFunction:
    """A fn of a live daemon."""

    daemon: LiveDaemon
    id: str

    @property
    def target(self) -> bytes:
        return f"/invoke/{self.id}".encode()

    async def call(self, do: str = "", body: bytes = b"", headers: bytes = b"") -> Answer:
        """Call it on a connection of its own; `do` tells the function what to do."""
        caller = await self.daemon.caller()
        answer = await caller.ask(b"POST", self.target, headers + _do(do), body)
        caller.close()
        return answer

    def containers(self) -> list[Mapping[str, Any]]:
        """Return its containers, as the daemon tells of them."""
        pools = self.daemon.control.get("/control/pools")["pools"]
        return [container for pool in pools if pool["fn_id"] == self.id for container in pool["containers"]]


def _do(do: str) -> bytes:
    return f"X-Do: {do}\r\n".encode() if do else b""


@attrs.define
class LiveDaemon:
    """A daemon that is ready."""

    directory: Path
    process: subprocess.Popen[bytes]
    port: int
    control: Daemon
    app_id: str = ""

    @property
    def run(self) -> Path:
        return self.directory / "run"

    @property
    def log(self) -> str:
        return (self.directory / "daemon.log").read_text(errors="replace")

    async def caller(self) -> Caller:
        return await connected(("127.0.0.1", self.port))

    def function(self, name: str, program: str = "answering.py", **fields: Any) -> LiveFunction:
        """Make a fn of a program; its container tells what it is to do at its start by MODE in `config`."""
        directory = self.directory / "functions" / program
        if not directory.exists():
            directory.mkdir(parents=True)
            (directory / "main.py").write_bytes((PROGRAMS / program).read_bytes())
            (directory / "func.yaml").write_text("name: f\nruntime: python\nentrypoint: python main.py\n")
        if not self.app_id:
            self.app_id = self.control.post("/v2/apps", {"name": "app"})["id"]
        body = {"name": name, "app_id": self.app_id, "image": f"process://{directory}", **fields}
        return LiveFunction(self, self.control.post("/v2/fns", body)["id"])

    def trigger(self, function: LiveFunction, name: str) -> bytes:
        """Make a trigger of a fn; return its target."""
        body = {"name": name, "app_id": self.app_id, "fn_id": function.id, "type": "http", "source": f"/{name}"}
        self.control.post("/v2/triggers", body)
        return f"/t/app/{name}".encode()

    def status(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.control.get("/control/status")
        return found

    def processes(self) -> list[int]:
        """Return the processes of its functions' containers, wherever they have got to."""
        mark = f"FN_APP_ID={self.app_id}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
            except OSError:
                continue  # it has just ended
        return found

    def descriptors(self) -> int:
        """Return how many files, sockets and the like it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def containers_left(self) -> list[str]:
        """Return what is left of containers: processes, and what they were given on disk."""
        left = [f"process {pid}" for pid in self.processes()]
        return left + [str(path) for path in (self.run / "process").glob("*")]

    def peak_memory(self) -> int:
        """Return the most memory it ever had resident, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    async def ended(self) -> int:
        """Return its exit code, once it has ended."""
        return await trio.to_thread.run_sync(partial(self.process.wait, _LIMIT))


@contextmanager
def live_daemon(
    directory: Path | None = None,
    settings: str = "",
    environment: Mapping[str, str] | None = None,
    within: Sequence[str] = (),
) -> Iterator[LiveDaemon]:
    """Start a daemon in `directory`, or one of its own; at the end it is stopped, and must have ended well by then.

    `settings` is the content of its configuration file, `environment` what it has beside ours, `within` a command that
    executes the one that follows it. `directory`'s path must be short enough for sockets.
    """
    with running_daemon(settings, directory=directory, environment=environment, within=within) as daemon:
        assert daemon.own.process is not None
        port = int(daemon.url.rpartition(":")[2])
        yield LiveDaemon(daemon.own.directory, daemon.own.process, port, daemon.control)


def message(answer: Answer) -> str:
    """Return what an error's answer says, which must be of the form that all have."""
    assert answer.headers[b"content-type"] == b"application/json; charset=utf-8"
    (text,) = json.loads(answer.body).values()
    return str(text)
