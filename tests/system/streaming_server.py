"""A program for test_http_memory: a server that takes, gives and echoes bodies, and prints its port."""

from __future__ import annotations

import socket

import trio

from fnd.http.connection import Connection
from fnd.http.request import Request
from fnd.http.server import Listener, ServerLimits, running_server

_PART = bytes(65536)


async def handle(connection: Connection, request: Request) -> None:
    """`/in` counts a body, `/out/N` gives one of N bytes, `/echo` gives back what it takes, while it takes it."""
    if request.target == b"/in":
        size = len(request.first)
        while not request.complete:
            size += len(await request.receive())
        await connection.respond(200, [], b"%d" % size)
    elif request.target == b"/echo":
        await connection.start_response(200, [], None)
        await connection.send_body(request.first)
        while not request.complete:
            await connection.send_body(await request.receive())
        await connection.end_response()
    else:
        size = int(request.target.rpartition(b"/")[2])
        await connection.start_response(200, [], size)
        for _ in range(size // len(_PART)):
            await connection.send_body(_PART)
        await connection.end_response()


async def main() -> None:
    """Serve until killed."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        async with running_server(handle, ServerLimits()) as server:
            server.listen(Listener(sock, "public"))
            print(sock.getsockname()[1], flush=True)
            await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main)
