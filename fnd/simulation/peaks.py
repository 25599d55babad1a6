"""A value over time in bounded space: its peak in each of at most so many equal stretches of time."""

from __future__ import annotations

from array import array
from typing import Final

STRETCHES: Final = 600
"""At most; when time goes on beyond them they are joined in pairs."""


class Peaks:
    """The highest value in each stretch of time, whole and not negative. O(1) amortised."""

    __slots__ = ("_values", "value", "width")

    def __init__(self, width: float) -> None:
        self.width = width
        """Seconds of a stretch; doubles when there would be too many."""
        self.value = 0
        """What it is at present."""
        self._values = array("Q", [0])

    def note(self, value: int, now: float) -> None:
        """Let the value be this from now on; `now`, in seconds, never goes back."""
        index = self._reach(now)
        self.value = value
        if value > self._values[index]:
            self._values[index] = value

    @property
    def highest(self) -> int:
        """The highest it has been."""
        return max(self._values)

    def until(self, now: float) -> list[int]:
        """Return the peak of each stretch from 0 to now, which may be unfinished."""
        self._reach(now)
        return self._values.tolist()

    def _reach(self, now: float) -> int:
        """Let the value stay as it is until now; return now's stretch."""
        index = int(now / self.width)
        while index >= STRETCHES:
            self._join()
            index = int(now / self.width)
        values = self._values
        while len(values) <= index:
            values.append(self.value)
        return index

    def _join(self) -> None:
        values = self._values
        if len(values) % 2:
            values.append(self.value)
        self._values = array("Q", map(max, values[::2], values[1::2]))
        self.width *= 2
