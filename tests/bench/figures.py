"""What is measured, beside what is promised of it: arithmetic only.

Durations are in seconds unless a name says otherwise.
"""

from __future__ import annotations

import enum
import math
import statistics
from collections.abc import Iterable, Sequence

import attrs


class Bound(enum.Enum):
    """Which side of its target a figure must be on."""

    AT_LEAST = "≥"
    AT_MOST = "≤"


@attrs.frozen
class Target:
    """What a figure must reach."""

    bound: Bound
    limit: float

    def met_by(self, value: float) -> bool:
        """Return whether `value` reaches it; what could not be measured (NaN) never does."""
        return value >= self.limit if self.bound is Bound.AT_LEAST else value <= self.limit


def at_least(limit: float) -> Target:
    """A target that the figure must reach or exceed."""
    return Target(Bound.AT_LEAST, limit)


def at_most(limit: float) -> Target:
    """A target that the figure must not exceed."""
    return Target(Bound.AT_MOST, limit)


@attrs.frozen(kw_only=True)
class Figure:
    """One line of the report."""

    name: str
    value: float
    unit: str
    """"×" for ratios."""
    target: Target | None = None
    """None where the figure is only told."""
    detail: str = ""
    """What the value was made of, for a person."""
    skipped: bool = False
    """Whether this machine lacks a part that it takes; `detail` says which. Its target is neither met nor missed."""

    @property
    def met(self) -> bool | None:
        """Whether its target is met; None where it has none, or was skipped."""
        return None if self.target is None or self.skipped else self.target.met_by(self.value)


def skipped(name: str, unit: str, target: Target | None, why: str) -> Figure:
    """Return the line of a figure for which this machine lacks a part."""
    return Figure(name=name, value=math.nan, unit=unit, target=target, detail=why, skipped=True)


def percentile(values: Iterable[float], fraction: float) -> float:
    """Return the smallest value that at least `fraction` (0 to 1) of all values do not exceed; NaN of no values."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]


def median(values: Sequence[float]) -> float:
    """Return the median; NaN of no values."""
    return statistics.median(values) if values else math.nan


def ratio(value: float, base: float) -> float:
    """Return value ÷ base; NaN where the base is nothing."""
    return value / base if base else math.nan


def median_ratio(values: Sequence[float], bases: Sequence[float]) -> float:
    """Return the median over rounds of each round's ratio, so that what slows a whole round cancels out.

    Raises ValueError if the rounds don't pair up.
    """
    return median([ratio(value, base) for value, base in zip(values, bases, strict=True)])
