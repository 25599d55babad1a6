"""What a function sees and may do under bubblewrap, asked from inside."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from fnd.errors import ConfigurationError
from fnd.hookspecs import DriverContext, Exit
from fnd_process.driver import ProcessDriver
from tests.system.fnd_process.workbench import SERVER, Workbench, ready, run

pytestmark = [pytest.mark.system, pytest.mark.bubblewrap]


@pytest.fixture
def way() -> str:
    return "sandbox"


async def ask(bench: Workbench, main: str, **spec: Any) -> Any:
    """Return what a function prints as JSON."""
    result, log = await run(bench, "import json, os\n" + main, **spec)
    assert result == Exit(code=0), log.stderr
    return json.loads(log.stdout)


async def test_it_sees_its_own_files_the_systems_programs_and_nothing_else(bench: Workbench) -> None:
    other = await bench.image("print('other')", name="other")
    await bench.driver.prepare(other)
    seen = await ask(
        bench,
        """
import sys
files = []
for place, directories, names in os.walk("/"):
    files += [os.path.join(place, name) for name in names]
    known = ("/usr", "/proc", "/dev", "/lib", "/bin", "/sbin", sys.base_prefix, os.path.realpath(sys.base_prefix))
    directories[:] = [name for name in directories if not os.path.join(place, name).startswith(known)]
print(json.dumps([
    sorted(os.listdir("/")), {name: sorted(os.listdir("/" + name)) for name in ("etc", "tmp", "function")}, files
]))
""",
    )
    top, directories, files = seen
    system = {"bin", "dev", "etc", "function", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "tmp", "usr"}
    prefix = Path(os.path.realpath(sys.base_prefix))
    assert set(top) - system <= {prefix.parts[1]}
    assert directories["function"] == ["__pycache__", "func.yaml", "main.py"]
    assert directories["tmp"] == ["iofs"]
    assert {"passwd", "group"} <= set(directories["etc"])
    assert "shadow" not in directories["etc"]
    strange = [
        path for path in files if not path.startswith((f"{prefix}/", "/etc/", "/function/", f"{sys.base_prefix}/"))
    ]
    assert strange == []


async def test_nothing_but_its_tmp_and_shared_memory_can_be_written_to(bench: Workbench) -> None:
    written = await ask(
        bench,
        """
written = []
for directory in ("/", "/function", "/usr", "/usr/local/bin", "/etc", "/dev", "/proc", "/proc/sys/kernel", "/dev/shm",
                  "/tmp", "/tmp/iofs", os.path.dirname(os.__file__)):
    try:
        with open(directory + "/new", "w"):
            written.append(directory)
        os.unlink(directory + "/new")
    except OSError:
        pass
for path in ("/function/main.py", "/etc/passwd"):
    try:
        os.chmod(path, 0o777)
        written.append(path)
    except OSError:
        pass
print(json.dumps(written))
""",
    )
    assert written == ["/dev/shm", "/tmp", "/tmp/iofs"]


class TestTemporaryFiles:
    @pytest.fixture
    def settings(self) -> dict[str, int]:
        return {"tmp_size": 3}

    async def test_are_bounded(self, bench: Workbench) -> None:
        outcome = await ask(
            bench,
            """
found = {}
for directory in ("/tmp", "/dev/shm"):
    size = 0
    try:
        with open(directory + "/large", "wb", buffering=0) as file:
            while size < 100 << 20:
                size += file.write(b"x" * (1 << 18))
        found[directory] = "unbounded"
    except OSError as error:
        found[directory] = [os.strerror(error.errno), size >> 20]
    os.unlink(directory + "/large")
print(json.dumps(found))
""",
        )
        assert outcome == {path: ["No space left on device", 3] for path in ("/tmp", "/dev/shm")}


class TestMuchRoomForTemporaryFiles:
    @pytest.fixture
    def settings(self) -> dict[str, int]:
        return {"tmp_size": 100}

    async def test_is_memory_and_counted_as_such(self, bench: Workbench) -> None:
        result, _ = await run(
            bench,
            """
import time
with open("/dev/shm/large", "wb") as file:
    for _ in range(60):
        file.write(b"x" * (1 << 20))
        file.flush()
with open("/tmp/large", "wb") as file:
    for _ in range(60):
        file.write(b"x" * (1 << 20))
        file.flush()
