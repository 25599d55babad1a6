"""How long runs, starts, stops and thinking take: distributions of seconds, and one that changes at a moment."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import NewType, Protocol, TypeAlias

import attrs

Positive = NewType("Positive", float)
"""A number greater than 0."""

Sampler: TypeAlias = Callable[[float], float]
"""Draws a duration, in seconds, at the virtual time it is given."""


class Duration(Protocol):
    """A distribution of seconds."""

    def sampler(self, chance: Random) -> Sampler:
        """Return what draws from it."""


@attrs.frozen(kw_only=True)
class Constant:
    """Always the same."""

    seconds: Positive

    def sampler(self, chance: Random) -> Sampler:
        """Return what draws from it."""
        return lambda now: self.seconds


@attrs.frozen(kw_only=True)
class Exponential:
    """Many short, few long: the memoryless one."""

    mean: Positive

    def sampler(self, chance: Random) -> Sampler:
        """Return what draws from it."""
        rate = 1 / self.mean
        return lambda now: chance.expovariate(rate)


@attrs.frozen(kw_only=True)
class Lognormal:
    """What running times usually look like: half below the median, and a long tail."""

    median: Positive
    sigma: Positive
    """Of the logarithm: 0.5 is a modest spread, 1.5 a wide one."""

    def sampler(self, chance: Random) -> Sampler:
        """Return what draws from it."""
        mu = math.log(self.median)
        return lambda now: chance.lognormvariate(mu, self.sigma)


@attrs.frozen(kw_only=True)
class Uniform:
    """Anything between two durations."""

    low: float
    high: Positive

    def sampler(self, chance: Random) -> Sampler:
        """Return what draws from it."""
        return lambda now: chance.uniform(self.low, self.high)


@attrs.frozen(kw_only=True)
class Changing:
    """One duration before a moment, and another from then on."""

    at: Positive
    """Virtual seconds."""
    before: Duration
    after: Duration

    def sampler(self, chance: Random) -> Sampler:
        """Return what draws from it."""
        before, after = self.before.sampler(chance), self.after.sampler(chance)
        return lambda now: before(now) if now < self.at else after(now)


DURATIONS: dict[str, type[Duration]] = {
    "constant": Constant,
    "exponential": Exponential,
    "lognormal": Lognormal,
    "uniform": Uniform,
    "changing": Changing,
}
"""By the name that a scenario gives them."""
