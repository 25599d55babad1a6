"""The figures as a table for a terminal, as Markdown for the documentation, as JSON for programs."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Final

import attrs
from rich.table import Table

from fnd import __version__
from tests.bench.figures import Figure

_BUSY_FROM: Final = 0.25


@attrs.frozen(kw_only=True)
class Machine:
    """What the figures were measured on and with."""

    processor: str
    cores: int
    memory: int
    """MiB."""
    system: str
    python: str
    trio: str
    load: float
    """How busy the machine was with other things when the run began: the one-minute load average."""

    def __str__(self) -> str:
        return (
            f"{self.cores} cores of {self.processor}, {self.memory / 1024:.0f} GiB, {self.system}, "
            f"Python {self.python}, trio {self.trio}, "
            f"load average {self.load:.1f} at the start"
            + ("; TOO BUSY for these figures to mean much" if self.busy else "")
        )

    @property
    def busy(self) -> bool:
        """Whether other programs had so much of the machine that the figures are theirs as well."""
        return self.load > _BUSY_FROM * self.cores


def machine() -> Machine:
    """Describe this machine, now."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        trio=version("trio"),
        load=os.getloadavg()[0],
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


@attrs.frozen(kw_only=True)
class Report:
    """One run."""

    machine: Machine
    command: str
    day: date
    figures: Sequence[Figure]

    @property
    def missed(self) -> Sequence[Figure]:
        """The figures that do not reach their targets."""
        return [figure for figure in self.figures if figure.met is False]


def value_text(figure: Figure) -> str:
    """Return a figure's value with its unit."""
    if figure.skipped:
        return "skipped"
    if math.isnan(figure.value):
        return "not measured"
    number = f"{figure.value:.2f}" if abs(figure.value) < 100 else f"{figure.value:,.0f}"
    return f"{number} {figure.unit}"


def target_text(figure: Figure) -> str:
    """Return a figure's target, "" if it has none."""
    return "" if figure.target is None else f"{figure.target.bound.value} {figure.target.limit:g} {figure.unit}"


def verdict(figure: Figure) -> str:
    """Return a word on whether the target is met."""
    return {None: "", True: "met", False: "MISSED"}[figure.met]


def terminal_table(report: Report) -> Table:
    """Return the figures for a terminal."""
    table = Table(title=f"fnd {__version__}", caption=str(report.machine))
    for heading in ("figure", "measured", "target", "", "made of"):
        table.add_column(heading, overflow="fold")
    for figure in report.figures:
        style = "red" if figure.met is False else None
        cells = (figure.name, value_text(figure), target_text(figure), verdict(figure), figure.detail)
        table.add_row(*cells, style=style)
    return table


def markdown(report: Report) -> str:
    """Return the figures as a section of documentation."""
    lines = [
        f"fnd {__version__}, {report.day.isoformat()}, `{report.command}`, on {report.machine}.",
        "",
        "| Figure | Measured | Target | | Made of |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {figure.name} | {value_text(figure)} | {target_text(figure)} | {verdict(figure)} | {figure.detail} |"
        for figure in report.figures
    ]
    return "\n".join(lines) + "\n"


BEGIN: Final = "<!-- figures: written by make bench -->"
END: Final = "<!-- end of figures -->"


def write_into(page: Path, section: str) -> None:
    """Replace what is between the marks in a page of documentation. Raises ValueError if it has none."""
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no {BEGIN} … {END} to write between")
    page.write_text(f"{before}{begin}\n{section}{end}{after}")


def to_json(report: Report) -> str:
    """Return all of it as JSON; what was not measured is null."""
    return json.dumps(
        {
            "version": __version__,
            "day": report.day.isoformat(),
            "command": report.command,
            "machine": attrs.asdict(report.machine),
            "figures": [
                {
                    "name": figure.name,
                    "value": None if math.isnan(figure.value) else figure.value,
                    "unit": figure.unit,
                    "target": None if figure.target is None else figure.target.limit,
                    "bound": None if figure.target is None else figure.target.bound.name.lower(),
                    "met": figure.met,
                    "skipped": figure.skipped,
                    "detail": figure.detail,
                }
                for figure in report.figures
            ],
        },
        indent=2,
        ensure_ascii=False,
    )
