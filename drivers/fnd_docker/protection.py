"""What `fnd doctor` says of containers of this driver: each thing that keeps them apart, or what loosened it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fnd.hookspecs import Protection
from fnd_docker.settings import DockerSettings


def protections(settings: DockerSettings, information: Mapping[str, Any] | None, why_not: str) -> Sequence[Protection]:
    """Return them; `information` is what the engine says of itself (GET /info), or None, and `why_not` it does."""
    if information is None:
        return (Protection("engine", False, why_not),)
    options = [str(option) for option in information.get("SecurityOptions") or ()]
    return (
        _set("file system", not settings.writable, "a root file system that is read-only", "writable"),
        _set("network", not settings.network_always, "none, unless func.yaml says network: true", "network_always"),
        _set("user", settings.user.split(":")[0] != "0", settings.user, f'user = "{settings.user}"'),
        _set("capabilities", not settings.capabilities, "all dropped", "capabilities"),
        _set("privileges", not settings.privilege_gain, "no-new-privileges", "privilege_gain"),
        _found("system calls", any("seccomp" in option for option in options), "seccomp", "seccomp"),
        _found("memory", bool(information.get("MemoryLimit")), "cgroup", "memory limits"),
        _found("memory with swap", bool(information.get("SwapLimit")), "cgroup", "swap limits"),
        _found("processors", bool(information.get("CpuCfsQuota")), "cgroup, for functions that say cpu", "CPU quotas"),
        _found("number of processes", bool(information.get("PidsLimit")), f"cgroup: {settings.pids}", "pids limits"),
        Protection("open files", True, f"ulimit: {settings.open_files} in one process"),
        Protection("temporary files", True, f"a /tmp of its own, in memory, of {settings.tmp_size} MiB"),
    )


def _set(name: str, in_force: bool, by: str, loosened_by: str) -> Protection:
    return Protection(name, in_force, f"Docker: {by}" if in_force else f"loosened by plugins.docker: {loosened_by}")


def _found(name: str, in_force: bool, by: str, what: str) -> Protection:
    return Protection(name, in_force, by if in_force else f"nothing: this engine, or its kernel, has no {what}")
