"""What is measured of Docker is measured on an engine and a daemon of its own, with the same functions as elsewhere."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs
import httptools

from fnd.cli.client import Daemon as ControlClient
from tests.bench import processes
from tests.bench.bare_engine import BareEngine, Pattern
from tests.bench.load import Answer, Caller
from tests.bench.processes import Deployed, RunningDaemon
from tests.bench.stage import FDK, SOURCES, TRIVIAL, Stage
from tests.faults.places import DockerPlace, ProcessPlace, left_after_stop
from tests.faults.result import Leavings
from tests.private_docker import PYTHON, PrivateDocker, private_docker, python_image

ROOM: Final = 4096
"""MiB that the daemon may give to containers: 64 of the trivial function's."""
_START_SECONDS: Final = 60
"""How long a container may take until it is ready, as by hand."""
_SETTLE_SECONDS: Final = 60.0
_COMMANDS: Final = {
    TRIVIAL: ("-IS", "function.py"),
    FDK: ("-c", "import sys; from fdk.scripts.fdk import main; sys.exit(main())", "func.py", "handler"),
}
"""What the interpreter is told in a container of each function."""
_DOCKERFILE: Final = """FROM {python}
COPY . /function
WORKDIR /function
RUN ["/bin/python", "-m", "compileall", "-q", "/function"]
ENV PYTHONPATH=/function/packages PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ENTRYPOINT {command}
"""


class DockerStage:
    """An engine and a daemon at work. Every `name` is that of a directory in functions/."""

    def __init__(self, engine: PrivateDocker, daemon: RunningDaemon, directory: Path) -> None:
        self.engine = engine
        self.daemon = daemon
        self._directory = directory
        self.processes = {FDK: daemon.deploy(SOURCES / FDK)}
        """Functions with the process driver."""
        packages = self._packages()
        self.docker = {name: self._deploy(name, packages) for name in _COMMANDS}
        """Functions with the Docker driver."""

    def _packages(self) -> Path:
        """Return where the process driver has installed what the FDK function needs."""
        fn = self.daemon.another(self.processes[FDK], "packages")
        self.call(fn)
        (container,) = self.daemon.containers(fn.fn_id)
        assert container.pid is not None
        environment = Path(processes.command_of(container.pid).arguments[0]).parent.parent
        (packages,) = environment.glob("lib/python*/site-packages")
        self.forget(fn)
        return packages

    def _deploy(self, name: str, packages: Path) -> Deployed:
        """Have the engine build a function, with all that it takes in its image."""
        source = self._directory / "sources" / name
        shutil.copytree(SOURCES / name, source, ignore=shutil.ignore_patterns("__pycache__"))
        if name == FDK:
            shutil.copytree(packages, source / "packages", ignore=shutil.ignore_patterns("pip*", "setuptools*"))
        command = json.dumps(["/bin/python", *_COMMANDS[name]])
        (source / "Dockerfile").write_text(_DOCKERFILE.format(python=PYTHON, command=command))
        file = (source / "func.yaml").read_text()
        (source / "func.yaml").write_text(file.replace(f"name: {name}", f"name: docker-{name}"))
        return self.daemon.deploy(source, driver="docker")

    def bare(self, name: str) -> BareEngine:
        """Return the engine without fnd, to make containers of a function as fnd does."""
        fn = self.daemon.another(self.docker[name], f"{name}-pattern")
        self.call(fn)
        (container,) = [one for one in self.engine.containers() if one["Labels"].get("dev.fnd.fn") == f"{name}-pattern"]
        pattern = Pattern.of(self.engine, container["Id"])
        self.forget(fn)
        return BareEngine(self.engine, pattern, self._directory / "bare" / name)

    def call(self, fn: Deployed) -> Answer:
        """Call a function once. Raises NotStarted if that does not succeed."""
        caller = Caller(self.daemon.port_of(fn.fn_id))
        with caller.sock:
            answer = caller.call()
        if not answer.succeeded:
            raise processes.NotStarted(f"a first call was answered: {answer.data.decode(errors='replace')}")
        return answer

    def forget(self, *fns: Deployed) -> None:
        """Delete functions, and wait until the daemon has no container of them. Raises NotStarted if it keeps one."""
        with ControlClient(self.daemon.control) as control:
            for fn in fns:
                control.delete(f"/v2/fns/{fn.fn_id}")
            gone = {fn.fn_id for fn in fns}
            end = time.monotonic() + _SETTLE_SECONDS
            while any(pool["fn_id"] in gone and pool["containers"] for pool in control.get("/control/pools")["pools"]):
                if time.monotonic() > end:
                    raise processes.NotStarted(f"containers of deleted functions are there after {_SETTLE_SECONDS:g} s")
                time.sleep(0.05)


@attrs.frozen
class DockerGround:
    """Where the stage stands: an engine that outlives the daemon, so that what that leaves can be counted."""

    engine: PrivateDocker
    directory: Path

    @contextmanager
    def stage(self) -> Iterator[DockerStage]:
        """Run a daemon in the context, with its functions deployed."""
        settings = {
            "DOCKER_HOST": self.engine.host,
            "FND_MEMORY": f"{ROOM}MiB",
            "FND_START_TIMEOUT": f"{_START_SECONDS}",
        }
        with processes.daemon(self.directory, **settings) as daemon:
            yield DockerStage(self.engine, daemon, self.directory)

    def left(self, app_id: str) -> Leavings:
        """Return what there is of containers, those of an app's functions with the process driver included."""
        run = self.directory / "run"
        left = left_after_stop(DockerPlace(self.engine), run, app_id)
        return attrs.evolve(
            left,
            processes=(*left.processes, *map(str, self.engine.shims())),
            cgroups=(*left.cgroups, *map(str, ProcessPlace().cgroups(run))),
        )


@contextmanager
def docker_ground(stage: Stage) -> Iterator[DockerGround]:
    """Run an engine in the context. Raises pytest.skip.Exception, with the reason, where there can be none."""
    with private_docker() as engine:
        python_image(engine, Path(httptools.__file__).parent.rglob("*.so"))  # which the FDK uses
        yield DockerGround(engine, stage.directory / "docker")
