"""Identifiers: 26 characters of Crockford's base 32, sortable by time (the ULID layout), from one generator.

Ten characters of millisecond time, ten of randomness drawn once per process, and a six-character counter. A call gets
one on the invocation path, so what does not change with it is kept: the first eight characters for about a second,
all but the last two of the counter for 1,024 identifiers.
"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGITS: Final = [a + b for a in ALPHABET for b in ALPHABET]
_COUNTER_LIMIT: Final = 1 << 30


def _encode(value: int, length: int) -> str:
    """Return `value` in an even number of digits."""
    pairs = []
    for _ in range(length // 2):
        pairs.append(_DIGITS[value & 1023])
        value >>= 10
    return "".join(reversed(pairs))


def made_at(identifier: str) -> datetime:
    """Return when an identifier was made, to the millisecond."""
    millisecond = 0
    for digit in identifier[:10]:
        millisecond = millisecond << 5 | ALPHABET.index(digit)
    return datetime.fromtimestamp(millisecond / 1000, UTC)


class IdGenerator:
    """Makes identifiers unique in this process, and, by 50 random bits, across processes and restarts."""

    __slots__ = ("_counter", "_middle", "_period", "_prefix", "_random")

    def __init__(self) -> None:
        self._random = _encode(secrets.randbits(50), 10)
        self._counter = secrets.randbits(10) << 10 | 1023  # so that the next one begins a new middle part
        self._period = -1
        self._prefix = ""
        self._middle = self._random

    def __call__(self) -> str:
        """Return a new identifier; those of one millisecond sort in the order they were made."""
        millisecond = time.time_ns() // 1_000_000
        period = millisecond >> 10
        if period != self._period:
            self._period = period
            self._prefix = _encode(period, 8)
        counter = self._counter + 1
        if not counter & 1023:
            counter %= _COUNTER_LIMIT
            self._middle = self._random + _encode(counter >> 10, 4)
        self._counter = counter
        return f"{self._prefix}{_DIGITS[millisecond & 1023]}{self._middle}{_DIGITS[counter & 1023]}"


new_id: Final = IdGenerator()
