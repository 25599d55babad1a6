"""A value over time takes bounded space, and no peak is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fnd.simulation.peaks import STRETCHES, Peaks


def test_each_stretch_has_its_highest_value() -> None:
    peaks = Peaks(1.0)
    for now, value in ((0.2, 3), (0.4, 1), (2.5, 7), (2.6, 2), (4.0, 0)):
        peaks.note(value, now)
    assert peaks.until(5.5) == [3, 1, 7, 2, 2, 0]
    assert peaks.highest == 7


def test_stretches_are_joined_when_they_become_too_many() -> None:
    peaks = Peaks(1.0)
    peaks.note(9, 100.0)
    peaks.note(1, 101.0)
    values = peaks.until(2 * STRETCHES - 1.0)
    assert peaks.width == 2.0
    assert len(values) == STRETCHES
    assert values[49:52] == [0, 9, 1]


@given(st.lists(st.tuples(st.floats(0.0, 50.0), st.integers(0, 1000)), min_size=1, max_size=50))
def test_however_long_it_goes_on_the_peaks_are_those_of_the_values(changes: list[tuple[float, int]]) -> None:
    peaks = Peaks(0.01)
    now, noted = 0.0, []
    for pause, value in changes:
        now += pause
        peaks.note(value, now)
        noted.append((now, value))
    values = peaks.until(now)
    assert len(values) <= STRETCHES
    assert max(values) == max(value for _, value in noted)
    for moment, value in noted:
        assert values[int(moment / peaks.width)] >= value
