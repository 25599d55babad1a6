"""A real Docker Engine, started for tests in a directory of its own, without a bridge or any rule of a firewall.

No registry is needed: images are imported from tars, one of them with the interpreter that runs the tests.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import httpx

from fnd.testing.leavings import exists
from tests.parts import missing, need_program

PYTHON: Final = "fnd-test/python:1"
"""An image with this interpreter as /bin/python, and nothing that it starts."""
CGROUPS: Final = Path("/sys/fs/cgroup")
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0
_PART: Final = 1 << 16
_LEFT_OUT: Final = frozenset(
    {"site-packages", "test", "tests", "idlelib", "tkinter", "ensurepip", "lib2to3", "dist-packages"}
)


E = TypeVar("E", bound="PrivateDocker")


def in_parts(body: bytes) -> Iterator[bytes]:
    """Yield a large body for httpx, which copies what is left of one after each of the socket's gulps."""
    return (body[start : start + _PART] for start in range(0, len(body), _PART))


@attrs.define
class PrivateDocker:
    """An engine that runs."""

    directory: Path
    options: Sequence[str] = ()
    """Of dockerd, beyond those that each has."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"unix://{self.directory / 'docker.sock'}"

    @property
    def cgroup(self) -> str:
        """The name of the control group, in each hierarchy, below which its containers have theirs."""
        return self.directory.name

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Ask the engine, by another way than the driver's."""
        content = self._answer(method, path, **options)
        return json.loads(content) if content else None

    def progress(self, method: str, path: str, **options: Any) -> list[dict[str, Any]]:
        """Ask for something whose progress is told in lines."""
        lines = [json.loads(line) for line in self._answer(method, path, **options).splitlines()]
        assert not any("error" in line for line in lines), lines
        return lines

    def _answer(self, method: str, path: str, **options: Any) -> str:
        transport = httpx.HTTPTransport(uds=str(self.directory / "docker.sock"))
        with httpx.Client(transport=transport, base_url="http://docker", timeout=60) as client:
            response = client.request(method, f"/v1.41{path}", **options)
        assert response.is_success, response.text
        return response.text

    def containers(self) -> list[dict[str, Any]]:
        """Return every container there is, whatever its state."""
        found: list[dict[str, Any]] = self.request("GET", "/containers/json", params={"all": "1"})
        return found

    def import_image(self, name: str, tar: bytes, changes: Sequence[str] = ()) -> None:
        """Make an image of a root file system."""
        repository, _, tag = name.partition(":")
        query = [("fromSrc", "-"), ("repo", repository), ("tag", tag), *(("changes", change) for change in changes)]
        self.progress("POST", "/images/create", params=query, content=in_parts(tar))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._run(self.command())

    def command(self) -> list[str]:
        """Return the command that runs it."""
        options = ["--iptables=false", "--bridge=none", "--data-root", str(self.directory / "data")]
        options += ["--exec-root", str(self.directory / "exec"), "--pidfile", str(self.directory / "pid")]
        options += ["--cgroup-parent", f"/{self.cgroup}"]
        return ["dockerd", *options, "-H", self.host, *self.options]

    def _run(self, command: Sequence[str]) -> None:
        with (self.directory / "log").open("ab") as log:
            # In a session of its own: Ctrl-C is for the tests, which end it when they have removed what they made.
            self.process = subprocess.Popen(command, cwd=self.directory, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                missing(f"{command[0]} does not start here: {(self.directory / 'log').read_text()[-1000:]}")
            with socket.socket(socket.AF_UNIX) as trial:
                if trial.connect_ex(str(self.directory / "docker.sock")) == 0:
                    self.request("GET", "/version")
                    return
            time.sleep(0.1)
        raise AssertionError(f"{command[0]} does not answer")

    def stop(self) -> None:
        """Stop it, and with it every container of its."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(_STOP_SECONDS)
            self.process = None

    def cgroups(self) -> list[Path]:
        """Return the control groups of containers of its, in all hierarchies."""
        return [path for path in CGROUPS.glob(f"*/{self.cgroup}/*") if path.is_dir()]

    def shims(self) -> list[int]:
        """Return the processes that stand between an engine and its containers, and outlive it."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                command = path.read_bytes()
                if b"containerd-shim" in command and os.fsencode(self.directory) in command:
                    found.append(int(path.parent.name))
        return found

    def kill(self) -> None:
        """End it without a word: its containers go on, until it is started again, which ends them."""
        if self.process is not None:
            containerd = int((self.directory / "exec" / "containerd" / "containerd.pid").read_text())
            self.process.kill()
            self.process.wait(_STOP_SECONDS)
            self.process = None
            # It dies with its engine; one that is started before that takes it for its own.
            while exists(containerd):
                time.sleep(0.01)

    def clear(self) -> None:
        """Remove what an engine that has ended badly may have left: containers' processes, mounts, control groups."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(_STOP_SECONDS)
        groups = [path for path in CGROUPS.glob(f"*/{self.cgroup}/*") if path.is_dir()]
        for shim in self.shims():
            os.kill(shim, signal.SIGKILL)
        for group in groups:
            for pid in (group / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        for mount in reversed(_mounts_below(self.directory)):
            subprocess.run(["umount", "--lazy", mount], check=False)
        for path in (*groups, *CGROUPS.glob(f"*/{self.cgroup}")):
            for _ in range(100):
                with contextlib.suppress(FileNotFoundError, OSError):
                    path.rmdir()
                if not path.exists():
                    break
                time.sleep(0.05)


@contextmanager
def private_engine(kind: type[E], program: str, package: str, *options: str) -> Iterator[E]:
    """Run an engine while in the context; skips, with the reason, where there can be none."""
    need_program(program, package)
    if os.geteuid() != 0:
        missing(f"a {program} of the tests' own needs root")
    directory = Path(tempfile.mkdtemp(prefix="fnd-docker-"))
    engine = kind(directory, options)
    try:
        engine.start()
        yield engine
        assert engine.containers() == []
        engine.stop()
    finally:
        engine.clear()
        shutil.rmtree(directory)


def private_docker(*options: str) -> AbstractContextManager[PrivateDocker]:
    """Return a Docker Engine, with further options of dockerd, that runs while in the context."""
    return private_engine(PrivateDocker, "dockerd", "docker.io", *options)


def _mounts_below(directory: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line.split()[1] for line in lines if line.split()[1].startswith(f"{directory}/")]


def python_image(engine: PrivateDocker, needed_by: Iterable[Path] = ()) -> str:
    """Import an image with the interpreter that runs this, and the libraries that these files need; return its name."""
    engine.import_image(PYTHON, _python_tree(needed_by))
    return PYTHON


def add_program(engine: PrivateDocker, name: str, program: Path) -> str:
    """Build an image that starts a Python program; return its name."""
    command = json.dumps(["/bin/python", "/function/main.py"])
    dockerfile = f"FROM {PYTHON}\nCOPY main.py /function/main.py\nENTRYPOINT {command}\n"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in (("Dockerfile", dockerfile.encode()), ("main.py", program.read_bytes())):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    engine.progress("POST", "/build", params={"t": name, "rm": "1", "forcerm": "1"}, content=buffer.getvalue())
    return name


def _python_tree(needed_by: Iterable[Path]) -> bytes:
    """Return a tar of the interpreter, its standard library, and the shared libraries that these need."""
    interpreter = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    library = Path(sysconfig.get_path("stdlib")).resolve()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(interpreter)
        tar.add(library, filter=_needed)
        for needed in sorted(_shared_libraries([interpreter, *library.glob("lib-dynload/*.so"), *needed_by])):
            tar.add(needed.resolve(), str(needed))
        for directory in ("tmp", "function", "bin"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name in ("bin/python", "bin/python3"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, str(interpreter)
            tar.addfile(link)
    return buffer.getvalue()


def _needed(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what no function needs; compiled modules stay, since containers cannot keep any that they make."""
    name = Path(entry.name).name
    return None if name in _LEFT_OUT or name.startswith("config-") or ".opt-" in name else entry


def _shared_libraries(binaries: list[Path]) -> set[Path]:
    found = set()
    for binary in binaries:
        told = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False).stdout
        found |= {Path(word) for word in told.split() if word.startswith("/")}
    return found
