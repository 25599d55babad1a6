"""Pools that want to launch and cannot yet, in the order in which they will: the longest-waiting first.

A pool waits from when it claims, and after each launch it takes its place at the end again, so that a pool that wants
sixty containers gets them between the others' turns and not before them. Three lines, each before the next:

- NEEDY pools have callers waiting and no container at all. Until they get one, none of their calls moves.
- GROWING pools have callers waiting and would serve them sooner with another container.
- WARMING pools only want their `min_warm`, or a container for a call that they expect.

Where processors are short, pools that need none of them pass those that do; where memory is, nobody passes anybody.

No claim waits for ever: a needy pool's one launch takes it out of its line, and growing pools' calls move meanwhile.
"""

from __future__ import annotations

import enum
import itertools
from collections import OrderedDict
from collections.abc import Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from fnd.dispatch.pool import Pool

_File: TypeAlias = "OrderedDict[Pool, int]"
"""Pools, and when each came to its place: the order among files."""


class Need(enum.IntEnum):
    """How badly a pool needs its next launch."""

    NEEDY = 0
    GROWING = 1
    WARMING = 2


class Claims:
    """The three lines, each in two files: pools that need processors, and those that do not. O(1) each way."""

    __slots__ = ("_lines", "_serial")

    def __init__(self) -> None:
        self._serial = itertools.count()
        self._lines: tuple[tuple[_File, _File], ...] = tuple((OrderedDict(), OrderedDict()) for _ in Need)

    def add(self, pool: Pool, need: Need, now: float) -> None:
        """Put the pool at the end of its line, unless it stands in it already."""
        if pool.claim is need:
            return
        self.remove(pool)
        pool.claim = need
        pool.claimed_at = now
        self._file(pool)[pool] = next(self._serial)

    def remove(self, pool: Pool) -> None:
        """Take the pool out, if it is here."""
        if pool.claim is not None:
            del self._file(pool)[pool]
            pool.claim = None

    def first(self, *, but_for_cpu: bool = False) -> Pool | None:
        """Return the pool whose turn it is; `but_for_cpu`, of those that need no processors."""
        return self._first(Need, None, but_for_cpu)

    def rival(self, holder: Pool, *, but_for_cpu: bool = False) -> Pool | None:
        """Return the first pool with callers, other than `holder`, that wants to launch."""
        return self._first((Need.NEEDY, Need.GROWING), holder, but_for_cpu)

    def _first(self, needs: Iterable[Need], holder: Pool | None, but_for_cpu: bool) -> Pool | None:
        for need in needs:
            files = self._lines[need][:1] if but_for_cpu else self._lines[need]
            heads = [head for file in files if (head := _head(file, holder)) is not None]
            if heads:
                return min(heads, key=itemgetter(1))[0]
        return None

    def defer(self, pool: Pool) -> None:
        """Move the pool to the end of its line, if it is here."""
        if pool.claim is not None:
            file = self._file(pool)
            file[pool] = next(self._serial)
            file.move_to_end(pool)

    def _file(self, pool: Pool) -> _File:
        assert pool.claim is not None
        return self._lines[pool.claim][pool.cpu > 0]


def _head(file: _File, holder: Pool | None) -> tuple[Pool, int] | None:
    """Return the first pool of a file but for `holder`, and when it came to its place."""
    for entry in file.items():
        if entry[0] is not holder:
            return entry
    return None
