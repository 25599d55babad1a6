"""What the engine is asked to make of a container's spec: everything closed that a setting does not open."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fnd.hookspecs import ContainerSpec, Link
from fnd_docker.settings import DockerSettings

SCHEME: Final = "docker"
SOCKETS: Final = "/tmp/iofs"  # noqa: S108 (within the container's own /tmp)
"""Where a container finds the directory for its socket: where Fn's own containers do."""
INSTANCE: Final = "dev.fnd.instance"
"""The label that says whose a container is."""
CONTAINER: Final = "dev.fnd.container"
"""The label with a container's id."""
NETWORK: Final = "dev.fnd.network"
"""The label of an image built of a function that asks for the network."""
MIB: Final = 1 << 20


def container_name(container_id: str) -> str:
    """Return the name by which the engine knows a container, before it has made it."""
    return f"fnd-{container_id}"


def engine_image(image: str) -> str:
    """Return an image's name as the engine knows it."""
    return image.removeprefix(f"{SCHEME}://")


def container_body(
    spec: ContainerSpec,
    settings: DockerSettings,
    instance: str,
    sockets: Path,
    *,
    network: bool,
    podman: bool = False,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the body of POST /containers/create.

    `sockets` is the directory for its socket on this host, `network` whether its function asks for one, `podman`
    whether it is Podman that is asked, `command` what the image starts, which is needed for who has a launcher alone.
    Raises ContainerFailed if no process can have its environment.
    """
    network = network or settings.network_always
    streams = spec.link is Link.STREAMS
    environment = spec.variables(SOCKETS)
    launcher = {"Entrypoint": ["python3", "-I", "-S", "-c", spec.launcher], "Cmd": [*command]} if spec.launcher else {}
    return {
        **launcher,
        "Image": engine_image(spec.image),
        "User": settings.user,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": {
            INSTANCE: instance,
            CONTAINER: spec.container_id,
            "dev.fnd.app": spec.app_name,
            "dev.fnd.fn": spec.fn_name,
        },
        "AttachStdin": streams,
        "AttachStdout": True,
        "AttachStderr": True,
        "OpenStdin": streams,
        "StdinOnce": streams,
        "Tty": False,
        "NetworkDisabled": not network,
        "HostConfig": _host_config(spec, settings, sockets, settings.network if network else "none", podman),
    }


def _most_processes() -> int:
    """Return how many processes a user may have here at most."""
    _, allowed = resource.getrlimit(resource.RLIMIT_NPROC)
    possible = int(Path("/proc/sys/kernel/pid_max").read_text())
    return possible if allowed == resource.RLIM_INFINITY else min(allowed, possible)


def _host_config(
    spec: ContainerSpec, settings: DockerSettings, sockets: Path, network: str, podman: bool
) -> dict[str, Any]:
    tmp = f"rw,nosuid,nodev,mode=1777,size={settings.tmp_size}m"
    limits = {"nofile": settings.open_files}
    if podman:
        # Unless told, it asks for more processes of a user than a root who may not raise limits can give. Its own limit
        # is the number of processes that the machine can have.
        limits["nproc"] = _most_processes()
        tmp += ",notmpcopyup"  # empty, as with Docker
    else:
        # Its user's, since some versions of runc give it the mode of what it covers. Podman knows no such option.
        uid, _, gid = settings.user.partition(":")
        tmp += f",uid={uid},gid={gid}"
    config: dict[str, Any] = {
        "Memory": spec.memory * MIB,
        "MemorySwap": spec.memory * MIB,
        "PidsLimit": settings.pids,
        "Ulimits": [{"Name": name, "Soft": limit, "Hard": limit} for name, limit in limits.items()],
        "NetworkMode": network,
        "LogConfig": {"Type": "none"},
        "ReadonlyRootfs": not settings.writable,
        "Tmpfs": {"/tmp": tmp},  # noqa: S108
        "RestartPolicy": {"Name": "no"},
        "IpcMode": "private",
    }
    if spec.cpu:
        config["NanoCpus"] = spec.cpu * 1_000_000
    if not settings.capabilities:
        config["CapDrop"] = ["ALL"]
    if not settings.privilege_gain:
        config["SecurityOpt"] = ["no-new-privileges"]
    if spec.link is Link.SOCKET:
        config["Mounts"] = [{"Type": "bind", "Source": str(sockets), "Target": SOCKETS}]
    return config
