"""`python -m tests.bench [ROW…]`: measure, print, and exit 1 if a target is missed."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.status import Status

from tests.bench import (
    calls,
    cold,
    crowd,
    decisions,
    docker,
    flood,
    formats,
    functions_known,
    latency,
    report,
    starting,
)
from tests.bench.figures import Figure
from tests.bench.stage import DISTINCT, Stage

ROWS: Final[Mapping[str, Callable[[Stage], list[Figure]]]] = {
    "calls": calls.measure,
    "latency": latency.measure,
    "formats": formats.measure,
    "starting": starting.measure,
    "cold": cold.measure,
    "crowd": crowd.measure,
    "flood": flood.measure,
    "decisions": decisions.measure,
    "functions": functions_known.measure,
    "docker": docker.measure,
}
"""In the order in which they are measured."""


@click.command()
@click.argument("rows", nargs=-1, type=click.Choice(list(ROWS)), metavar="[ROW]...")
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True, help="Alternations of each row.")
@click.option("--seconds", type=click.IntRange(1, 60), default=3, show_default=True, help="Length of one load.")
@click.option(
    "--distinct",
    type=click.IntRange(1, 10_000),
    default=DISTINCT,
    show_default=True,
    help="Distinct cold functions that are called at once.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to a file, too.")
@click.option("--write", "page", type=click.Path(path_type=Path, exists=True), help="Bring a page of docs up to date.")
def main(
    rows: tuple[str, ...], rounds: int, seconds: int, distinct: int, json_file: Path | None, page: Path | None
) -> None:
    """Measure fnd beside a bare trio + httptools reverse proxy, on this machine, in this run.

    ROW is one of: calls, latency, formats, starting, cold, crowd, flood, decisions, functions, docker. Without any, it
    is all.
    """
    machine = report.machine()
    errors = Console(stderr=True)
    figures: list[Figure] = []
    # Short, because the paths of functions' sockets lie within.
    with (
        tempfile.TemporaryDirectory(prefix="fndb") as directory,
        errors.status("starting") as status,
        Stage(Path(directory), rounds, seconds, partial(_say, errors, status), distinct) as stage,
    ):
        for row in rows or ROWS:
            figures += ROWS[row](stage)
    done = report.Report(
        machine=machine,
        command=" ".join(["python -m tests.bench", *sys.argv[1:]]),
        day=datetime.now(UTC).date(),
        figures=figures,
    )
    Console().print(report.terminal_table(done))
    if json_file is not None:
        json_file.write_text(report.to_json(done) + "\n")
    if page is not None:
        report.write_into(page, report.markdown(done))
    sys.exit(1 if done.missed else 0)


def _say(errors: Console, status: Status, line: str) -> None:
    """Tell how far the run has come: in one line that changes, or, where that cannot be, in one after the other."""
    if errors.is_terminal:
        status.update(line)
    else:
        errors.print(line)


if __name__ == "__main__":
    main()
