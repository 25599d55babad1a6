"""`python -m tests.faults`: make things go wrong, count, and exit 1 if anything leaked or failed that should not."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
import pytest
import trio
from rich.console import Console

from tests.bench.report import machine
from tests.faults import clock, daemon_killed, descriptors, disk, engine_trouble, hostile, kills, report
from tests.faults.places import Place, place
from tests.faults.result import Result
from tests.faults.stage import Stage

Scenario = Callable[[Stage], Awaitable[None]]
SCENARIOS: Final[Mapping[str, Scenario]] = {
    "kill": kills.kill_containers,
    "daemon": daemon_killed.kill_daemon,
    "engine": engine_trouble.trouble_engine,
    "disk": disk.fill_disk,
    "descriptors": descriptors.exhaust_descriptors,
    "clock": clock.jump_clock,
    "forks": hostile.bomb,
    "memory": hostile.eat,
    "output": hostile.talk,
    "frames": hostile.lie,
    "links": hostile.link_out,
    "children": hostile.outlive,
}
"""In the order in which they are run."""
ONE_DRIVER: Final[Mapping[str, str]] = {"engine": "docker"}
"""Scenarios that only one driver can have."""
DRIVERS: Final = ("process", "docker")
_LINES_OF_TRACEBACK: Final = 12
_INTERRUPTED: Final = 130
"""As shells say of what Ctrl-C has ended."""


def run_scenario(name: str, where: Place, seconds: float, seed: int, logs: Path | None = None) -> Result:
    """Run one scenario with one driver to its end, whatever happens; nothing it raises gets out.

    The log of its last daemon is kept in the directory `logs`.
    """
    result = Result(name, where.name)
    started = time.monotonic()
    # Short, because the paths of functions' sockets lie within.
    with tempfile.TemporaryDirectory(prefix="fndf") as directory:
        Path(directory).chmod(0o755)  # for functions' users
        stage = Stage(where, Path(directory), seconds, random.Random(f"{seed} {name}"), result)
        try:
            with _noting(result):
                trio.run(SCENARIOS[name], stage)
        finally:
            with _noting(result):
                stage.note_left()
            if logs is not None and stage.daemon is not None:
                logs.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(stage.daemon.directory / "daemon.log", logs / f"{name}-{where.name}.log")
    result.seconds = time.monotonic() - started
    return result


@contextmanager
def _noting(result: Result) -> Iterator[None]:
    """Take down what a scenario is ended by, and go on."""
    try:
        yield
    except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:
        _note(result, error)


def _note(result: Result, error: BaseException) -> None:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, pytest.skip.Exception):
        result.skipped = str(error)
    else:
        told = "".join(traceback.format_exception(error)).strip().splitlines()
        result.broke_off = True
        result.problems.append("\n".join(["it broke off:", *told[-_LINES_OF_TRACEBACK:]]))


@click.command()
@click.option(
    "--only", "names", multiple=True, type=click.Choice(list(SCENARIOS)), help="Of the scenarios, only these."
)
@click.option("--driver", "drivers", multiple=True, type=click.Choice(DRIVERS), help="Only these drivers.")
@click.option(
    "--seconds", type=click.FloatRange(1, 3600), default=10, show_default=True, help="Length of what can be long."
)
@click.option("--seed", type=int, help="Of what is left to chance; told at the end, if not given.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the counts to a file, too.")
@click.option("--logs", type=click.Path(path_type=Path), help="Keep each scenario's last daemon's log in a directory.")
def main(
    names: tuple[str, ...],
    drivers: tuple[str, ...],
    seconds: float,
    seed: int | None,
    json_file: Path | None,
    logs: Path | None,
) -> None:
    """Make everything go wrong that can on a machine, while functions are called; count what fails and what is left.

    Exits with 1 if a call failed that should not have, or anything was left. Ctrl-C ends all that was started; what had
    been counted by then is shown.
    """
    seed = random.randrange(1 << 32) if seed is None else seed
    on = machine()
    progress = Console(stderr=True)
    results: list[Result] = []
    interrupted = False
    try:
        for driver in drivers or DRIVERS:
            wanted = [name for name in names or SCENARIOS if ONE_DRIVER.get(name, driver) == driver]
            try:
                with place(driver) as where:
                    for name in wanted:
                        with progress.status(f"{name}, {driver}"):
                            results.append(run_scenario(name, where, seconds, seed, logs))
                        progress.print(f"{name}, {driver}: {results[-1].verdict}, {results[-1].seconds:.0f} s")
            except pytest.skip.Exception as skipped:
                results += [Result(name, driver, skipped=str(skipped)) for name in wanted]
    except* KeyboardInterrupt:  # alone, or in the group of a nursery; all that was started has been ended
        interrupted = True
    Console().print(report.terminal(results, on))
    if interrupted:
        Console().print("interrupted; these are the scenarios that had ended", style="yellow")
    Console().print(f"--seed {seed}")
    if json_file is not None:
        json_file.write_text(report.to_json(results, on) + "\n")
    if interrupted:
        sys.exit(_INTERRUPTED)
    sys.exit(1 if any(result.problems for result in results) else 0)


if __name__ == "__main__":
    main()
