"""Items by key, least first, each at most once, whose keys may change: pools by wake-up time, pools by worth."""

from __future__ import annotations

import heapq
import itertools
from typing import Any, Generic, TypeVar

ItemT = TypeVar("ItemT")


class Agenda(Generic[ItemT]):
    """A heap in which an item that moved or left stays behind as a stale entry until it comes up or they are many.

    Every operation is O(log n) amortised; entries never exceed twice the items by more than a constant.
    """

    __slots__ = ("_entries", "_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[Any, int, ItemT]] = []
        self._entries: dict[ItemT, tuple[Any, int, ItemT]] = {}
        self._serial = itertools.count()

    def put(self, item: ItemT, key: Any) -> None:
        """Add `item`, or move it to its new key; among equal keys the earlier put comes first."""
        entry = (key, next(self._serial), item)
        self._entries[item] = entry
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._entries) + 64:
            self._heap = list(self._entries.values())
            heapq.heapify(self._heap)

    def discard(self, item: ItemT) -> None:
        """Remove `item` if it is here."""
        self._entries.pop(item, None)

    def key(self, item: ItemT) -> Any | None:
        """Return the item's key, or None if it is not here."""
        entry = self._entries.get(item)
        return None if entry is None else entry[0]

    def first(self) -> tuple[Any, ItemT] | None:
        """Return the least key and its item, or None."""
        heap = self._heap
        while heap:
            entry = heap[0]
            if self._entries.get(entry[2]) is entry:
                return entry[0], entry[2]
            heapq.heappop(heap)
        return None
