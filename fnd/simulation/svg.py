"""Charts as SVG: lines and points on two axes with a legend. No scripts, the same bytes for the same values.

The colours follow the reader's preference for light or dark; lines differ in their dashes, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

import attrs

Point = tuple[float, float]

_WIDTH: Final = 860
_HEIGHT: Final = 380
_LEFT: Final = 74
_RIGHT: Final = 640
_TOP: Final = 46
_BOTTOM: Final = 324
_LEGEND_LETTERS: Final = 26
_LIGHT: Final = ("#0b62a8", "#c14a00", "#00795a", "#a3457e", "#8a6500", "#3d4db5", "#7a2230", "#4a4a4a")
_DARK: Final = ("#69b7ff", "#ff9b5e", "#3fd6a5", "#f09bd0", "#f0c648", "#a6b1ff", "#ff8b98", "#c8c8c8")
_DASHES: Final = ("", "7 3", "2 3", "9 3 2 3")


@attrs.frozen(kw_only=True)
class Axis:
    """One axis: what it says, how far it goes, and where its marks are."""

    label: str
    """With the unit."""
    low: float
    high: float
    """More than `low`."""
    ticks: Sequence[tuple[float, str]]
    logarithmic: bool = False
    """Then `low` is more than 0."""

    def share(self, value: float) -> float:
        """Return how far along the axis a value is, 0 to 1; beyond its ends it is at them."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(max(value, low))
        return min(1.0, max(0.0, (value - low) / (high - low)))


@attrs.frozen(kw_only=True)
class Curve:
    """Named values: a line through its points, steps, or the points alone."""

    label: str
    points: Sequence[Point]
    shape: str = "line"
    """`line`; `steps`, each value lasting until the next; or `dots`, each named beside it."""


def linear_axis(label: str, high: float) -> Axis:
    """Return an axis from 0 to at least `high`, marked at round numbers."""
    step = _round_step(max(high, 1e-9) / 5)
    count = max(1, math.ceil(high / step - 1e-9))
    return Axis(
        label=label,
        low=0.0,
        high=count * step,
        ticks=[(number * step, f"{number * step:,.10g}") for number in range(count + 1)],
    )


def chart(title: str, x: Axis, y: Axis, curves: Sequence[Curve]) -> str:
    """Return one chart as an SVG document."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        _style(),
        f'<rect class="paper" width="{_WIDTH}" height="{_HEIGHT}"/>',
        f'<text x="{_LEFT}" y="24" font-size="15" font-weight="600">{escape(title)}</text>',
        *_axes(x, y),
    ]
    for number, curve in enumerate(curves):
        parts += _curve(curve, number, x, y)
        parts += _legend(curve, number)
    return "\n".join([*parts, "</svg>", ""])


def _round_step(step: float) -> float:
    """Return the least of 1, 2 and 5 times a power of ten that is not less."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


def _style() -> str:
    def colours(palette: Sequence[str]) -> str:
        return " ".join(
            f".c{number} {{ stroke: {colour}; }} .f{number} {{ fill: {colour}; }}"
            for number, colour in enumerate(palette)
        )

    return (
        "<style>\n"
        ".paper { fill: #ffffff; } text { fill: #222222; } .grid { stroke: #e2e2e2; } .axis { stroke: #777777; }\n"
        f"{colours(_LIGHT)}\n"
        "@media (prefers-color-scheme: dark) {\n"
        ".paper { fill: #14171c; } text { fill: #e4e4e4; } .grid { stroke: #30353d; } .axis { stroke: #8a8a8a; }\n"
        f"{colours(_DARK)}\n"
        "}\n</style>"
    )


def _axes(x: Axis, y: Axis) -> Iterator[str]:
    for value, text in x.ticks:
        at = _coordinate(_across(x, value))
        yield f'<path class="grid" d="M{at} {_TOP}V{_BOTTOM}"/>'
        yield f'<text x="{at}" y="{_BOTTOM + 17}" text-anchor="middle">{escape(text)}</text>'
    for value, text in y.ticks:
        at = _coordinate(_up(y, value))
        yield f'<path class="grid" d="M{_LEFT} {at}H{_RIGHT}"/>'
        yield f'<text x="{_LEFT - 7}" y="{_coordinate(_up(y, value) + 4)}" text-anchor="end">{escape(text)}</text>'
    yield f'<path class="axis" fill="none" d="M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}"/>'
    yield f'<text x="{(_LEFT + _RIGHT) // 2}" y="{_BOTTOM + 40}" text-anchor="middle">{escape(x.label)}</text>'
    middle = (_TOP + _BOTTOM) // 2
    yield f'<text x="16" y="{middle}" text-anchor="middle" transform="rotate(-90 16 {middle})">{escape(y.label)}</text>'


def _curve(curve: Curve, number: int, x: Axis, y: Axis) -> Iterator[str]:
    places = [(_coordinate(_across(x, one)), _coordinate(_up(y, other))) for one, other in curve.points]
    if curve.shape == "dots":
        for across, up in places:
            yield f'<circle class="{_class(number, "f")}" cx="{across}" cy="{up}" r="5"/>'
            yield f'<text x="{across}" y="{up}" dx="9" dy="-5">{escape(_shortened(curve.label))}</text>'
    elif places:
        path = _steps(places) if curve.shape == "steps" else "L".join(f"{across} {up}" for across, up in places)
        yield f'<path fill="none" stroke-width="1.8" {_stroke(number)} d="M{path}"/>'


def _steps(places: Sequence[tuple[str, str]]) -> str:
    """Return a path's steps, without those that lead nowhere."""
    path = f"{places[0][0]} {places[0][1]}"
    height = places[0][1]
    for across, up in places[1:]:
        if up != height:
            path += f"H{across}V{up}"
            height = up
    return f"{path}H{places[-1][0]}"


def _legend(curve: Curve, number: int) -> Iterator[str]:
    up = _TOP + 12 + 20 * number
    if curve.shape == "dots":
        yield f'<circle class="{_class(number, "f")}" cx="{_RIGHT + 31}" cy="{up - 4}" r="5"/>'
    else:
        yield f'<path fill="none" stroke-width="2.5" {_stroke(number)} d="M{_RIGHT + 20} {up - 4}h22"/>'
    yield f'<text x="{_RIGHT + 50}" y="{up}">{escape(_shortened(curve.label))}</text>'


def _shortened(text: str) -> str:
    return text if len(text) <= _LEGEND_LETTERS else f"{text[: _LEGEND_LETTERS - 1]}…"


def _class(number: int, kind: str) -> str:
    return f"{kind}{number % len(_LIGHT)}"


def _stroke(number: int) -> str:
    dashes = _DASHES[number % len(_DASHES)]
    return f'class="{_class(number, "c")}"' + (f' stroke-dasharray="{dashes}"' if dashes else "")


def _across(x: Axis, value: float) -> float:
    return _LEFT + x.share(value) * (_RIGHT - _LEFT)


def _up(y: Axis, value: float) -> float:
    return _BOTTOM - y.share(value) * (_BOTTOM - _TOP)


def _coordinate(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
