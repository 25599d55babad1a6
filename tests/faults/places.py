"""Where functions run: how each driver is set up, how its functions are made, what of its containers can be left."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import attrs

from fnd.testing.leavings import exists
from fnd_process.cgroups import group_name
from tests.bench.processes import descendants
from tests.faults.result import Leavings
from tests.private_docker import CGROUPS, PrivateDocker, add_program, private_docker, python_image
from tests.system.live_daemon import PROGRAMS

GOOD: Final = PROGRAMS / "answering.py"
HOSTILE: Final = Path(__file__).with_name("programs") / "hostile.py"


class Place(Protocol):
    """A driver, set up."""

    @property
    def name(self) -> str:
        """The driver's."""

    @property
    def settings(self) -> str:
        """What the daemon's configuration file says of it."""

    @property
    def kept_descriptors(self) -> int:
        """How many connections it may keep open for reuse."""

    def image(self, program: Path, directory: Path) -> str:
        """Return an image that starts a program; files for it may be made in `directory`."""

    def containers(self) -> set[str]:
        """Return what the driver's other side lists of containers; nothing for one that has no other side."""

    def cgroups(self, run: Path) -> list[Path]:
        """Return the control groups of containers of the daemon that has this runtime directory."""

    def clean(self) -> None:
        """Remove what the driver's other side still has, so that the next scenario does not find it."""


@attrs.define
class ProcessPlace:
    """The process driver."""

    name: str = "process"
    settings: str = ""
    kept_descriptors: int = 0

    def image(self, program: Path, directory: Path) -> str:
        """Return the image of a directory that runs as it is."""
        source = directory / program.stem
        if not source.exists():
            source.mkdir(parents=True)
            shutil.copyfile(program, source / "main.py")
            (source / "func.yaml").write_text("name: f\nruntime: python\nentrypoint: python main.py\n")
        return f"process://{source}"

    def containers(self) -> set[str]:
        """Return nothing: a container is its processes."""
        return set()

    def cgroups(self, run: Path) -> list[Path]:
        """Return the control groups below the daemon's, where it has one."""
        return _groups_below(group_name(run / "process"))

    def clean(self) -> None:
        """Do nothing: there is no other side."""


@attrs.define
class DockerPlace:
    """The Docker driver, and an engine of its own."""

    engine: PrivateDocker
    name: str = "docker"
    kept_descriptors: int = 16
    """As many connections to the engine as the driver's HTTP client keeps for its next requests."""

    @property
    def settings(self) -> str:
        return f'[plugins.docker]\nhost = "{self.engine.host}"\n'

    def image(self, program: Path, directory: Path) -> str:
        """Return an image with a Python program in it."""
        return f"docker://{add_program(self.engine, f'fnd-faults/{program.stem}:1', program)}"

    def containers(self) -> set[str]:
        """Return the ids of what the engine lists, in whatever state."""
        return {container["Labels"].get("dev.fnd.container", container["Id"]) for container in self.engine.containers()}

    def cgroups(self, run: Path) -> list[Path]:
        """Return the control groups of the engine's containers."""
        return self.engine.cgroups()

    def clean(self) -> None:
        """Have the engine run, and without a container."""
        if self.engine.process is None:
            self.engine.start()
        for container in self.engine.containers():
            self.engine.request("DELETE", f"/containers/{container['Id']}", params={"force": "1", "v": "1"})


@contextmanager
def place(driver: str) -> Iterator[Place]:
    """Set a driver up; skips like a test, with the reason, where that cannot be."""
    if driver == "process":
        yield ProcessPlace()
        return
    with private_docker() as engine:
        python_image(engine)
        yield DockerPlace(engine)


def _groups_below(name: str) -> list[Path]:
    """Return the control groups in those of a name, wherever these are.

    Others' groups come and go meanwhile, which `os.walk` minds as little as it should.
    """
    return [Path(path, group) for path, groups, _ in os.walk(CGROUPS) if Path(path).name == name for group in groups]


def processes_with(marks: Iterable[str]) -> list[int]:
    """Return the processes of this host that have one of these words in their environment or their command."""
    wanted = [mark.encode() for mark in marks]
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):  # gone meanwhile
                told = (path / "environ").read_bytes() + (path / "cmdline").read_bytes()
                if any(mark in told for mark in wanted):
                    found.append(int(path.name))
    return found


@attrs.frozen
class Held:
    """What a daemon's containers have at one moment."""

    processes: frozenset[int]
    containers: frozenset[str]
    paths: frozenset[Path]

    def left(self, place: Place) -> Leavings:
        """Return which of it is still there."""
        there = (path for path in self.paths if path.exists() or path.is_symlink())
        directories, sockets = Leavings.of_files(path for path in there if not path.is_relative_to(CGROUPS))
        return Leavings(
            processes=tuple(str(pid) for pid in self.processes if exists(pid)),
            containers=tuple(self.containers & place.containers()),
            cgroups=tuple(str(path) for path in self.paths if path.is_relative_to(CGROUPS) and path.exists()),
            directories=directories,
            sockets=sockets,
        )


def held(place: Place, run: Path, app_id: str) -> Held:
    """Return what containers of an app's functions have now, whatever daemon made them."""
    return Held(
        processes=frozenset(processes_with([app_id])),
        containers=frozenset(place.containers()),
        paths=frozenset(_containers_paths(run)) | frozenset(place.cgroups(run)),
    )


def _containers_paths(run: Path) -> list[Path]:
    """Return what containers have in a daemon's runtime directory."""
    return [path for plugin in ("process", "docker") for path in (run / plugin).rglob("*")]


def left_after_stop(place: Place, run: Path, app_id: str) -> Leavings:
    """Return what is left once the daemon that had this runtime directory has stopped."""
    directories, sockets = Leavings.of_files(run.rglob("*") if run.exists() else ())
    return Leavings(
        processes=tuple(map(str, processes_with([app_id]))),
        containers=tuple(place.containers()),
        cgroups=tuple(map(str, place.cgroups(run))),
        directories=directories,
        sockets=sockets,
    )


def kill_processes(app_id: str) -> None:
    """Kill what is left of an app's functions, so that it outlives no scenario."""
    for pid in processes_with([app_id]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def processes_of(pid: int) -> list[int]:
    """Return a container's processes, given the one that stands for it; [] if it has ended."""
    return [one for one in descendants(pid) if exists(one)]
