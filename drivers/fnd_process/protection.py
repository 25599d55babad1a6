"""What `fnd doctor` says of containers of this driver: each thing that keeps them apart, and by what it is in force."""

from __future__ import annotations

from collections.abc import Sequence

from fnd.hookspecs import Protection
from fnd_process.machine import Machine
from fnd_process.watchdog import LONGEST


def protections(machine: Machine) -> Sequence[Protection]:
    """Return them; nothing is said to be in force that was not found to be."""
    return (
        _file_system(machine),
        _network(machine),
        _processes(machine),
        _user(machine),
        _privileges(machine),
        _system_calls(machine),
        _memory(machine),
        _processors(machine),
        _process_count(machine),
        _files(machine),
        _temporary_files(machine),
        _killing(machine),
        _parent_death(machine),
        _installing(),
    )


def _needs_sandbox(machine: Machine) -> str:
    return f"nothing; bubblewrap would, but: {machine.no_sandbox}"


def _file_system(machine: Machine) -> Protection:
    by = "bubblewrap: a function sees its own files and the system's programs, read-only"
    return Protection("file system", machine.sandbox is not None, by if machine.sandbox else _needs_sandbox(machine))


def _network(machine: Machine) -> Protection:
    by = "bubblewrap: none, unless func.yaml says network: true"
    return Protection("network", machine.sandbox is not None, by if machine.sandbox else _needs_sandbox(machine))


def _processes(machine: Machine) -> Protection:
    by = "bubblewrap: a function sees no process but its own"
    return Protection(
        "other processes", machine.sandbox is not None, by if machine.sandbox else _needs_sandbox(machine)
    )


def _user(machine: Machine) -> Protection:
    if machine.users is not None:
        return Protection("user", True, "setpriv: each container has a user id that nothing else has")
    return Protection("user", False, machine.no_users)


def _privileges(machine: Machine) -> Protection:
    if machine.sandbox is not None:
        return Protection("privileges", True, "bubblewrap: no capability, and no way to gain one")
    if machine.host.tools.setpriv is not None:
        return Protection("privileges", True, "setpriv: no capability, and no way to gain one")
    return Protection("privileges", False, "nothing; setpriv (util-linux) would, but is not there or does not work")


def _system_calls(machine: Machine) -> Protection:
    if machine.sandbox is None:
        return Protection("system calls", False, _needs_sandbox(machine))
    if machine.sandbox.filter is None:
        return Protection("system calls", False, "nothing; fnd has no seccomp filter for this processor")
    return Protection("system calls", True, "seccomp: no namespaces, io_uring, bpf, perf events or key rings")


def _memory(machine: Machine) -> Protection:
    if machine.cgroups is not None and machine.cgroups.memory:
        return Protection("memory", True, "cgroup v2")
    why = machine.no_cgroups or "the cgroup v2 here has no memory controller"
    return Protection(
        "memory", True, f"watchdog, at most {LONGEST:g} s late and blind to memory that no process maps; {why}"
    )


def _processors(machine: Machine) -> Protection:
    if machine.cgroups is not None and machine.cgroups.cpu:
        return Protection("processors", True, "cgroup v2, for functions that say how much of them they need (cpu)")
    why = machine.no_cgroups or "the cgroup v2 here has no cpu controller"
    return Protection("processors", False, f"nothing: what a function's cpu reserves is not its limit; {why}")


def _process_count(machine: Machine) -> Protection:
    name = "number of processes"
    if machine.cgroups is not None and machine.cgroups.pids:
        return Protection(name, True, "cgroup v2")
    counted_apart = machine.users is not None or (machine.sandbox is not None and not machine.privileged)
    if machine.host.tools.prlimit is None:
        return Protection(name, False, "nothing; prlimit (util-linux) would, but is not there or does not work")
    if counted_apart:
        return Protection(name, True, "prlimit")
    return Protection(
        name,
        False,
        f"nothing; a cgroup v2 with a pids controller would, but: {machine.no_cgroups or 'the one here has none'}",
    )


def _files(machine: Machine) -> Protection:
    name = "open files, size of files, core dumps"
    if machine.host.tools.prlimit is None:
        return Protection(name, False, "nothing; prlimit (util-linux) would, but is not there or does not work")
    return Protection(name, True, "prlimit")


def _temporary_files(machine: Machine) -> Protection:
    size = machine.settings.tmp_size
    if machine.sandbox is not None:
        return Protection("temporary files", True, f"bubblewrap: a /tmp of its own, in memory, of {size} MiB")
    return Protection(
        "temporary files", True, f"watchdog: a directory of its own, {size} MiB, at most {LONGEST:g} s late"
    )


def _killing(machine: Machine) -> Protection:
    name = "ending all its processes"
    if machine.cgroups is not None:
        return Protection(name, True, "cgroup v2")
    if machine.sandbox is not None:
        return Protection(name, True, "bubblewrap: a namespace ends with its first process")
    if machine.users is not None:
        return Protection(name, True, "by their user id")
    return Protection(
        name, False, "by session, descent and a mark in the environment, which a process can shed if it means to"
    )


def _parent_death(machine: Machine) -> Protection:
    name = "ending with the daemon, if that is killed"
    if machine.sandbox is not None:
        return Protection(name, True, "bubblewrap")
    rest = "processes that it started live until the daemon's next start"
    if machine.host.tools.setpriv is not None:
        return Protection(name, False, f"the kernel, for a function's first process only; {rest}")
    return Protection(name, False, f"nothing; setpriv (util-linux) would, but is not there or does not work; {rest}")


def _installing() -> Protection:
    return Protection(
        "installing what functions require",
        False,
        "nothing: pip, and packages built from source, run as the daemon does; who may deploy may do what it may",
    )
