"""The pictures of a simulation: SVG files for a page, and lines of blocks for a terminal."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from fnd.simulation.report import PolicyReport, Report
from fnd.simulation.svg import Axis, Curve, Point, chart, linear_axis

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_SHORTEST_WAIT: Final = 0.001
"""Seconds at which the axis of waits begins."""
_POINTS_OF_TEN: Final = 40
"""Points in which a distribution is drawn, for each power of ten."""
_TIME_UNITS: Final = ((180.0, 1.0, "seconds"), (3 * 3600.0, 60.0, "minutes"), (5 * 86_400.0, 3600.0, "hours"))
"""Up to how many seconds an axis is in which unit."""


def plots(report: Report) -> Iterator[tuple[str, str]]:
    """Return the name of each plot, `containers` for instance, and its SVG."""
    yield "containers", _over_time(report, "containers", lambda policy: policy.series.containers)
    yield "waiting", _over_time(report, "calls waiting", lambda policy: policy.series.waiting)
    yield "waits", _waits(report)
    yield "trade-off", _trade_off(report)


def blocks(values: Sequence[int], width: int) -> str:
    """Return the values as so many blocks at most: each as high as the highest of its part, the highest of all full."""
    columns = min(width, len(values))
    edges = [round(column * len(values) / columns) for column in range(columns + 1)]
    peaks = [max(values[low:high]) for low, high in pairwise(edges)]
    highest = max(peaks)
    # Rounded up, so that a little can be told from nothing.
    return "".join(_BLOCKS[math.ceil(peak * (len(_BLOCKS) - 1) / highest) if highest else 0] for peak in peaks)


def _over_time(report: Report, what: str, values: Callable[[PolicyReport], Sequence[int]]) -> str:
    longest = max(policy.ended_at for policy in report.policies)
    divisor, unit = _time_unit(longest)
    curves = [
        Curve(label=policy.name, shape="steps", points=_steps(values(policy), policy, divisor))
        for policy in report.policies
    ]
    highest = max(max(values(policy)) for policy in report.policies)
    return chart(
        f"{report.title}: {what}",
        _time_axis(unit, longest / divisor),
        linear_axis(f"{what}, peak", max(highest, 1)),
        curves,
    )


def _steps(values: Sequence[int], policy: PolicyReport, divisor: float) -> list[Point]:
    width = policy.series.width / divisor
    return [*((number * width, value) for number, value in enumerate(values)), (policy.ended_at / divisor, values[-1])]


def _time_unit(seconds: float) -> tuple[float, str]:
    for limit, divisor, unit in _TIME_UNITS:
        if seconds <= limit:
            return divisor, unit
    return 86_400.0, "days"


def _time_axis(unit: str, high: float) -> Axis:
    """Return an axis that ends where time does, for what lies behind would look like nothing happening."""
    whole = linear_axis(f"time, {unit}", high)
    return Axis(label=whole.label, low=0.0, high=high, ticks=[tick for tick in whole.ticks if tick[0] <= high * 1.0001])


def _waits(report: Report) -> str:
    longest = max(policy.total.wait.max for policy in report.policies)
    tens = max(1, math.ceil(math.log10(max(longest, _SHORTEST_WAIT) / _SHORTEST_WAIT) - 1e-9))
    x = Axis(
        label="a call waits for longer than",
        low=_SHORTEST_WAIT,
        high=_SHORTEST_WAIT * 10**tens,
        ticks=[(_SHORTEST_WAIT * 10**power, _seconds(power)) for power in range(tens + 1)],
        logarithmic=True,
    )
    curves = [Curve(label=policy.name, points=_waited_longer(policy, tens)) for policy in report.policies]
    highest = max(share for curve in curves for _, share in curve.points)
    return chart(f"{report.title}: waits", x, linear_axis("calls, %", max(highest, 0.01)), curves)


def _seconds(power: int) -> str:
    """Return 10^power milliseconds in words."""
    return f"{10**power} ms" if power < 3 else f"{10 ** (power - 3):,} s"


def _waited_longer(policy: PolicyReport, tens: int) -> list[Point]:
    """Return which part of the answered calls, in per cent, waited for longer than each of many times."""
    points = []
    for number in range(tens * _POINTS_OF_TEN + 1):
        wait = _SHORTEST_WAIT * 10 ** (number / _POINTS_OF_TEN)
        longer = len(policy.waits) - bisect_right(policy.waits, wait)
        points.append((wait, 100 * longer / max(policy.total.answered, 1)))
    return points


def _trade_off(report: Report) -> str:
    most = max(policy.total.memory_seconds for policy in report.policies)
    divisor, unit = (1024 * 3600, "GiB × hours") if most >= 1024 * 3600 else (1, "MiB × seconds")
    curves = [
        Curve(
            label=policy.name,
            shape="dots",
            points=[(policy.total.memory_seconds / divisor, float(policy.total.cold_starts))],
        )
        for policy in report.policies
    ]
    return chart(
        f"{report.title}: what warmth costs",
        linear_axis(f"memory reserved, {unit}", most / divisor),
        linear_axis("cold starts", float(max(1, *(policy.total.cold_starts for policy in report.policies)))),
        curves,
    )
