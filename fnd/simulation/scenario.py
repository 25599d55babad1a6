"""A scenario: the machine, its functions and who calls them, once for each policy that is to be compared."""

from __future__ import annotations

from typing import Final

import attrs

from fnd.dispatch import Limits, PoolSettings
from fnd.simulation.arrivals import Arrivals, Closed, Number
from fnd.simulation.durations import Constant, Duration, Positive
from fnd.simulation.recording import Recording

_ONE: Final = Number(1)
_START: Final = Constant(seconds=Positive(0.1))
_STOP: Final = Constant(seconds=Positive(0.02))


@attrs.frozen(kw_only=True)
class Function:
    """One function, or `count` alike: what its containers are, how they behave, and who calls."""

    name: str
    settings: PoolSettings
    """In a scenario's file the fields of this one stand beside the others."""
    run: Duration | None = None
    """What a call takes alone on a core; None: recorded calls say it."""
    start: Duration = _START
    """From a launch until the container is ready."""
    stop: Duration = _STOP
    """From the decision to stop a container until its memory is returned."""
    run_cpu: float = 0.0
    """How much of a core a run needs: with more of that than cores, all runs that need any stretch."""
    start_cpu: float = 0.0
    """The same for a start."""
    arrivals: tuple[Arrivals | Closed, ...] = ()
    count: Number = _ONE
    """So many functions like this, called `name-1`, `name-2`, … if they are more than one."""

    @property
    def names(self) -> list[str]:
        """What the functions are called."""
        if self.count == 1:
            return [self.name]
        return [f"{self.name}-{number}" for number in range(1, self.count + 1)]


@attrs.frozen(kw_only=True)
class Policy:
    """One way to run the scenario, complete: the machine and the functions with the policy's own settings."""

    name: str
    limits: Limits
    functions: tuple[Function, ...]


@attrs.frozen(kw_only=True)
class Scenario:
    """What is simulated."""

    name: str
    title: str
    """One line for a person."""
    duration: float
    """Seconds during which calls come; those that wait or run by then are simulated to their end."""
    seed: int
    """Of all chance. Policies are given the very same arrivals, and runs as long, as far as callers do not wait."""
    policies: tuple[Policy, ...]
    """At least one; their functions have the same names."""
    recording: Recording | None = None
    """If there is one, it is all that arrives."""
