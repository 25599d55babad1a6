"""The report of a benchmark run."""

import json
import math
from datetime import date
from pathlib import Path

import attrs
import pytest

from tests.bench.figures import Figure, at_least, skipped
from tests.bench.report import BEGIN, END, Machine, Report, markdown, to_json, write_into

MACHINE = Machine(
    processor="A processor",
    cores=2,
    memory=24 * 1024,
    system="Linux 6",
    python="3.11.7",
    trio="0.30",
    load=0.1,
)
FIGURES = [
    Figure(name="reached", value=0.8, unit="×", target=at_least(0.75), detail="of this and that"),
    Figure(name="missed", value=0.5, unit="×", target=at_least(0.75)),
    Figure(name="broken", value=math.nan, unit="×", target=at_least(0.75)),
    Figure(name="told", value=1234.0, unit="ms"),
    skipped("lacking", "×", at_least(0.75), "no engine"),
]
REPORT = Report(machine=MACHINE, command="make bench", day=date(2026, 1, 2), figures=FIGURES)


def test_missed_are_the_figures_below_their_targets_and_those_not_measured() -> None:
    assert [figure.name for figure in REPORT.missed] == ["missed", "broken"]


def test_markdown_names_machine_day_and_command_and_has_a_row_for_each_figure() -> None:
    text = markdown(REPORT)
    assert "2026-01-02" in text
    assert "`make bench`" in text
    assert "A processor" in text
    assert "| reached | 0.80 × | ≥ 0.75 × | met | of this and that |" in text
    assert "| missed | 0.50 × | ≥ 0.75 × | MISSED |  |" in text
    assert "| broken | not measured |" in text
    assert "| told | 1,234 ms |  |  |  |" in text
    assert "| lacking | skipped | ≥ 0.75 × |  | no engine |" in text


def test_json_has_every_figure_and_null_for_what_was_not_measured() -> None:
    told = json.loads(to_json(REPORT))
    values = {figure["name"]: figure["value"] for figure in told["figures"]}
    assert values == {"reached": 0.8, "missed": 0.5, "broken": None, "told": 1234.0, "lacking": None}
    assert [figure["name"] for figure in told["figures"] if figure["skipped"]] == ["lacking"]
    assert told["figures"][0]["bound"] == "at_least"
    assert told["machine"]["cores"] == 2


def test_a_busy_machine_is_pointed_out() -> None:
    assert "TOO BUSY" not in str(MACHINE)
    busy = attrs.evolve(MACHINE, load=3.0)
    assert "TOO BUSY" in str(busy)


def test_a_page_is_changed_between_its_marks_alone(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nAfter\n")
    write_into(page, "new\n")
    assert page.read_text() == f"# Before\n\n{BEGIN}\nnew\n{END}\n\nAfter\n"


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("# A page\n")
    with pytest.raises(ValueError, match="no <!--"):
        write_into(page, "new\n")
    assert page.read_text() == "# A page\n"
