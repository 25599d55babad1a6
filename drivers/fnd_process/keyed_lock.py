"""A lock for each key that someone holds or waits for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class KeyedLock:
    """Lets one task at a time do something about a key. Cancelled while waiting, a task has not had its turn."""

    def __init__(self) -> None:
        self._locks: dict[str, trio.Lock] = {}

    @asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of a key."""
        lock = self._locks.setdefault(key, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            # Whoever holds it or waits for it still needs it to be found.
            if not lock.locked() and self._locks.get(key) is lock:
                del self._locks[key]
