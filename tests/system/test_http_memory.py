"""Bodies of a gibibyte go through the server without its memory growing by more than a few buffers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from tests.http_caller import HOST, Caller, connected

pytestmark = pytest.mark.system

SIZE = 1 << 30
PART = bytes(range(256)) * 1024
GROWTH = 16 << 20


@attrs.frozen
class ServerProcess:
    """A server in a process of its own."""

    pid: int
    port: int

    def peak(self) -> int:
        """Return the most memory it ever had resident, in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":
                return int(value.split()[0]) * 1024
        raise AssertionError("no VmHWM")


@asynccontextmanager
async def server_process() -> AsyncIterator[ServerProcess]:
    program = Path(__file__).with_name("streaming_server.py")
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, [sys.executable, str(program)], stdout=subprocess.PIPE, check=False)
        process = await nursery.start(run)
        port = int(await process.stdout.receive_some())
        yield ServerProcess(process.pid, port)
        nursery.cancel_scope.cancel()


async def send_body(caller: Caller) -> None:
    for _ in range(SIZE // len(PART)):
        await caller.send(PART)


async def take_body(caller: Caller) -> int:
    """Read a chunked body, and return its size."""
    size = 0
    async for part in caller.chunks():
        size += len(part)
    return size


@pytest.mark.parametrize("direction", ["in", "out", "echo"])
async def test_a_gibibyte_goes_through_with_memory_flat(direction: str) -> None:
    async with server_process() as server:
        caller = await connected(("127.0.0.1", server.port))
        # The same on a small scale first, for what is allocated once.
        assert (await caller.ask(b"POST", b"/in", body=PART)).body == b"%d" % len(PART)
        assert (await caller.ask(b"POST", b"/echo", body=PART)).body == PART
        before = server.peak()
        post = b"POST /%b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (direction.encode(), HOST, SIZE)
        match direction:
            case "in":
                await caller.send(post)
                await send_body(caller)
                assert (await caller.answer()).body == b"%d" % SIZE
            case "out":
                await caller.send(b"GET /out/%d HTTP/1.1\r\n%b\r\n" % (SIZE, HOST))
                _, headers = await caller.head()
                left = int(headers[b"content-length"])
                while left:
                    part = min(left, len(PART))
                    await caller.exactly(part)
                    left -= part
            case _:
                await caller.send(post)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send_body, caller)
                    await caller.head()
                    assert await take_body(caller) == SIZE
        assert server.peak() - before < GROWTH
        caller.close()
