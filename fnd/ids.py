"""Identifiers: 26 characters of Crockford's base 32, sortable by time (the ULID layout), from one generator.

A call gets one on the invocation path, so making one is a format of two cached parts: ten characters of
millisecond time, ten of randomness drawn once per process, and a six-character counter.
"""

from __future__ import annotations

import secrets
import time
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


class IdGenerator:
    """Makes identifiers unique in this process, and, by 50 random bits, across processes and restarts."""

    __slots__ = ("_counter", "_millisecond", "_prefix", "_random")

    def __init__(self) -> None:
        self._random = _encode(secrets.randbits(50), 10)
        self._counter = secrets.randbits(20)
        self._millisecond = -1
        self._prefix = ""

    def __call__(self) -> str:
        """Return a new identifier; those of one millisecond sort in the order they were made."""
        millisecond = time.time_ns() // 1_000_000
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._prefix = _encode(millisecond, 10) + self._random
        self._counter = counter = (self._counter + 1) % _COUNTER_LIMIT
        return self._prefix + _DIGITS[counter >> 20] + _DIGITS[counter >> 10 & 1023] + _DIGITS[counter & 1023]


new_id: Final = IdGenerator()
