"""Tells plugins of calls that are over: off every call's way, in threads that nothing else waits for.

A call that is over is appended to a queue of each listener and costs nothing more. A tenth of a second after the first
one, a task hands what has come to the listener, in a thread, and goes on when that has returned. A listener that is
slower than the calls misses the oldest; one that never returns keeps its thread, and is left behind with it when the
daemon stops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from fnd.hookspecs import CallListener
from fnd.plugins import Plugin, describe
from fnd.runtime.call_records import record_of

if TYPE_CHECKING:
    from fnd.runtime.call import Call

WAITING: Final = 10_000
"""Calls that wait for a listener at most."""
AT_ONCE: Final = 1_000
"""Calls that it is told of at once at most."""
GATHER_SECONDS: Final = 0.1
"""For which calls are gathered before a listener is told."""
SLOW_SECONDS: Final = 5.0
"""After which it is told that a listener has not returned."""
LAST_SECONDS: Final = 2.0
"""For what a listener is told at the end."""
WHERE: Final = "call listener"


class CallFeed:
    """One listener, and the calls that it is still to be told of."""

    def __init__(self, plugin: Plugin, listener: CallListener) -> None:
        self._plugin = plugin
        self._listener = listener
        self._calls: deque[Call] = deque(maxlen=WAITING)
        self._missed = 0
        self._parked: trio.Event | None = None
        """Set to wake the task, which has nothing to do."""
        self._turn = trio.CapacityLimiter(1)
        """Its own, so that one that hangs takes no thread from others; held until its thread has returned."""

    def add(self, call: Call) -> None:
        """Take a call that is over. Never waits."""
        if len(self._calls) == WAITING:
            self._missed += 1
        self._calls.append(call)
        if self._parked is not None:
            self._parked.set()
            self._parked = None

    async def deliver(self) -> None:
        """Tell the listener of calls as they come; until cancelled."""
        while True:
            if not self._calls:
                self._parked = trio.Event()
                await self._parked.wait()
            await trio.sleep(GATHER_SECONDS)
            await self._tell_of_next()

    async def finish(self) -> None:
        """Tell it of those that are left, and that there will be no more; for LAST_SECONDS at most."""
        with trio.move_on_after(LAST_SECONDS, shield=True) as limit:
            while self._calls:
                await self._tell_of_next()
            await self._call(self._listener.close)
        if limit.cancelled_caught:
            self._plugin.trouble(WHERE, "it was left behind at the daemon's end, since it had not returned")

    async def _tell_of_next(self) -> None:
        calls = [self._calls.popleft() for _ in range(min(AT_ONCE, len(self._calls)))]
        missed, self._missed = self._missed, 0
        if missed:
            self._plugin.trouble(WHERE, f"it is too slow: it was not told of {missed} calls")

        def tell() -> None:
            self._listener.calls_over([record_of(call) for call in calls], missed)

        await self._call(tell)

    async def _call(self, function: Callable[[], None]) -> None:
        """Call the listener in a thread, and say so if that takes long. Cancelled: the thread goes on by itself."""
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._complain)
            error = await trio.to_thread.run_sync(
                _contained, function, abandon_on_cancel=True, limiter=self._turn, thread_name=self._plugin.name
            )
            nursery.cancel_scope.cancel()
        if error is not None:
            self._plugin.trouble(WHERE, describe(error), error)
        elif (took := trio.current_time() - began) >= SLOW_SECONDS:
            self._plugin.trouble(WHERE, f"slow: it took {took:.1f} s")

    async def _complain(self) -> None:
        await trio.sleep(SLOW_SECONDS)
        self._plugin.trouble(WHERE, f"slow: it has not returned for {SLOW_SECONDS:g} s")


def _contained(function: Callable[[], None]) -> BaseException | None:
    """Call a plugin's function; return what it raised, whatever that is: nothing of it is to end the daemon."""
    try:
        function()
    except BaseException as error:
        return error
    return None


@asynccontextmanager
async def telling(listeners: Mapping[Plugin, CallListener]) -> AsyncIterator[Sequence[Callable[[Call], None]]]:
    """Give, for each listener, what is to be told of each call that is over, and deliver while in the context.

    At its end, or cancelled, each is told of what is left, for LAST_SECONDS at most.
    """
    feeds = [CallFeed(plugin, listener) for plugin, listener in listeners.items()]
    try:
        async with trio.open_nursery() as nursery:
            for feed in feeds:
                nursery.start_soon(feed.deliver)
            yield [feed.add for feed in feeds]
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for feed in feeds:
                    nursery.start_soon(feed.finish)
