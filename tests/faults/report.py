"""The counts as tables for a terminal, and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

import attrs
from rich.console import Group
from rich.table import Table
from rich.text import Text

from fnd import __version__
from tests.bench.report import Machine
from tests.faults.result import Result

_KINDS = ("processes", "containers", "cgroups", "directories", "sockets")


def left_text(result: Result) -> str:
    """Return how much of each kind is left, in the order of the table's heading."""
    counts = result.left.counts() if result.left is not None else {}
    descriptors = "–" if result.descriptors is None else str(result.descriptors.leaked)
    return " ".join([*(str(counts.get(kind, "–")) for kind in _KINDS), descriptors])


def terminal(results: Sequence[Result], machine: Machine) -> Group:
    """Return a table of the counts, and under it what was seen and what is wrong."""
    table = Table(title=f"fnd {__version__}: faults", caption=f"* {', '.join((*_KINDS, 'descriptors'))}\n{machine}")
    for heading in ("scenario", "driver", "sent", "answered", "failed"):
        table.add_column(heading)
    table.add_column("left*")
    table.add_column("")
    lines = Text()
    for result in results:
        calls = result.calls
        cells = [f"{calls.sent:,}", f"{calls.answered:,}", f"{len(calls.failures):,}", left_text(result)]
        if result.skipped:
            cells = ["", "", "", result.skipped]
        style = {"FAILED": "red", "skipped": "yellow"}.get(result.verdict)
        table.add_row(result.scenario, result.driver, *cells, result.verdict, style=style)
        lines.append(f"{result.scenario}, {result.driver}, {result.seconds:.0f} s\n", style="bold")
        for fact in result.facts:
            lines.append(f"  {fact}\n")
        for (status, why), count in calls.reasons().most_common():
            lines.append(f"  failed: {count} × {status or 'no answer'}: {why}\n")
        for problem in result.problems:
            lines.append(f"  WRONG: {problem}\n", style="red")
    return Group(lines, table)


def to_json(results: Sequence[Result], machine: Machine) -> str:
    """Return all of it as JSON."""
    return json.dumps(
        {
            "version": __version__,
            "machine": attrs.asdict(machine),
            "results": [
                {
                    "scenario": result.scenario,
                    "driver": result.driver,
                    "verdict": result.verdict.lower(),
                    "skipped": result.skipped,
                    "seconds": round(result.seconds, 1),
                    "sent": result.calls.sent,
                    "answered": result.calls.answered,
                    "failed": [
                        {"status": status or None, "why": why, "count": count}
                        for (status, why), count in result.calls.reasons().most_common()
                    ],
                    "left": None if result.left is None else result.left.counts(),
                    "descriptors": None if result.descriptors is None else attrs.asdict(result.descriptors),
                    "facts": result.facts,
                    "problems": result.problems,
                }
                for result in results
            ],
        },
        indent=2,
        ensure_ascii=False,
    )
