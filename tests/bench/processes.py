"""The processes that are measured: functions, the bare proxy and the daemon, each held open by a `with`."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from fnd.cli.client import Daemon as ControlClient
from tests.bench.load import FunctionSocket, Port

APP: Final = "bench"
_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 15.0
_LOOK_AGAIN: Final = 0.0002
FND: Final = Path(sys.executable).with_name("fnd")
_OUTPUT_SHOWN: Final = 2000
_FUNCTION_MOUNT: Final = "/function"
_CONTAINER_VARIABLES: Final = frozenset(("FN_LISTENER", "FND_CONTAINER_ID", "PWD"))


class NotStarted(Exception):
    """A process ended, or was not ready in time; the message has the end of what it wrote."""


def base_environment(directory: Path) -> dict[str, str]:
    """Return the environment of everything that is started: compiled modules are kept, in `directory` alone."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FND_", "PYTHON")) and name != "NOTIFY_SOCKET"
    }
    environment["PYTHONPYCACHEPREFIX"] = str(directory / "pycache")
    return environment


@contextmanager
def process(
    command: Sequence[str], environment: Mapping[str, str], log: Path, directory: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command; leaving the context terminates it, and kills it if it does not end. Its output goes to `log`."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def wait_until(ready: Callable[[], bool], running: subprocess.Popen[bytes], log: Path) -> None:
    """Look again and again, at intervals far below what is measured, until `ready()`. Raises NotStarted."""
    end = time.perf_counter() + _START_SECONDS
    while not ready():
        if running.poll() is not None:
            raise NotStarted(f"{running.args!r} ended with {running.returncode}: {tail(log)}")
        if time.perf_counter() > end:
            raise NotStarted(f"{running.args!r} is not ready after {_START_SECONDS:g} s: {tail(log)}")
        time.sleep(_LOOK_AGAIN)


def tail(log: Path) -> str:
    """Return the end of what a process wrote."""
    return log.read_text(errors="replace")[-_OUTPUT_SHOWN:].strip() or "it wrote nothing"


@attrs.frozen
class FunctionCommand:
    """How a function is started: exactly as fnd's driver does it, but with nothing around it."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    """Without FN_LISTENER, which is each process's own."""
    directory: Path


def command_of(pid: int) -> FunctionCommand:
    """Return how the function in a container was started, given the pid that the driver tells of it.

    The innermost process is the function; what is around it is the driver's protection.
    """
    process_directory = Path(f"/proc/{descendants(pid)[-1]}")
    arguments = (process_directory / "cmdline").read_bytes().decode().split("\0")[:-1]
    pairs = (pair.partition("=") for pair in (process_directory / "environ").read_text().split("\0") if pair)
    environment = {name: value for name, _, value in pairs if name not in _CONTAINER_VARIABLES}
    mounts = (line.split() for line in (process_directory / "mountinfo").read_text().splitlines())
    sources = {fields[4]: fields[3] for fields in mounts}
    directory = sources.get(_FUNCTION_MOUNT) or str((process_directory / "cwd").readlink())
    inside = f"{_FUNCTION_MOUNT}/"
    return FunctionCommand(
        tuple(one.replace(inside, f"{directory}/") if one.startswith(inside) else one for one in arguments),
        environment,
        Path(directory),
    )


@contextmanager
def function(command: FunctionCommand, directory: Path) -> Iterator[FunctionSocket]:
    """Run a function that listens in `directory`, which is made; yield its socket once it is there."""
    directory.mkdir(parents=True)
    link = directory / "lsnr.sock"
    log = directory / "log"
    environment = {**command.environment, "FN_LISTENER": f"unix:{link}"}
    with process(command.arguments, environment, log, command.directory) as running:
        wait_until(link.exists, running, log)
        yield FunctionSocket(link)


class Functions:
    """As many processes of one function as anybody has asked for; they stay until the end."""

    def __init__(self, command: FunctionCommand, directory: Path, stack: ExitStack) -> None:
        self._command = command
        self._directory = directory
        self._stack = stack
        self._sockets: list[FunctionSocket] = []

    def sockets(self, count: int) -> list[FunctionSocket]:
        """Return `count` of them."""
        while len(self._sockets) < count:
            directory = self._directory / str(len(self._sockets))
            self._sockets.append(self._stack.enter_context(function(self._command, directory)))
        return self._sockets[:count]


@attrs.frozen
class RunningProxy:
    """The bare proxy."""

    pid: int
    port: Port


@contextmanager
def proxy(functions: Sequence[FunctionSocket], directory: Path) -> Iterator[RunningProxy]:
    """Run the bare proxy in front of functions; yield it once it listens."""
    log = directory / "proxy.log"
    log.write_bytes(b"")
    command = [sys.executable, "-m", "tests.bench.proxy", *(str(one.path) for one in functions)]
    with process(command, base_environment(directory), log) as running:
        wait_until(lambda: b"\n" in log.read_bytes(), running, log)
        yield RunningProxy(running.pid, Port(int(log.read_bytes()), "/call"))


@attrs.frozen
class Container:
    """A container as the daemon tells of it."""

    state: str
    pid: int | None


@attrs.frozen
class Deployed:
    """A function in service."""

    fn_id: str
    app_id: str
    image: str


class RunningDaemon:
    """`fnd serve`, ready. Memory is in bytes."""

    def __init__(self, pid: int, port: int, directory: Path, start_seconds: float) -> None:
        self.pid = pid
        self.port = port
        self.start_seconds = start_seconds
        """From the start of its process until it said READY."""
        self._directory = directory

    @property
    def control(self) -> Path:
        """Its control socket."""
        return self._directory / "run" / "control.sock"

    def port_of(self, fn_id: str) -> Port:
        """Where a function is called."""
        return Port(self.port, f"/invoke/{fn_id}")

    def deploy(self, source: Path, driver: str = "process") -> Deployed:
        """Put the function in `source` into service, by the command a user would type. Raises NotStarted."""
        command = [str(FND), "--control", str(self.control), "deploy", str(source), "--app", APP, "--create-app"]
        command += ["--driver", driver]
        done = subprocess.run(
            [*command, "--output", "json"],
            env=base_environment(self._directory),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NotStarted(f"{source.name} was not deployed: {done.stderr.strip()[-_OUTPUT_SHOWN:]}")
        fn = json.loads(done.stdout)["fn"]
        return Deployed(fn["id"], fn["app_id"], fn["image"])

    def another(self, of: Deployed, name: str, **fields: Any) -> Deployed:
        """Make one more fn of a deployed one's image: it is cold."""
        return self.others(of, [name], **fields)[0]

    def others(self, of: Deployed, names: Sequence[str], **fields: Any) -> list[Deployed]:
        """Make more of them."""
        with ControlClient(self.control) as daemon:
            bodies = ({"name": name, "app_id": of.app_id, "image": of.image, **fields} for name in names)
            fns = [daemon.post("/v2/fns", body) for body in bodies]
        return [Deployed(fn["id"], fn["app_id"], fn["image"]) for fn in fns]

    def containers(self, fn_id: str) -> list[Container]:
        """Return the fn's containers that serve or could serve calls."""
        with ControlClient(self.control) as daemon:
            pools = daemon.get("/control/pools")["pools"]
        return [
            Container(container["state"], container["pid"])
            for pool in pools
            if pool["fn_id"] == fn_id
            for container in pool["containers"]
            if container["state"] in {"idle", "busy", "paused"}
        ]

    def resident(self) -> int:
        """Return what the daemon's own process has resident, its functions' not included."""
        return resident(self.pid)

    def status(self) -> dict[str, Any]:
        """Return what the daemon says of itself."""
        with ControlClient(self.control) as daemon:
            answer: dict[str, Any] = daemon.get("/control/status")
        return answer


def resident(pid: int) -> int:
    """Return a process's resident bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def processor_seconds(pid: int) -> float:
    """Return how long a process with one thread at work has run on processors, to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


@contextmanager
def daemon(directory: Path, **settings: str) -> Iterator[RunningDaemon]:
    """Run `fnd serve` with its data and runtime directories in `directory`; yield it once it says READY."""
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "daemon.log"
    port = free_port()
    command = [str(FND), "serve", "--listen", f"127.0.0.1:{port}"]
    command += ["--data", str(directory / "data"), "--runtime-directory", str(directory / "run")]
    environment = base_environment(directory.parent) | settings
    with listening_for_ready(directory / "notify") as (path, wait_ready):
        environment["NOTIFY_SOCKET"] = str(path)
        started = time.perf_counter()
        with process(command, environment, log) as running:
            wait_ready(running, log)
            yield RunningDaemon(running.pid, port, directory, time.perf_counter() - started)


@contextmanager
def listening_for_ready(path: Path) -> Iterator[tuple[Path, Callable[[subprocess.Popen[bytes], Path], None]]]:
    """Bind a service manager's socket; yield its path and what waits there for READY=1, or raises NotStarted."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        notifications.bind(str(path))
        notifications.settimeout(0.1)

        def wait_ready(running: subprocess.Popen[bytes], log: Path) -> None:
            end = time.perf_counter() + _START_SECONDS
            while True:
                with contextlib.suppress(TimeoutError):
                    if b"READY=1" in notifications.recv(4096).split(b"\n"):
                        return
                if running.poll() is not None:
                    raise NotStarted(f"the daemon ended with {running.returncode}: {tail(log)}")
                if time.perf_counter() > end:
                    raise NotStarted(f"the daemon is not ready after {_START_SECONDS:g} s: {tail(log)}")

        yield path, wait_ready


def free_port() -> int:
    """Return a port of the loopback interface that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def descendants(pid: int) -> list[int]:
    """Return a process and all below it, parents first."""
    found = [pid]
    for one in found:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found
