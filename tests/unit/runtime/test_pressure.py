"""Learning of memory pressure: from the kernel where it tells, and from nobody where it does not."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from fnd.runtime import pressure
from fnd.runtime.pressure import PRESSURE, watching_pressure


class Kernel:
    """A socket that stands in for the kernel's file: urgent data makes it ready in just the same way."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.ours = socket.create_connection(listener.getsockname())
            self.theirs, _ = listener.accept()

    def press(self) -> None:
        self.ours.send(b"!", socket.MSG_OOB)

    def asked(self) -> bytes:
        return self.ours.recv(100)

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    kernel = Kernel()
    monkeypatch.setattr(pressure.os, "open", lambda path, flags: os.dup(kernel.theirs.fileno()))  # type: ignore[attr-defined]
    yield kernel
    kernel.close()


async def test_whenever_memory_is_short_it_is_told(kernel: Kernel) -> None:
    told = trio.Semaphore(0)
    with trio.fail_after(5):
        async with watching_pressure(told.release, stall=0.25, window=4.0):
            assert kernel.asked() == b"some 250000 4000000\0"
            kernel.press()
            await told.acquire()
            kernel.theirs.recv(1, socket.MSG_OOB)
            kernel.press()
            await told.acquire()


async def test_at_the_end_nothing_is_open(kernel: Kernel) -> None:
    before = descriptors()
    async with watching_pressure(lambda: None):
        assert len(descriptors()) > len(before)
    assert descriptors() == before
    with trio.move_on_after(0.01):
        async with watching_pressure(lambda: None):
            await trio.sleep_forever()
    assert descriptors() == before


async def test_where_the_kernel_does_not_tell_nothing_happens(tmp_path: Path) -> None:
    async with watching_pressure(lambda: None, tmp_path / "nothing"):
        pass


@pytest.mark.skipif(not PRESSURE.exists(), reason="this kernel does not tell of memory pressure")
async def test_the_real_file_takes_what_it_is_asked() -> None:
    before = descriptors()
    async with watching_pressure(lambda: None):
        assert len(descriptors()) > len(before), "it was refused"


@pytest.mark.skipif(not PRESSURE.exists(), reason="this kernel does not tell of memory pressure")
async def test_a_wrong_question_is_not_fatal() -> None:
    async with watching_pressure(lambda: None, window=1000.0):
        pass
