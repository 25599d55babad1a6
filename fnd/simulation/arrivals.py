"""Who calls, and when: arrivals made by chance or by rule, lazily, and callers who wait for their answers.

All chance is a random.Random that the caller seeds, so that the same seed makes the same arrivals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from typing import Final, NewType, Protocol

import attrs

from fnd.simulation.durations import Duration, Positive

Share = NewType("Share", float)
"""A number from 0 to 1."""
Number = NewType("Number", int)
"""A whole number, 1 or more."""

_DAY: Final = Positive(86_400.0)
_FAR: Final = Share(0.8)


class Arrivals(Protocol):
    """Calls that come whether or not those before have been answered."""

    @property
    def begin(self) -> float:
        """Seconds from the simulation's start; nothing comes earlier."""

    @property
    def end(self) -> Positive | None:
        """Nothing comes at that time or later; None: until the simulation's end."""

    def times(self, chance: Random) -> Iterator[float]:
        """Return, in order and without an end, at how many seconds after `begin` calls come."""


@attrs.frozen(kw_only=True)
class Poisson:
    """Many callers who know nothing of each other."""

    rate: Positive
    """Calls per second, on average."""
    begin: float = 0.0
    end: Positive | None = None

    def times(self, chance: Random) -> Iterator[float]:
        """Return, in order and without an end, at how many seconds after `begin` calls come."""
        now = 0.0
        while True:
            now += chance.expovariate(self.rate)
            yield now


@attrs.frozen(kw_only=True)
class Steady:
    """A clock: one call each so many seconds."""

    interval: Positive
    begin: float = 0.0
    end: Positive | None = None

    def times(self, chance: Random) -> Iterator[float]:
        """Return, in order and without an end, at how many seconds after `begin` calls come; the first comes at 0."""
        number = 0
        while True:
            yield number * self.interval
            number += 1


@attrs.frozen(kw_only=True)
class Bursts:
    """Many calls at one moment, again and again."""

    size: Number
    every: Positive
    """Seconds from one burst to the next."""
    begin: float = 0.0
    end: Positive | None = None

    def times(self, chance: Random) -> Iterator[float]:
        """Return, in order and without an end, at how many seconds after `begin` calls come; the first come at 0."""
        number = 0
        while True:
            for _ in range(self.size):
                yield number * self.every
            number += 1


@attrs.frozen(kw_only=True)
class Diurnal:
    """Poisson arrivals whose rate rises and falls like a day's, as a sine does; the quietest moment is the first."""

    rate: Positive
    """Calls per second, on average over a period."""
    period: Positive = _DAY
    """Seconds of a day."""
    depth: Share = _FAR
    """How far the rate falls below its mean and rises above it: 0, not at all; 1, down to nothing."""
    begin: float = 0.0
    end: Positive | None = None

    def times(self, chance: Random) -> Iterator[float]:
        """Return, in order and without an end, at how many seconds after `begin` calls come."""
        # Thinning (Lewis and Shedler 1979): calls at the highest rate, each kept as often as the rate is of that.
        highest = self.rate * (1 + self.depth)
        now = 0.0
        while True:
            now += chance.expovariate(highest)
            rate = self.rate * (1 - self.depth * math.cos(2 * math.pi * now / self.period))
            if chance.random() * highest < rate:
                yield now


@attrs.frozen(kw_only=True)
class Closed:
    """Callers each of whom calls again once it is answered: at once, or when it has thought.

    One that is rejected comes again after a second at the earliest.
    """

    callers: Number
    think: Duration | None = None
    begin: float = 0.0
    end: Positive | None = None


ARRIVALS: dict[str, type[Arrivals] | type[Closed]] = {
    "poisson": Poisson,
    "steady": Steady,
    "bursts": Bursts,
    "diurnal": Diurnal,
    "closed": Closed,
}
"""By the name that a scenario gives them."""


def moments(arrivals: Arrivals, chance: Random, duration: float) -> Iterator[float]:
    """Return when calls come, in seconds of the simulation, which ends after `duration`."""
    end = duration if arrivals.end is None else min(arrivals.end, duration)
    for time in arrivals.times(chance):
        moment = arrivals.begin + time
        if moment >= end:
            return
        yield moment
