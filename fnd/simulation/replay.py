"""One policy of a scenario, run: the arrivals, the functions and the machine put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from random import Random

from fnd.simulation.arrivals import Arrivals, Closed, moments
from fnd.simulation.durations import Duration, Sampler
from fnd.simulation.peaks import STRETCHES
from fnd.simulation.recording import Recording
from fnd.simulation.scenario import Function, Policy, Scenario
from fnd.simulation.virtual_shell import Arrival, Behaviour, VirtualFunction, VirtualShell

_TELLINGS = 200
"""How often the one who waits is told how far it is."""


def replay(scenario: Scenario, policy: Policy, tell: Callable[[float], None] = lambda share: None) -> VirtualShell:
    """Run the scenario by one of its policies, to the end of its last call, and return the shell for its counts.

    `tell` is told now and then how much of the scenario's time has passed, 0 to 1.
    """
    # The series begin so narrow that a tenth more than the duration fits before they are joined.
    shell = VirtualShell(policy.limits, max(scenario.duration, 1e-3) * 1.1 / STRETCHES)
    for function in policy.functions:
        for name in function.names:
            _add(shell, scenario, name, function)
    if scenario.recording is not None:
        functions = {function.name: function for function in shell.functions.values()}
        shell.feed(_recorded(scenario.recording, functions, scenario.duration))
    for part in range(1, _TELLINGS + 1):
        shell.advance(scenario.duration * part / _TELLINGS)
        tell(part / _TELLINGS)
    shell.finish()
    return shell


def _add(shell: VirtualShell, scenario: Scenario, name: str, function: Function) -> None:
    def chance(what: str) -> Random:
        # Each has its own, so that what a policy does to one leaves the others' chance alone.
        return Random(f"{scenario.seed} {name} {what}")  # noqa: S311 - no secret

    def sampler(what: str, duration: Duration) -> Sampler:
        return duration.sampler(chance(what))

    behaviour = Behaviour(
        start=sampler("start", function.start),
        stop=sampler("stop", function.stop),
        run_cpu=function.run_cpu,
        start_cpu=function.start_cpu,
    )
    if function.run is not None:
        behaviour.run = sampler("run", function.run)
    made = shell.function(name, behaviour, function.settings)
    for number, arrivals in enumerate(function.arrivals, 1):
        what = f"arrivals {number}"
        if isinstance(arrivals, Closed):
            think = None if arrivals.think is None else sampler(what, arrivals.think)
            _callers(shell, made, arrivals, think, scenario.duration)
        else:
            shell.feed(_generated(made, arrivals, chance(what), scenario.duration))


def _callers(
    shell: VirtualShell, function: VirtualFunction, arrivals: Closed, think: Sampler | None, duration: float
) -> None:
    end = duration if arrivals.end is None else min(arrivals.end, duration)
    shell.at(arrivals.begin, lambda _: shell.callers(function, arrivals.callers, end, think))


def _generated(function: VirtualFunction, arrivals: Arrivals, chance: Random, duration: float) -> Iterator[Arrival]:
    for moment in moments(arrivals, chance, duration):
        yield moment, function, None


def _recorded(recording: Recording, functions: Mapping[str, VirtualFunction], duration: float) -> Iterator[Arrival]:
    for call in recording.calls:
        if call.at > duration:
            return
        yield call.at, functions[call.function], call.run
