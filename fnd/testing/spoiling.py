"""Spoils what is well-formed, by chance, for fuzzing of codecs."""

from __future__ import annotations

import random
from collections.abc import Sequence

_LONGEST_INSERT = 20
_DIGITS = b"0123456789"


def spoiled(chance: random.Random, answers: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Return one of the answers as some faults leave it, or none; `words` mean something where they should not be."""
    data = chance.choice(answers)
    for _ in range(chance.choice((0, 1, 1, 2, 3, 6))):
        data = _spoil(chance, data, answers, words)
    return data


def cut(chance: random.Random, data: bytes) -> list[bytes]:
    """Return `data` in parts, mostly few, now and then each byte by itself."""
    how = chance.random()
    if how < 0.4:
        return [data]
    if how < 0.5 and len(data) < 400:
        return [data[at : at + 1] for at in range(len(data))]
    at = sorted(chance.randint(0, len(data)) for _ in range(chance.randint(1, 3)))
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]


def _spoil(chance: random.Random, data: bytes, answers: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Return `data` as one fault leaves it."""
    at = chance.randint(0, len(data))
    to = min(len(data), at + chance.choice((1, 1, 2, 5, 20, len(data))))
    match chance.randrange(10):
        case 0:
            return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        case 1:
            return data[:at] + data[to:]
        case 2:
            return data[:at]
        case 3:
            return data[:to] + data[at:]
        case 4:
            return data + chance.choice(answers)
        case 5 | 6:
            return data[:at] + chance.choice(words) * chance.choice((1, 1, 1, 2, 150)) + data[at:]
        case 7:
            return (
                data[:at] + bytes(chance.randrange(256) for _ in range(chance.randint(1, _LONGEST_INSERT))) + data[at:]
            )
        case 8:
            other = chance.choice(answers)
            return data[:at] + other[chance.randint(0, len(other)) :]
        case _:
            digits = [index for index, byte in enumerate(data) if byte in _DIGITS]
            if not digits:
                return data
            index = chance.choice(digits)
            return data[:index] + chance.choice((b"0", b"1", b"9", b"-1", b"99999999999")) + data[index + 1 :]
