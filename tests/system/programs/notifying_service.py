"""A service that tells systemd what fnd tells it, and does on signals what a test needs.

SIGHUP: reload. SIGUSR1: hang, the trio loop with it. SIGUSR2: show another status. SIGTERM: stop, in $STOP_SECONDS.
Whoever connects to a socket that systemd handed over gets its name.
"""

from __future__ import annotations

import os
import signal
import time

import trio

from fnd.systemd import InheritedSocket, ServiceManager, inherited_sockets


async def answer(inherited: InheritedSocket) -> None:
    listener = trio.socket.from_stdlib_socket(inherited.sock)
    while True:
        connection, _ = await listener.accept()
        with connection:
            await connection.send(inherited.name.encode())


async def main() -> None:
    manager = ServiceManager.from_environment(os.environ)
    sockets = inherited_sockets(os.environ)
    known = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.feed_watchdog)
        for inherited in sockets:
            nursery.start_soon(answer, inherited)
        with trio.open_signal_receiver(signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM) as signals:
            await manager.ready(f"left in the environment: {sorted(known & os.environ.keys())}")
            async for number in signals:
                if number == signal.SIGHUP:
                    async with manager.reloading():
                        await manager.status("reloaded")
                elif number == signal.SIGUSR1:
                    time.sleep(1000)  # noqa: ASYNC251  hanging is the point
                elif number == signal.SIGUSR2:
                    await manager.status("another\nstatus")
                else:
                    await manager.stopping(20, "stopping")
                    await trio.sleep(float(os.environ.get("STOP_SECONDS", "0")))
                    nursery.cancel_scope.cancel()
                    break


trio.run(main)
