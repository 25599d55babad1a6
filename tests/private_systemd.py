"""A real systemd, booted for tests in namespaces of its own, on a machine whose own init may be anything.

It could do to the machine what any systemd does at boot, as root: empty /tmp, set kernel parameters, make devices.
So it sees the machine read-only, gets memory for what it writes, a network of nothing but a loopback of its own, and
knows no units but the few below, its journal and those that a test gives it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from tests.parts import missing, need_program

SYSTEMD = Path("/lib/systemd/systemd")
REPOSITORY = Path(__file__).resolve().parent.parent
UNITS = Path("/run/systemd/system")
"""Where it looks for units, as it sees the file system."""
_IN_MEMORY = ("/tmp", "/var/tmp", "/var/lib", "/var/log")
_STOCK_UNITS = (
    "exit.target",
    "final.target",
    "shutdown.target",
    "sockets.target",
    "sysinit.target",
    "systemd-exit.service",
    "systemd-journald.socket",
    "umount.target",
)

_BOOT = r"""
set -eu
mount -t tmpfs tmpfs /run
number=0
for path in "$@"; do
    mkdir -p /run/kept/$number
    mount --bind "$path" /run/kept/$number
    number=$((number + 1))
done
for path in $IN_MEMORY; do mount -t tmpfs tmpfs "$path"; done
mount -o remount,bind,ro /
mount -o remount,bind,ro /dev
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
umount -R /sys/fs/cgroup
mount -o remount,bind,ro /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
number=0
for path in "$@"; do
    mkdir -p "$path"
    mount --bind /run/kept/$number "$path"
    if [ "$number" != 0 ]; then mount -o remount,bind,ro "$path"; fi
    umount /run/kept/$number
    number=$((number + 1))
done
"$PYTHON" -c "$LOOPBACK_UP"

mkdir -p /run/systemd/system /run/systemd/journald.conf.d
for unit in $STOCK_UNITS; do ln -s /lib/systemd/system/$unit /run/systemd/system/; done
cat >/run/systemd/system/basic.target <<'END'
[Unit]
Requires=systemd-journald.socket
After=systemd-journald.socket
END
cat >/run/systemd/system/systemd-journald.service <<'END'
[Unit]
DefaultDependencies=no
Requires=systemd-journald.socket
After=systemd-journald.socket
[Service]
Type=notify
ExecStart=/lib/systemd/systemd-journald
Sockets=systemd-journald.socket
StandardOutput=null
END
cat >/run/systemd/journald.conf.d/private.conf <<'END'
[Journal]
Storage=volatile
Audit=no
ReadKMsg=no
ForwardToWall=no
RateLimitBurst=0
END
export container=fnd SYSTEMD_UNIT_PATH=/run/systemd/transient:/run/systemd/control:/run/systemd/system
export SYSTEMD_GENERATOR_PATH=/run/none SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/run/none
exec /lib/systemd/systemd --system --unit=basic.target
"""


_LOOPBACK_UP = """
import fcntl, socket, struct
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
with socket.socket() as sock:
    fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
