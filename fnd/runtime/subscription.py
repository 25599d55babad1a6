"""A bounded stream from one publisher to one reader, on the trio thread: who reads too slowly loses items, and is told.

Function logs, events and calls are all handed out through it. Publishing never waits, whatever the reader does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

import trio

T = TypeVar("T")

DEFAULT_CAPACITY: Final = 1000
"""Items that wait for one reader of a bus at most."""


class Subscription(Generic[T]):
    """What one reader has yet to receive; iterate it with `async for`. It has one reader at a time.

    `capacity` is the most that waits in it, in what `weigh` counts. Items that come while it is full are lost, and
    in their place the reader receives `lost(n)`, n being how many.
    """

    def __init__(self, capacity: int, weigh: Callable[[T], int], lost: Callable[[int], T]) -> None:
        self._capacity = capacity
        self._weigh = weigh
        self._make_lost = lost
        self._items: deque[T] = deque()
        self._weight = 0
        self._lost = 0
        self._closed = False
        self._reader = trio.lowlevel.ParkingLot()

    def publish(self, item: T) -> None:
        """Put `item` in, or count it as lost."""
        if self._closed:
            return
        weight = self._weigh(item)
        if self._items and self._weight + weight > self._capacity:
            self._lost += 1
            return
        if self._lost:
            self._items.append(self._make_lost(self._lost))
            self._weight += self._weigh(self._items[-1])
            self._lost = 0
        self._items.append(item)
        self._weight += weight
        self._reader.unpark()

    def close(self) -> None:
        """Let the reader receive what waits and then end."""
        self._closed = True
        self._reader.unpark_all()

    def __aiter__(self) -> Subscription[T]:
        return self

    async def __anext__(self) -> T:
        """Return the next item. Cancelled: no item is lost."""
        await trio.lowlevel.checkpoint()
        while not self._items and not self._lost and not self._closed:
            await self._reader.park()
        if self._items:
            item = self._items.popleft()
            self._weight -= self._weigh(item)
            return item
        if self._lost:
            lost, self._lost = self._lost, 0
            return self._make_lost(lost)
        raise StopAsyncIteration


class Bus(Generic[T]):
    """Hands every item to everyone who listens. Publishing costs next to nothing while nobody does, and never waits."""

    def __init__(self, lost: Callable[[int], T]) -> None:
        self._make_lost = lost
        self._subscriptions: set[Subscription[T]] = set()
        self._closed = False

    @property
    def listening(self) -> bool:
        """Whether anybody listens, for who would have to work to make an item."""
        return bool(self._subscriptions)

    def publish(self, item: T) -> None:
        """Hand `item` to who listens now."""
        for subscription in self._subscriptions:
            subscription.publish(item)

    @contextmanager
    def subscribe(self, capacity: int = DEFAULT_CAPACITY) -> Iterator[Subscription[T]]:
        """Listen while in the context, from now on, with at most `capacity` items waiting to be read.

        One who reads slower than that gets what `lost` makes in place of those that were lost. The stream ends when
        the bus is closed.
        """
        subscription = Subscription(capacity, _one, self._make_lost)
        self._subscriptions.add(subscription)
        if self._closed:
            subscription.close()
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every stream once its reader has what was published before."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()


def _one(item: object) -> int:
    return 1
