"""How much memory this machine, or the control group fnd runs in, has for functions."""

from __future__ import annotations

from pathlib import Path
from typing import Final

MIB: Final = 1 << 20
MIN_HEADROOM: Final = 256
MAX_HEADROOM: Final = 5120


def memory_for_containers(root: Path = Path("/")) -> int:
    """Return the MiB that containers may use together unless a setting says otherwise; at least 1.

    That is what is available now, less a headroom of a tenth of all there is (256 MiB to 5 GiB) for the rest
    of the machine. A memory limit of the control group (v2) that the daemon runs in counts as the size of the
    machine. `root` is where /proc and /sys are found.
    """
    total, available = _meminfo(root)
    for limit, used in _group_limits(root):
        total = min(total, limit)
        available = min(available, limit - used)
    headroom = min(max(total // 10, MIN_HEADROOM * MIB), MAX_HEADROOM * MIB)
    return max((available - headroom) // MIB, 1)


def _meminfo(root: Path) -> tuple[int, int]:
    """Return the machine's total and available memory in bytes, proc_meminfo(5)."""
    values = {}
    for line in (root / "proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("MemTotal", "MemAvailable"):
            values[name] = int(rest.split()[0]) * 1024
    return values["MemTotal"], values["MemAvailable"]


def _group_limits(root: Path) -> list[tuple[int, int]]:
    """Return (limit, used) in bytes for each control group, from ours up, that has a memory limit."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    unified = next((line.removeprefix("0::/") for line in groups if line.startswith("0::/")), None)
    if unified is None:
        return []
    limits = []
    top = root / "sys/fs/cgroup"
    group = top / unified
    while group != top and top in group.parents:
        try:
            limit = (group / "memory.max").read_text().strip()
            used = (group / "memory.current").read_text().strip()
        except OSError:  # no memory controller here; one above may have a limit
            limit = "max"
        if limit != "max":
            limits.append((int(limit), int(used)))
        group = group.parent
    return limits
