"""What the rows share: one daemon with the functions deployed, the same functions started plainly, and the proxy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from tests.bench import processes
from tests.bench.load import Caller, FunctionSocket, Port
from tests.bench.processes import Deployed, FunctionCommand, RunningDaemon, RunningProxy

TRIVIAL: Final = "trivial"
FDK: Final = "fdk"
DISTINCT: Final = 1000
SOURCES: Final = Path(__file__).with_name("functions")


class Stage:
    """Used in a `with`; everything it started ends with it. Every `name` is that of a directory in functions/."""

    def __init__(
        self, directory: Path, rounds: int, seconds: int, say: Callable[[str], None], distinct: int = DISTINCT
    ) -> None:
        self.directory = directory
        self.rounds = rounds
        self.distinct = distinct
        """How many distinct functions are called at once where that is measured."""
        self.seconds = seconds
        """How long each load is put."""
        self.say = say
        """Takes a line on how far the run has come."""
        self._stack = ExitStack()
        self._servers = ExitStack()
        self._proxy = ExitStack()
        self._proxy_holds: tuple[FunctionSocket, ...] = ()
        self._running_proxy: RunningProxy | None = None
        self._daemon: RunningDaemon | None = None
        self._deployed: dict[str, Deployed] = {}
        self._commands: dict[str, FunctionCommand] = {}
        self._functions: dict[str, processes.Functions] = {}

    def __enter__(self) -> Self:
        # Compiling modules takes time and memory that nobody's second start does.
        with processes.daemon(self.directory / "compiling"):
            return self

    def __exit__(self, *_: object) -> None:
        self._proxy.close()
        self._servers.close()
        self._stack.close()

    @property
    def daemon(self) -> RunningDaemon:
        """The one daemon, started when first asked for."""
        if self._daemon is None:
            self._daemon = self._servers.enter_context(processes.daemon(self.directory / "fnd"))
        return self._daemon

    def restart(self) -> None:
        """Have a new daemon, with the same functions, and a new proxy from now on.

        Two processes of one program differ by a fifth in what a call takes them, for as long as they live, by where
        their memory came to lie. What is that small is measured on several.
        """
        self._proxy.close()
        self._running_proxy = self._daemon = None
        self._servers.close()

    def deployed(self, name: str) -> Deployed:
        """Return a function in service, deployed when first asked for."""
        if name not in self._deployed:
            self.say(f"deploying {name}")
            self._deployed[name] = self.daemon.deploy(SOURCES / name)
        return self._deployed[name]

    def port(self, name: str) -> Port:
        """Where fnd serves a function."""
        return self.daemon.port_of(self.deployed(name).fn_id)

    def command(self, name: str) -> FunctionCommand:
        """How fnd starts a function's process, found by looking at one."""
        if name not in self._commands:
            Caller(self.port(name)).call()
            container = self.daemon.containers(self.deployed(name).fn_id)[0]
            assert container.pid is not None
            self._commands[name] = processes.command_of(container.pid)
        return self._commands[name]

    def functions(self, name: str, count: int) -> list[FunctionSocket]:
        """Return `count` processes of a function that nothing stands before."""
        if name not in self._functions:
            directory = self.directory / "plain" / name
            self._functions[name] = processes.Functions(self.command(name), directory, self._stack)
        return self._functions[name].sockets(count)

    def proxy(self, functions: Sequence[FunctionSocket]) -> RunningProxy:
        """Return the proxy, holding these functions; one that held others is stopped."""
        held = tuple(functions)
        if self._running_proxy is None or self._proxy_holds != held:
            self._proxy.close()
            self._running_proxy = self._proxy.enter_context(processes.proxy(held, self.directory))
            self._proxy_holds = held
        return self._running_proxy