time.sleep(1000)
""",
            memory=64,
        )
        assert result.signal == signal.SIGKILL
        assert result.reason.startswith("memory limit of 64 MiB exceeded")


async def test_it_sees_no_process_but_its_own(bench: Workbench) -> None:
    pids = await ask(bench, "print(json.dumps([int(name) for name in os.listdir('/proc') if name.isdigit()]))")
    assert len(pids) == 2
    assert max(pids) < 10


async def test_it_has_no_descriptor_that_it_was_not_given(bench: Workbench) -> None:
    open_files = await ask(
        bench,
        """
found = {}
for fd in os.listdir("/proc/self/fd"):
    try:
        found[fd] = os.readlink("/proc/self/fd/" + fd)
    except OSError:
        pass
print(json.dumps(found))
""",
    )
    assert set(open_files) == {"0", "1", "2"}
    assert open_files["0"] == "/dev/null"


NETWORK = """
import socket
found = {"interfaces": [name for _, name in socket.if_nameindex()]}
for address in (("127.0.0.1", int(os.environ["PORT"])), ("198.51.100.1", 9)):
    try:
        socket.create_connection(address, timeout=0.2).close()
        found[address[0]] = "connected"
    except OSError as error:
        found[address[0]] = type(error).__name__
found["resolv.conf"] = os.path.exists("/etc/resolv.conf")
print(json.dumps(found))
"""


@pytest.mark.parametrize("asked", [False, True])
async def test_it_has_the_hosts_network_only_if_it_asked_for_it(bench: Workbench, asked: bool) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        fields = {"network": "true"} if asked else {}
        found = await ask(bench, NETWORK, environment={"PORT": port}, fields=fields)
    assert found["127.0.0.1"] == ("connected" if asked else "ConnectionRefusedError")
    if asked:
        assert found["resolv.conf"] == Path("/etc/resolv.conf").exists()
    else:
        assert found["interfaces"] == ["lo"]
        assert found["198.51.100.1"] == "OSError"
        assert not found["resolv.conf"]


async def test_it_is_a_user_of_its_own_without_any_privilege(bench: Workbench) -> None:
    found = await ask(
        bench,
        """
import pwd
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups(),
    "name": pwd.getpwuid(os.getuid()).pw_name,
    "caps": [status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "NoNewPrivs": status["NoNewPrivs"].strip(), "Seccomp": status["Seccomp"].strip(),
    "uname": os.uname().nodename, "cwd": os.getcwd(), "home": os.path.expanduser("~"),
}))
""",
    )
    (uid,) = set(found["uids"])
    assert set(found["gids"]) == {uid}
    assert uid >= 1000
    assert set(found["groups"]) <= {uid}
    assert found["name"] == "function"
    assert found["caps"] == ["0" * 16] * 5
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
    assert found["uname"] in bench.ids
    assert found["cwd"] == "/function"
    assert found["home"] == "/tmp"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give each container a user")
async def test_two_containers_are_two_users(bench: Workbench) -> None:
    image = await bench.image(SERVER)
    async with bench.driver.start(bench.spec(image)) as first, bench.driver.start(bench.spec(image)) as second:
        owners = {container.socket_directory.stat().st_uid for container in (first, second)}
        modes = {container.socket_directory.stat().st_mode & 0o777 for container in (first, second)}
        for container in (first, second):
            (await ready(container)).close()
    assert len(owners) == 2
    assert modes == {0o700}


async def test_system_calls_that_open_the_kernel_are_refused_and_others_are_not(bench: Workbench) -> None:
    found = await ask(
        bench,
        """
import ctypes, errno, platform, subprocess, threading
libc = ctypes.CDLL(None, use_errno=True)
numbers = {"x86_64": (272, 248, 321, 298, 425, 435), "aarch64": (97, 217, 280, 241, 425, 435)}[platform.machine()]
def call(number, *arguments):
    ctypes.set_errno(0)
    libc.syscall(number, *arguments)
    return errno.errorcode.get(ctypes.get_errno(), "none")
