"""What came of a simulation, in numbers: for each policy, and for each function within it."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs

from fnd.dispatch import RejectReason, WaitReason
from fnd.simulation.scenario import Policy, Scenario
from fnd.simulation.tally import Tally
from fnd.simulation.virtual_shell import VirtualFunction, VirtualShell


@attrs.frozen(kw_only=True)
class Waits:
    """How long calls that got a container waited for it, in seconds; those that found an idle one, 0."""

    mean: float
    p50: float
    p95: float
    p99: float
    max: float


@attrs.frozen(kw_only=True)
class Figures:
    """The counts of one function, or of all together."""

    name: str
    calls: int
    """That came."""
    answered: int
    rejected: dict[str, int]
    """By reason."""
    cold_starts: int
    """Calls that waited and were the first of their container."""
    cold_share: float
    """Cold starts among answered calls, 0 to 1."""
    waited: int
    """Calls that found no idle container and got one later."""
    waited_for: dict[str, int]
    """What they waited for."""
    wait: Waits
    launches: int
    containers_peak: int
    """The most that reserved memory at once."""
    expired: int
    """Containers stopped after their idle time-out."""
    evicted: int
    """Idle containers stopped for the memory of others."""
    ended: int
    """Containers stopped as their call ended: given up for another function, of no help, or of a cold format."""
    memory_seconds: float
    """MiB × seconds reserved, from each launch until its memory was returned or the simulation ended."""
    idle_memory_seconds: float
    """Of these, what ready containers held while they ran nothing."""


@attrs.frozen(kw_only=True)
class Series:
    """Peaks over time: of each stretch of `width` seconds, the first of which begins at 0."""

    width: float
    containers: list[int]
    waiting: list[int]


@attrs.frozen(kw_only=True)
class PolicyReport:
    """What came of one policy."""

    name: str
    ended_at: float
    """When the last call was over, or the scenario's duration if that was later; virtual seconds."""
    total: Figures
    functions: list[Figures]
    series: Series
    waits: array[float] = attrs.field(repr=False)
    """Of all calls that waited, in ascending order: what the distribution is drawn from."""


@attrs.frozen(kw_only=True)
class Report:
    """What came of a scenario."""

    scenario: str
    title: str
    seed: int
    duration: float
    policies: list[PolicyReport]


def report_policy(policy: Policy, shell: VirtualShell) -> PolicyReport:
    """Return what a shell that has finished counted."""
    functions = list(shell.functions.values())
    waits = array("d", sorted(wait for function in functions for wait in function.tally.waits))
    # Asked for their values up to the same moment, both have the same width afterwards.
    containers, waiting = shell.containers.until(shell.now), shell.waiting.until(shell.now)
    return PolicyReport(
        name=policy.name,
        ended_at=shell.now,
        total=_total(shell, functions, waits),
        functions=[_figures(function) for function in functions],
        series=Series(width=shell.containers.width, containers=containers, waiting=waiting),
        waits=waits,
    )


def as_json(report: Report) -> dict[str, Any]:
    """Return the report for programs; docs/simulation.md has its fields."""
    return attrs.asdict(report, filter=lambda field, _: field.name != "waits")


def make_report(scenario: Scenario, policies: Sequence[PolicyReport]) -> Report:
    """Put the policies' reports together."""
    return Report(
        scenario=scenario.name,
        title=scenario.title,
        seed=scenario.seed,
        duration=scenario.duration,
        policies=list(policies),
    )


def quantile(ascending: Sequence[float], zeros: int, share: float) -> float:
    """Return the least value that so large a share of all are not above, `zeros` values of 0 coming before others."""
    total = zeros + len(ascending)
    index = math.ceil(share * total) - 1 - zeros
    return ascending[index] if index >= 0 else 0.0


def _figures(function: VirtualFunction) -> Figures:
    tally = function.tally
    memory = function.pool.memory
    return _made(
        function.name,
        [tally],
        sorted(tally.waits),
        tally.containers_peak,
        memory * tally.reserved_seconds,
        memory * tally.idle_seconds,
    )


def _total(shell: VirtualShell, functions: Sequence[VirtualFunction], waits: Sequence[float]) -> Figures:
    return _made(
        "",
        [function.tally for function in functions],
        waits,
        shell.containers.highest,
        math.fsum(function.pool.memory * function.tally.reserved_seconds for function in functions),
        math.fsum(function.pool.memory * function.tally.idle_seconds for function in functions),
    )


def _made(
    name: str, tallies: Sequence[Tally], waits: Sequence[float], peak: int, reserved: float, idle: float
) -> Figures:
    answered = sum(tally.answered for tally in tallies)
    cold = sum(tally.cold_starts for tally in tallies)
    rejected: Counter[RejectReason] = Counter()
    waited_for: Counter[WaitReason] = Counter()
    for tally in tallies:
        rejected.update(tally.rejected)
        waited_for.update(tally.waited_for)
    return Figures(
        name=name,
        calls=sum(tally.arrived for tally in tallies),
        answered=answered,
        rejected={reason.value: rejected[reason] for reason in RejectReason if rejected[reason]},
        cold_starts=cold,
        cold_share=cold / answered if answered else 0.0,
        waited=len(waits),
        waited_for={why.value: waited_for[why] for why in WaitReason if waited_for[why]},
        wait=_waits(waits, answered),
        launches=sum(tally.launches for tally in tallies),
        containers_peak=peak,
        expired=sum(tally.expired for tally in tallies),
        evicted=sum(tally.evicted for tally in tallies),
        ended=sum(tally.ended for tally in tallies),
        memory_seconds=reserved,
        idle_memory_seconds=idle,
    )


def _waits(ascending: Sequence[float], answered: int) -> Waits:
    zeros = answered - len(ascending)
    return Waits(
        mean=math.fsum(ascending) / answered if answered else 0.0,
        p50=quantile(ascending, zeros, 0.50),
        p95=quantile(ascending, zeros, 0.95),
        p99=quantile(ascending, zeros, 0.99),
        max=ascending[-1] if ascending else 0.0,
    )
