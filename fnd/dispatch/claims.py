"""Pools that want to launch and cannot yet, in the order in which they will: the longest-waiting first.

A pool waits from when it claims, and after each launch it takes its place at the end again, so that a pool that wants
sixty containers gets them between the others' turns and not before them. Three lines, each before the next:

- NEEDY pools have callers waiting and no container at all. Until they get one, none of their calls moves.
- GROWING pools have callers waiting and would serve them sooner with another container.
- WARMING pools only want their `min_warm`, or a container for a call that they expect.

No claim waits for ever: a needy pool's one launch takes it out of its line, and growing pools' calls move meanwhile.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fnd.dispatch.pool import Pool


class Need(enum.IntEnum):
    """How badly a pool needs its next launch."""

    NEEDY = 0
    GROWING = 1
    WARMING = 2


class Claims:
    """The three lines. O(1) each way."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: tuple[OrderedDict[Pool, None], ...] = tuple(OrderedDict() for _ in Need)

    def add(self, pool: Pool, need: Need, now: float) -> None:
        """Put the pool at the end of its line, unless it stands in it already."""
        if pool.claim is need:
            return
        self.remove(pool)
        pool.claim = need
        pool.claimed_at = now
        self._lines[need][pool] = None

    def remove(self, pool: Pool) -> None:
        """Take the pool out, if it is here."""
        if pool.claim is not None:
            del self._lines[pool.claim][pool]
            pool.claim = None

    def first(self) -> Pool | None:
        """Return the pool whose turn it is."""
        for line in self._lines:
            if line:
                return next(iter(line))
        return None

    def rival(self, holder: Pool) -> Pool | None:
        """Return the first pool with callers, other than `holder`, that wants to launch."""
        for need in (Need.NEEDY, Need.GROWING):
            for pool in self._lines[need]:
                if pool is not holder:
                    return pool
        return None

    def defer(self, pool: Pool) -> None:
        """Move the pool to the end of its line, if it is here."""
        if pool.claim is not None:
            self._lines[pool.claim].move_to_end(pool)
