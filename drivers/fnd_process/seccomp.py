"""The system calls that no function needs and through which kernels are attacked: a seccomp filter that refuses them.

What needs a capability is refused by the kernel anyway. Listed here is what it would allow an ordinary process:
new user namespaces (and with them every privileged corner of the kernel), io_uring, bpf, perf events, userfaultfd, and
the key rings, which namespaces do not divide.
"""

from __future__ import annotations

import errno
import platform
import struct
from typing import Final

import attrs

# include/uapi/linux/bpf_common.h, filter.h, seccomp.h, audit.h
_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL: Final = 0x15
_JUMP_GREATER_EQUAL: Final = 0x35
_JUMP_SET: Final = 0x45
_RETURN: Final = 0x06
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_OFFSET_NUMBER: Final = 0
_OFFSET_ARCHITECTURE: Final = 4
_OFFSET_FIRST_ARGUMENT: Final = 16
_X32: Final = 0x40000000

# CLONE_NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET | NEWNS
_CLONE_NAMESPACES: Final = 0x7E020000

# The same numbers on every architecture since Linux 5.
_COMMON_REFUSED: Final = (
    428,  # open_tree
    429,  # move_mount
    430,  # fsopen
    431,  # fsconfig
    432,  # fsmount
    433,  # fspick
    442,  # mount_setattr
)
_COMMON_ABSENT: Final = (
    425,  # io_uring_setup
    426,  # io_uring_enter
    427,  # io_uring_register
    435,  # clone3: its flags lie in memory, out of a filter's reach; the C library falls back to clone
)


@attrs.frozen
class _Architecture:
    audit: int
    clone: int
    refused: tuple[int, ...]
    """unshare, setns, mount, umount2, pivot_root, add_key, request_key, keyctl, bpf, perf_event_open, userfaultfd,
    open_by_handle_at."""


_ARCHITECTURES: Final = {
    "x86_64": _Architecture(0xC000003E, 56, (272, 308, 165, 166, 155, 248, 249, 250, 321, 298, 323, 304)),
    "aarch64": _Architecture(0xC00000B7, 220, (97, 268, 40, 39, 41, 217, 218, 219, 280, 241, 282, 265)),
}


def filter_program(machine: str | None = None) -> bytes | None:
    """Return the filter for this (or that) machine's processor, as seccomp takes it; None if fnd has none for it."""
    architecture = _ARCHITECTURES.get(machine or platform.machine())
    if architecture is None:
        return None
    refused = architecture.refused + _COMMON_REFUSED
    # Each line: what to do, its operand, and where to go if it holds: "" is the next line.
    lines: list[tuple[int, int, str, str]] = [
        (_LOAD, _OFFSET_ARCHITECTURE, "", ""),
        (_JUMP_EQUAL, architecture.audit, "", "absent"),
        (_LOAD, _OFFSET_NUMBER, "", ""),
        (_JUMP_GREATER_EQUAL, _X32, "absent", ""),
        *((_JUMP_EQUAL, number, "absent", "") for number in _COMMON_ABSENT),
        *((_JUMP_EQUAL, number, "refused", "") for number in refused),
        (_JUMP_EQUAL, architecture.clone, "", "allowed"),
        (_LOAD, _OFFSET_FIRST_ARGUMENT, "", ""),
        (_JUMP_SET, _CLONE_NAMESPACES, "refused", "allowed"),
    ]
    endings = {"allowed": _ALLOW, "refused": _ERRNO | errno.EPERM, "absent": _ERRNO | errno.ENOSYS}
    targets = {name: len(lines) + index for index, name in enumerate(endings)}

    def offset(target: str, line: int) -> int:
        return targets[target] - line - 1 if target else 0

    program = [
        struct.pack("=HBBI", code, offset(then, line), offset(otherwise, line), operand)
        for line, (code, operand, then, otherwise) in enumerate(lines)
    ]
    program.extend(struct.pack("=HBBI", _RETURN, 0, 0, action) for action in endings.values())
    return b"".join(program)
