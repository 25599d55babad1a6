"""A scenario is run to its end, whatever happens in it and after it."""

from __future__ import annotations

import pytest

from tests.faults import __main__ as main
from tests.faults.places import ProcessPlace
from tests.faults.stage import Stage


class Unclean(ProcessPlace):
    def clean(self) -> None:
        raise LookupError("the other side is away")


async def _breaks(stage: Stage) -> None:
    raise ValueError("this is not a scenario")


async def _interrupted(stage: Stage) -> None:
    raise KeyboardInterrupt


async def _cannot(stage: Stage) -> None:
    pytest.skip("no such part")


def test_what_breaks_off_is_a_problem_and_so_is_what_cannot_be_cleaned_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "SCENARIOS", {"breaks": _breaks})
    result = main.run_scenario("breaks", Unclean(), 1, 0)
    assert result.verdict == "FAILED"
    first, second = result.problems
    assert "ValueError: this is not a scenario" in first
    assert "LookupError: the other side is away" in second


def test_what_lacks_a_part_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "SCENARIOS", {"cannot": _cannot})
    result = main.run_scenario("cannot", ProcessPlace(), 1, 0)
    assert (result.verdict, result.skipped) == ("skipped", "no such part")


def test_ctrl_c_gets_out_and_is_cleaned_up_after(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned = []
    monkeypatch.setattr(main, "SCENARIOS", {"interrupted": _interrupted})
    monkeypatch.setattr(ProcessPlace, "clean", lambda _: cleaned.append(True))
    with pytest.raises(KeyboardInterrupt):
        main.run_scenario("interrupted", ProcessPlace(), 1, 0)
    assert cleaned == [True]
