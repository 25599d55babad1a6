"""`fnd simulate`: what the dispatcher would do with given arrivals, under several policies, without a daemon."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs
import click
from rich.console import Group, RenderableType
from rich.text import Text

from fnd.cli.exits import BadUsage
from fnd.cli.output import JSON, duration, output_option, stdout, table, write_json
from fnd.cli.progress import Progress
from fnd.simulation.catalogue import built_in, find_scenario
from fnd.simulation.plot import blocks, plots
from fnd.simulation.recording import Recording, read_recording
from fnd.simulation.replay import replay
from fnd.simulation.report import Figures, PolicyReport, Report, as_json, make_report, report_policy
from fnd.simulation.scenario import Policy, Scenario
from fnd.simulation.scenario_file import parse_scenario

_TELL_AFTER: Final = 1.0
"""Seconds of work before anything is said of it."""
_TELL_EVERY: Final = 5.0
"""Seconds from then on between two lines."""
_LINES_UNTOLD: Final = 10_000
_MOST_FUNCTIONS: Final = 10
"""Functions of a policy in a table; JSON has all."""
_MOST_BLOCKS: Final = 72
"""Columns of the longest policy's series, at most,"""
_FEWEST_BLOCKS: Final = 20
"""and at least, on a narrow terminal."""
_BESIDE_BLOCKS: Final = 24
"""Columns beside them and the policies' names."""


@click.command
@click.argument("scenario", required=False)
@click.option(
    "--arrivals",
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Replay these recorded calls (CSV or JSON lines; - is standard input) in the place of generated ones.",
)
@click.option("--policy", "only", multiple=True, metavar="NAME", help="Run this policy alone; repeatable.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Another chance than the scenario's.")
@click.option(
    "--plot",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIRECTORY",
    help="Write plots there, as SVG.",
)
@click.option("--list", "listing", is_flag=True, help="List the scenarios that come with fnd.")
@click.option("--json", "as_json_too", is_flag=True, help="The same as --output json.")
@output_option
def simulate(
    scenario: str | None,
    arrivals: str | None,
    only: tuple[str, ...],
    seed: int | None,
    directory: Path | None,
    listing: bool,
    as_json_too: bool,
    output: str,
) -> None:
    """Replay arrivals through the dispatcher under virtual time, and compare policies.

    SCENARIO is a TOML file, or the name of a scenario that comes with fnd. It says which machine there is, which
    functions, and who calls them when; each of its policies changes some settings. What decides is the very code
    that the daemon runs, so that an hour of arrivals shows in a second how many calls would have found no warm
    container, how long they would have waited, and what keeping containers would have cost. No daemon is needed.

    \b
    Examples:
      fnd simulate --list                               what comes with fnd
      fnd simulate keep-alive                           idle time-outs compared
      fnd simulate keep-alive --policy "60 s" --json    one of them, for a program
      fnd simulate herd --plot plots                    pictures, as plots/herd-*.svg
      fnd simulate mine.toml --arrivals calls.jsonl     your functions and recorded calls

    The same scenario and seed give the same output. docs/simulation.md has every key of the file.
    """
    as_json_wanted = as_json_too or output == JSON
    if listing:
        _list(as_json_wanted)
        return
    if scenario is None:
        raise BadUsage("Which scenario? Name a file, or one that comes with fnd: fnd simulate --list")
    teller = _Teller(Progress())
    report = _simulate(_load(scenario, arrivals, seed, teller), only, teller)
    if directory is not None:
        _write_plots(report, directory)
    if as_json_wanted:
        write_json(as_json(report))
    else:
        console = stdout()
        console.print(_for_people(report, console.width))


def _list(as_json_wanted: bool) -> None:
    scenarios = built_in()
    if as_json_wanted:
        write_json([{"name": name, "title": title} for name, title in scenarios.items()])
    else:
        stdout().print(table(["SCENARIO", ""], scenarios.items()))


def _load(named: str, arrivals: str | None, seed: int | None, teller: _Teller) -> Scenario:
    written = find_scenario(named)
    recording = None if arrivals is None else _recording(arrivals, teller)
    return parse_scenario(written.text, written.name, written.source, recording=recording, seed=seed)


def _recording(path: str, teller: _Teller) -> Recording:
    try:
        if path == "-":
            path = "standard input"
            return read_recording(_read(sys.stdin, path, teller), path)
        with Path(path).open(encoding="utf-8", newline="") as file:
            return read_recording(_read(file, path, teller), path)
    except UnicodeDecodeError as error:
        raise BadUsage(f"{path} is not UTF-8: {error}") from error
    except OSError as error:
        raise BadUsage(f"{path} cannot be read: {error.strerror}") from error


