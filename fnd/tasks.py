"""What holds tasks together where trio alone does not: given out to plugins by `fnd.hookspecs`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def surrounding_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery around someone else's code, and cancel it at the end of its body, however that ends.

    What the body raises comes out as it went in, in no group of exceptions; what the tasks raise ends the body, and
    comes out as a nursery's does. Left or cancelled, none of the tasks is left.
    """
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except BaseException as error:  # cancellation included: it goes on below
            failure = error
        finally:
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


class KeyedLock:
    """Lets one task at a time do something about a key; keys that nobody holds or waits for take no memory."""

    def __init__(self) -> None:
        self._locks: dict[str, trio.Lock] = {}

    @asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of a key. Cancelled while it waits, a task has not had its turn."""
        lock = self._locks.setdefault(key, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            # Whoever holds it or waits for it still needs it to be found.
            if not lock.locked() and self._locks.get(key) is lock:
                del self._locks[key]
