"""What became of calls, counted; and which ways of failing a scenario allows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

NO_ANSWER: Final = 0
"""In place of a status: the connection was refused or broke off."""
_LONGEST_WHY: Final = 120
# What differs from call to call: ids, paths, numbers that are not a part of a word.
_PARTICULAR: Final = (
    (re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{32,64}\b"), "ID"),
    (re.compile(r"(unix://)?/[\w./-]*\bfnd[\w./-]+"), "PATH"),
    (re.compile(r"(?<![\w.])\d+(?![\w.])"), "N"),
)


@attrs.frozen
class Failure:
    """One call that did not succeed."""

    status: int
    """NO_ANSWER if there was none."""
    why: str
    """What its answer said, or what happened to its connection."""
    call_id: str = ""
    """As its answer told it."""


def in_general(why: str) -> str:
    """Return what failures of one kind have in common: a message without what is particular to one call."""
    for pattern, name in _PARTICULAR:
        why = pattern.sub(name, why)
    return why if len(why) <= _LONGEST_WHY else f"{why[: _LONGEST_WHY - 1]}…"


@attrs.define
class Tally:
    """Calls, as those who made them saw them."""

    sent: int = 0
    answered: int = 0
    """With the success that was due."""
    failures: list[Failure] = attrs.field(factory=list)

    def add(self, outcome: Failure | None) -> None:
        """Count a call: None for one that succeeded."""
        self.sent += 1
        if outcome is None:
            self.answered += 1
        else:
            self.failures.append(outcome)

    def reasons(self) -> Counter[tuple[int, str]]:
        """Return how often each status came with each reason."""
        return Counter((failure.status, in_general(failure.why)) for failure in self.failures)

    def merge(self, other: Tally) -> None:
        """Count another's calls, too."""
        self.sent += other.sent
        self.answered += other.answered
        self.failures += other.failures


@attrs.frozen
class Allowed:
    """A way to fail that a scenario brings with it."""

    status: int
    why: str = ""
    """A regular expression found in the reason; "" for any."""

    def covers(self, failure: Failure) -> bool:
        """Whether this failure is of that kind."""
        return failure.status == self.status and re.search(self.why, failure.why) is not None


def unexpected(failures: Iterable[Failure], allowed: Sequence[Allowed]) -> list[str]:
    """Return, each with its number, the failures that no way allows."""
    others = Tally(failures=[one for one in failures if not any(way.covers(one) for way in allowed)])
    return [f"{count} × {status or 'no answer'}: {why}" for (status, why), count in others.reasons().most_common()]


def not_inside(failures: Iterable[tuple[Failure, str]], killed: Sequence[str]) -> list[str]:
    """Return what is wrong with failures if only calls inside killed containers may fail, each with 502.

    Each failure comes with the container that the daemon's record of the call names, "" for none. A container has one
    call at a time: of two that failed in one, one was not inside when it was killed.
    """
    wrong = []
    seen: set[str] = set()
    for failure, container in failures:
        told = f"{failure.status or 'no answer'}: {in_general(failure.why)}"
        if failure.status != 502:
            wrong.append(f"failed with {told}")
        elif container not in killed:
            wrong.append(f"failed in {'a container that nobody killed' if container else 'no container'} with {told}")
        elif container in seen:
            wrong.append(f"a second call failed in one killed container with {told}")
        seen.add(container)
    return [f"{count} × {text}" for text, count in Counter(wrong).most_common()]