CLONE_NEWUSER = 0x10000000
found = [call(numbers[0], CLONE_NEWUSER), *(call(number, 0, 0, 0, 0, 0) for number in numbers[1:])]
clone = {"x86_64": 56, "aarch64": 220}[platform.machine()]
found.append(call(clone, CLONE_NEWUSER | 17, 0, 0, 0, 0))
thread = threading.Thread(target=found.append, args=["threads run"])
thread.start(); thread.join()
found.append(subprocess.run(["/bin/echo", "processes run"], capture_output=True, text=True).stdout.strip())
print(json.dumps(found))
""",
    )
    assert found == ["EPERM"] * 4 + ["ENOSYS"] * 2 + ["EPERM", "threads run", "processes run"]


class TestLimits:
    @pytest.fixture
    def settings(self) -> dict[str, int]:
        return {"open_files": 40, "file_size": 2, "tmp_size": 10}

    async def test_are_what_the_settings_say(self, bench: Workbench) -> None:
        found = await ask(
            bench,
            """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
found = {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in ("NOFILE", "FSIZE", "CORE")}
try:
    kept = []
    while True:
        kept.append(os.dup(1))
except OSError:
    found["opened"] = kept[-1]
    os.closerange(3, 40)
try:
    with open("/tmp/large", "wb") as file:
        for _ in range(5):
            file.write(b"x" * (1 << 20)); file.flush()
except OSError:
    found["wrote"] = os.path.getsize("/tmp/large") >> 20
print(json.dumps(found))
""",
        )
        assert found == {"NOFILE": [40, 40], "FSIZE": [2 << 20, 2 << 20], "CORE": [0, 0], "opened": 39, "wrote": 2}


class TestPathsToShow:
    @pytest.fixture
    def settings(self, root: Path) -> dict[str, list[str]]:
        (root / "shown").mkdir()
        (root / "shown" / "tool").write_text("#!/bin/sh\necho from a directory that is shown\n")
        (root / "shown" / "tool").chmod(0o755)
        (root / "hidden").mkdir()
        return {"extra_paths": [str(root / "shown"), str(root / "not there")]}

    async def test_are_seen_read_only_and_may_hold_the_command(self, bench: Workbench, root: Path) -> None:
        result, log = await run(bench, "", fields={"entrypoint": str(root / "shown" / "tool")})
        assert result == Exit(code=0)
        assert log.stdout == "from a directory that is shown\n"
        found = await ask(
            bench,
            f"print(json.dumps([os.listdir({str(root)!r}), os.access({str(root / 'shown')!r}, os.W_OK)]))",
            fields={"entrypoint": "[python, main.py]"},
        )
        assert found == [["shown"], False]


class TestTheDaemonsDirectories:
    @pytest.fixture
    def settings(self, root: Path) -> dict[str, list[str]]:
        return {"extra_paths": [str(root)]}

    async def test_are_hidden_even_within_what_is_shown(self, bench: Workbench, root: Path) -> None:
        found = await ask(
            bench,
            f"root = {str(root)!r}\n"
            "print(json.dumps([sorted(os.listdir(root + name)) for name in ('', '/data', '/run')]))",
        )
        assert found == [["data", "function", "run"], [], []]


async def test_a_command_that_sandboxed_functions_cannot_see_is_refused_when_it_is_built(
    bench: Workbench, root: Path
) -> None:
    from fnd.errors import BuildFailed

    tool = root / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    with pytest.raises(
        BuildFailed, match=r"which sandboxed functions do not see; add its directory to plugins\.process"
    ):
        await bench.image("", entrypoint=str(tool))


async def test_bubblewrap_that_does_not_work_is_no_sandbox_and_is_said_to_be_none(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = root / "bin"
    broken.mkdir()
    (broken / "bwrap").write_text("#!/bin/sh\necho no namespaces for you >&2\nexit 1\n")
    (broken / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken}:{os.environ['PATH']}")
    driver = ProcessDriver(DriverContext(root / "data", root / "run", {}))
    async with driver.running():
        protection = {protection.name: protection for protection in driver.protection()}
        assert not protection["file system"].in_force
        assert "no namespaces for you" in protection["file system"].by
        assert not protection["network"].in_force
    driver = ProcessDriver(DriverContext(root / "data", root / "run", {"bubblewrap": "require"}))
    with pytest.raises(ConfigurationError, match=r'bubblewrap is "require", but .*no namespaces for you'):
        async with driver.running():
            pass