def _read(lines: Iterable[str], source: str, teller: _Teller) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        yield line
        if number % _LINES_UNTOLD == 0:
            teller.tell(f"{source}: {number:,} lines read")


def _simulate(scenario: Scenario, only: Sequence[str], teller: _Teller) -> Report:
    names = [policy.name for policy in scenario.policies]
    if unknown := [name for name in only if name not in names]:
        raise BadUsage(f"There is no policy {unknown[0]!r} in {scenario.name}; it has {', '.join(map(repr, names))}")
    chosen = [policy for policy in scenario.policies if not only or policy.name in only]
    reports = []
    for number, policy in enumerate(chosen, 1):
        doing = f"{policy.name} ({number} of {len(chosen)})"
        reports.append(_run(scenario, policy, doing, teller))
    return make_report(scenario, reports)


def _run(scenario: Scenario, policy: Policy, doing: str, teller: _Teller) -> PolicyReport:
    shell = replay(scenario, policy, lambda share: teller.tell(f"{doing}: {share:.0%}"))
    return report_policy(policy, shell)


@attrs.define
class _Teller:
    """Tells how far all of it is, if it takes long enough for anybody to wonder."""

    progress: Progress
    due: float = attrs.field(factory=lambda: time.monotonic() + _TELL_AFTER)

    def tell(self, how_far: str) -> None:
        """Tell this, unless something was told not long ago."""
        now = time.monotonic()
        if now >= self.due:
            self.due = now + _TELL_EVERY
            self.progress.say(how_far)


def _write_plots(report: Report, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, svg in plots(report):
        (directory / f"{report.scenario}-{name}.svg").write_text(svg, encoding="utf-8")


# For people.


def _for_people(report: Report, width: int) -> Group:
    parts: list[RenderableType] = [
        Text(f"{report.title} (seed {report.seed}, {duration(report.duration)} of arrivals)\n"),
        *_tables("POLICY", [(policy.name, policy.total) for policy in report.policies]),
    ]
    for policy in report.policies:
        if len(policy.functions) > 1:
            parts += _functions(policy)
    return Group(*parts, _over_time(report, width))


def _functions(policy: PolicyReport) -> Iterable[RenderableType]:
    dearest = sorted(policy.functions, key=lambda figures: -figures.memory_seconds)[:_MOST_FUNCTIONS]
    yield from _tables(f"{policy.name}: FUNCTION", [(figures.name, figures) for figures in dearest])
    if left := len(policy.functions) - len(dearest):
        yield Text(f"… and {left} more that reserve less memory; --json has them all\n", "dim")


def _tables(what: str, rows: Sequence[tuple[str, Figures]]) -> Iterable[RenderableType]:
    """Yield what became of calls, and what of containers: two tables, so that each fits most terminals."""
    calls = [what, "CALLS", "REJECTED", "COLD", "SHARE", "WAIT P50", "P95", "P99", "MAX"]
    yield table(calls, (_calls(name, figures) for name, figures in rows), right=calls[1:])
    yield Text("")
    containers = [what, "LAUNCHES", "PEAK", "EXPIRED", "EVICTED", "ENDED", "GiB·h", "IDLE"]
    yield table(containers, (_containers(name, figures) for name, figures in rows), right=containers[1:])
    yield Text("")


def _calls(name: str, figures: Figures) -> list[object]:
    wait = figures.wait
    return [
        name,
        figures.calls,
        ", ".join(f"{count} {reason}" for reason, count in figures.rejected.items()) or 0,
        figures.cold_starts,
        f"{figures.cold_share:.2%}",
        *(duration(seconds) for seconds in (wait.p50, wait.p95, wait.p99, wait.max)),
    ]


def _containers(name: str, figures: Figures) -> list[object]:
    reserved = figures.memory_seconds
    return [
        name,
        figures.launches,
        figures.containers_peak,
        figures.expired,
        figures.evicted,
        figures.ended,
        f"{reserved / 1024 / 3600:.3g}",
        f"{figures.idle_memory_seconds / reserved:.0%}" if reserved else "",
    ]


def _over_time(report: Report, width: int) -> RenderableType:
    longest = max(policy.ended_at for policy in report.policies)
    names = max(len(policy.name) for policy in report.policies)
    most = max(_FEWEST_BLOCKS, min(_MOST_BLOCKS, width - names - _BESIDE_BLOCKS))
    rows = []
    for policy in report.policies:
        columns = max(1, round(most * policy.ended_at / longest)) if longest else 1
        for what, values in (("containers", policy.series.containers), ("waiting", policy.series.waiting)):
            name = policy.name if what == "containers" else ""
            rows.append([name, what, max(values), Text(blocks(values, columns))])
    return table(["OVER TIME", "", "PEAK", f"0 to {duration(longest)}"], rows, right=["PEAK"])
