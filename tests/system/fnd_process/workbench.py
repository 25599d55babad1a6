"""A driver on a workbench: functions to run, their logs, and a look whether anything of them is left."""

from __future__ import annotations

import os
import socket
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio

from fnd.hookspecs import Container, ContainerSpec, DriverContext, Link
from fnd.ids import new_id
from fnd.testing import no_descriptor_left
from fnd_process import machine
from fnd_process.driver import ProcessDriver
from fnd_process.processes import Census
from tests.parts import missing, need_program

WAYS = {
    "sandbox": {"bubblewrap": "require", "cgroup": "off"},
    "sandbox and cgroup": {"bubblewrap": "require", "cgroup": "auto"},
    "host": {"bubblewrap": "off", "cgroup": "off"},
    "host and cgroup": {"bubblewrap": "off", "cgroup": "auto"},
}

SERVER = """
import os, socket
address = os.environ["FN_LISTENER"].removeprefix("unix:")
listener = socket.socket(socket.AF_UNIX)
listener.bind(os.path.join(os.path.dirname(address), "phonylsnr.sock"))
os.chmod(os.path.join(os.path.dirname(address), "phonylsnr.sock"), 0o666)
listener.listen()
os.symlink("phonylsnr.sock", address)
while True:
    connection, _ = listener.accept()
    while data := connection.recv(65536):
        connection.sendall(data)
"""
"""A function that answers on its socket with what it is sent, as an FDK would set one up."""


class Log:
    """Keeps what a container writes."""

    def __init__(self) -> None:
        self.streams: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._news = trio.Event()

    def __call__(self, stream: str, data: bytes, /) -> None:
        self.streams[stream] += data
        self._news.set()
        self._news = trio.Event()

    @property
    def stdout(self) -> str:
        return self.streams["stdout"].decode()

    @property
    def stderr(self) -> str:
        return self.streams["stderr"].decode()

    async def until(self, text: str) -> None:
        """Return once the container has written this to standard output."""
        with trio.fail_after(20):
            while text not in self.stdout:
                await self._news.wait()


class Workbench:
    """A driver in one of its ways, in a directory."""

    def __init__(self, root: Path, way: str, settings: Mapping[str, Any]) -> None:
        if way.startswith("sandbox"):
            need_program("bwrap", "bubblewrap")
        if way == "sandbox and cgroup":
            # Also where a group counts nothing, and so is not worth its time.
            machine.is_worthwhile = lambda *_, **__: True
        self.root = root
        self.way = way
        self.runtime = root / "run"
        self.data = root / "data"
        self.driver = ProcessDriver(DriverContext(self.data, self.runtime, {**WAYS[way], **settings}))
        self.ids: set[str] = set()

    @property
    def sandboxed(self) -> bool:
        return self.way.startswith("sandbox")

    def in_force(self, name: str) -> bool:
        """Whether the driver says that it protects in this regard."""
        return {protection.name: protection.in_force for protection in self.driver.protection()}[name]

    def by(self, name: str) -> str:
        """What the driver says protects in this regard."""
        return {protection.name: protection.by for protection in self.driver.protection()}[name]

    def need_way(self) -> None:
        """Skip the test if this machine has no control group for us."""
        if self.way.endswith("cgroup") and self.by("ending all its processes") != "cgroup v2":
            missing(f"no cgroup v2: {self.by('memory')}")

    def function(self, main: str, name: str = "function", **fields: Any) -> Path:
        """Write a Python function; return its directory."""
        directory = self.root / name
        directory.mkdir(exist_ok=True)
        (directory / "main.py").write_text(textwrap.dedent(main))
        lines = {"name": name, "runtime": "python", "entrypoint": "python main.py", **fields}
        (directory / "func.yaml").write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
        return directory

    async def image(self, main: str, name: str = "function", **fields: Any) -> str:
        """Build a Python function; return its image."""
        return await self.driver.build(self.function(main, name, **fields), lambda _: None)

    def spec(
        self,
        image: str,
        *,
        log: Callable[[str, bytes], None] | None = None,
        link: Link = Link.SOCKET,
        memory: int = 128,
        environment: Mapping[str, str] | None = None,
        launcher: str = "",
    ) -> ContainerSpec:
        """Return the spec of a container that no other has been."""
        container_id = new_id()
        self.ids.add(container_id)
        return ContainerSpec(
            container_id=container_id,
            app_id="app-id",
            app_name="app",
            fn_id="fn-id",
            fn_name="fn",
            image=image,
            memory=memory,
            cpu=0,
            link=link,
            environment=lambda directory: {
                "FN_LISTENER": f"unix:{directory}/lsnr.sock",
                **({} if environment is None else environment),
            },
            log=log or Log(),
            launcher=launcher,
        )

    @contextmanager
    def nothing_left(self) -> Iterator[None]:
        """Check that what was started in here is gone at its end, and all that it had."""
        with no_descriptor_left():
            yield
        assert self.living() == []
        assert list(self.runtime.iterdir()) == []
        building = list(self.data.rglob(".building-*"))
        assert building == []
        running = self.driver._running
        if running.machine.cgroups is not None:
            assert running.machine.cgroups.existing() == []

    def living(self) -> list[int]:
        """Return the processes of this bench's containers, by their mark or their user."""
        running = self.driver._now
        users = running.machine.users if running is not None else None
        mine = range(users.first, users.first + 1000) if users is not None else ()
        census = Census()
        marked = {pid for container_id in self.ids for pid in census.of_mark(container_id)}
        return list(marked | {pid for user in mine for pid in census.of_user(user)})


async def eventually(holds: Callable[[], bool]) -> None:
    """Return once something about other processes holds, of which nothing tells us."""
    with trio.fail_after(20):
        while not holds():  # noqa: ASYNC110
            await trio.sleep(0.002)


async def ready(container: Container) -> socket.socket:
    """Return a connection to the function's socket, once it has one."""
    path = container.socket_directory / "lsnr.sock"
    await eventually(path.exists)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.fspath(path))
    return connection


async def run(bench: Workbench, main: str, **spec: Any) -> tuple[Any, Log]:
    """Build a function and run it to its own end; return how it ended and what it wrote."""
    log = Log()
    fields = spec.pop("fields", {})
    image = await bench.image(main, **fields)
    with trio.fail_after(30):
        async with bench.driver.start(bench.spec(image, log=log, **spec)) as container:
            result = await container.wait()
    return result, log