"""
_NAMESPACES = ("-p", "-m", "-n", "-u", "-i", "-C")


class PrivateSystemd:
    """One that runs; `shared` is the one directory of the machine that it and its services may write to."""

    def __init__(self, pid: int, shared: Path) -> None:
        self._pid = pid
        self.shared = shared

    async def run(self, *command: str, check: bool = True) -> str:
        """Run a command beside its services; return its standard output. Fails the test if it fails, with why."""
        done = await trio.run_process(self._inside(*command), capture_stdout=True, capture_stderr=True, check=False)
        if check:
            assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout!r}\n{done.stderr!r}"
        return done.stdout.decode()

    async def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return (await self.run("systemctl", "show", "--value", "--property", name, unit)).strip()

    async def until_shown(self, unit: str, name: str, value: str) -> None:
        """Return once a property of a unit has a value; fail the test if it has not within a minute."""
        shown = ""
        with trio.move_on_after(60):
            while (shown := await self.show(unit, name)) != value:  # noqa: ASYNC110  no event tells
                await trio.sleep(0.05)
        assert shown == value, f"{name} of {unit}:\n{await self.run('systemctl', 'status', unit, check=False)}"

    async def journal(self, unit: str) -> str:
        """Return what a unit has logged."""
        return await self.run("journalctl", "--no-pager", "--output=cat", "--unit", unit)

    async def write_unit(self, name: str, text: str) -> None:
        """Give it a unit, by a file as an administrator would."""
        source = self.shared / name
        await trio.Path(source).write_text(text)
        await self.run("cp", str(source), str(UNITS / name))
        await self.run("systemctl", "daemon-reload")

    def _inside(self, *command: str) -> list[str]:
        return ["nsenter", "--target", str(self._pid), *_NAMESPACES, *command]

    def _stop(self) -> None:
        subprocess.run(self._inside("systemctl", "exit"), check=False, capture_output=True, timeout=20)


@contextmanager
def private_systemd(shared: Path) -> Iterator[PrivateSystemd]:
    """Boot one, and stop it with everything in it at the end; the test is skipped where that cannot be done."""
    if os.geteuid() != 0:
        missing("a private systemd needs root")
    if not SYSTEMD.exists():
        missing("systemd is not installed (apt-get install systemd)")
    for program in ("unshare", "nsenter"):
        need_program(program, "util-linux")
    needed = {Path(path).resolve() for path in (REPOSITORY, sys.prefix, sys.base_prefix)}
    hidden = [path for path in needed if any(path.is_relative_to(place) for place in ("/run", *_IN_MEMORY))]
    group = _make_group()
    unshared = ["--pid", "--mount-proc", "--mount", "--net", "--uts", "--ipc", "--cgroup", "--propagation", "private"]
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "IN_MEMORY": " ".join(_IN_MEMORY),
        "STOCK_UNITS": " ".join(_STOCK_UNITS),
        "PYTHON": sys.executable,
        "LOOPBACK_UP": _LOOPBACK_UP,
    }
    log_path = shared / "boot.log"
    command = ["bash", "-c", 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"', "enter", str(group)]
    command += ["unshare", "--fork", "--kill-child", *unshared]
    command += ["bash", "-c", _BOOT, "boot", str(shared), *map(str, hidden)]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        pid = _wait_until_booted(process)
        if pid is None:
            process.kill()
            missing(f"a private systemd does not boot here:\n{log_path.read_text()}")
        systemd = PrivateSystemd(pid, shared)
        yield systemd
        systemd._stop()
        process.wait(20)
    finally:
        process.kill()  # --kill-child: the namespaces' first process, and so everything in them, dies with it
        process.wait()
        _remove_group(group)


def _wait_until_booted(process: subprocess.Popen[bytes]) -> int | None:
    """Return the pid of the booted systemd as this machine sees it, None if it does not boot."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        pid = children.read_text().strip()
        if pid:
            state = subprocess.run(
                ["nsenter", "--target", pid, *_NAMESPACES, "systemctl", "is-system-running"],
                check=False,
                capture_output=True,
                text=True,
            ).stdout.strip()
            if state in ("running", "degraded"):
                return int(pid)
        time.sleep(0.05)  # nothing tells from outside when a systemd has booted
    return None


def _make_group() -> Path:
    """Make a control group below ours for all of it: the root of the hierarchy as it will see it."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    unified = next((Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"), None)
    if unified is None:
        missing("a private systemd needs cgroup v2, and it is not mounted")
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
    group = unified / own / f"fnd-tests-{os.getpid()}"
    group.mkdir()
    return group


def _remove_group(group: Path) -> None:
    """Remove the group and those below it, innermost first; they are empty, and the kernel keeps empty ones."""
    for directory, _, _ in os.walk(group, topdown=False):
        Path(directory).rmdir()
