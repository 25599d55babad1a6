"""Learns from the kernel when the machine is short of memory, whatever was reserved: functions are not alone on it.

Linux tells how long tasks stand still for want of memory (PSI, pressure stall information), and wakes whoever asks to
be woken when that was more than so much within a window of time. Source: Documentation/accounting/psi.rst.
"""

from __future__ import annotations

import os
import select
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from fnd.log import get_logger

PRESSURE: Final = Path("/proc/pressure/memory")
STALL: Final = 0.2
"""Seconds that some task stood still within the window: a tenth of it."""
WINDOW: Final = 2.0
"""Seconds; the kernel tells no more than once in each. A multiple of two is open to who is not root."""

_log = get_logger(__name__)


@asynccontextmanager
async def watching_pressure(
    pressed: Callable[[], None], path: Path = PRESSURE, stall: float = STALL, window: float = WINDOW
) -> AsyncIterator[None]:
    """Call `pressed` whenever memory is short while in the context; never where the kernel does not tell, as is logged.

    Cancelled: nothing is left open.
    """
    with ExitStack() as stack:
        try:
            trigger = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            stack.callback(os.close, trigger)
            os.write(trigger, b"some %d %d\0" % (int(stall * 1e6), int(window * 1e6)))
        except OSError as error:
            _log.info("memory pressure is not watched", path=str(path), error=error.strerror)
            yield
            return
        epoll = stack.enter_context(select.epoll())
        epoll.register(trigger, select.EPOLLPRI)  # which trio does not wait for; it waits for the epoll
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, epoll, pressed)
            yield
            nursery.cancel_scope.cancel()


async def _watch(epoll: select.epoll, pressed: Callable[[], None]) -> None:
    while True:
        await trio.lowlevel.wait_readable(epoll.fileno())
        # That it is readable is all there is: being asked whether it is, by trio's own epoll, the kernel has forgotten
        # the event by now. Only an error stays.
        if any(events & select.EPOLLERR for _, events in epoll.poll(0)):
            _log.warning("memory pressure is not watched any more")
            return
        pressed()
