"""The filter, run as the kernel runs it."""

from __future__ import annotations

import errno
import struct

import pytest

from fnd_process.seccomp import filter_program

ALLOW = "allowed"
X86_64, AARCH64, I386 = 0xC000003E, 0xC00000B7, 0x40000003
CLONE_NEWUSER, CLONE_NEWNS, CLONE_VM, CLONE_THREAD = 0x10000000, 0x00020000, 0x00000100, 0x00010000


def verdict(machine: str, architecture: int, number: int, argument: int = 0) -> str:
    """Run the filter over one system call."""
    program = filter_program(machine)
    assert program is not None
    data = struct.pack("=IIQ6Q", number, architecture, 0, argument, 0, 0, 0, 0, 0)
    accumulator = line = 0
    while True:
        code, then, otherwise, operand = struct.unpack_from("=HBBI", program, 8 * line)
        line += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, operand)
            case 0x15:
                line += then if accumulator == operand else otherwise
            case 0x35:
                line += then if accumulator >= operand else otherwise
            case 0x45:
                line += then if accumulator & operand else otherwise
            case 0x06:
                return ALLOW if operand == 0x7FFF0000 else errno.errorcode[operand & 0xFFFF]
            case _:
                raise AssertionError(code)


@pytest.mark.parametrize(
    ("machine", "architecture", "numbers"),
    [
        # unshare, setns, mount, umount2, pivot_root, keyctl, add_key, request_key, bpf, perf_event_open, userfaultfd
        ("x86_64", X86_64, [272, 308, 165, 166, 155, 250, 248, 249, 321, 298, 323, 304, 428, 442]),
        ("aarch64", AARCH64, [97, 268, 40, 39, 41, 219, 217, 218, 280, 241, 282, 265, 428, 442]),
    ],
)
def test_what_opens_the_kernel_is_refused(machine: str, architecture: int, numbers: list[int]) -> None:
    assert {verdict(machine, architecture, number) for number in numbers} == {"EPERM"}
    for absent in (425, 426, 427, 435):
        assert verdict(machine, architecture, absent) == "ENOSYS"


@pytest.mark.parametrize(("machine", "architecture", "clone"), [("x86_64", X86_64, 56), ("aarch64", AARCH64, 220)])
def test_threads_and_processes_can_be_made_and_namespaces_cannot(machine: str, architecture: int, clone: int) -> None:
    assert verdict(machine, architecture, clone, 17) == ALLOW
    assert verdict(machine, architecture, clone, CLONE_VM | CLONE_THREAD) == ALLOW
    assert verdict(machine, architecture, clone, CLONE_NEWUSER | 17) == "EPERM"
    assert verdict(machine, architecture, clone, CLONE_NEWNS) == "EPERM"


@pytest.mark.parametrize("number", [0, 1, 2, 57, 59, 101, 202, 257, 424, 434, 441])
def test_what_programs_use_is_allowed(number: int) -> None:
    assert verdict("x86_64", X86_64, number) == ALLOW


def test_another_architectures_numbers_mean_nothing() -> None:
    assert verdict("x86_64", I386, 1) == "ENOSYS"
    assert verdict("x86_64", X86_64, 0x40000000) == "ENOSYS"
    assert verdict("aarch64", X86_64, 1) == "ENOSYS"


def test_a_processor_that_is_not_known_has_no_filter() -> None:
    assert filter_program("riscv64") is None
