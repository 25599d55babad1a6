"""Reading a scenario's file: its policies become complete scenarios, and recorded functions get their settings."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable
from typing import Final

import attrs

from fnd.dispatch import Limits
from fnd.errors import ConfigurationError
from fnd.simulation.arrivals import Number
from fnd.simulation.durations import Positive
from fnd.simulation.recording import Recording
from fnd.simulation.scenario import Function, Policy, Scenario
from fnd.simulation.structuring import DURATION_ALLOWED, Table, Tables, function_keys, structure, unknown_key

AS_GIVEN: Final = "as given"
"""The name of the only policy of a scenario that lists none."""
ANY: Final = "*"
"""The name of the function whose settings all recorded functions have that no other entry names."""


@attrs.frozen(kw_only=True)
class _File:
    """A scenario's file, its policies and functions still as they are written."""

    title: str = ""
    duration: Positive | None = None
    seed: int = 1
    machine: Table
    functions: Tables
    policies: Tables = attrs.field(factory=lambda: Tables([]))


def parse_scenario(
    text: str, name: str, source: str, *, recording: Recording | None = None, seed: int | None = None
) -> Scenario:
    """Read a scenario; `source` is what errors call it, and `seed`, if given, stands in the place of its own.

    With a recording, that is all that arrives; without a duration it then ends with the last recorded call. Raises
    ConfigurationError, which names the table and the key and says what is allowed.
    """
    try:
        document = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigurationError(f"{source} is nested too deeply") from error
    except ValueError as error:  # a TOMLDecodeError, or that of a number of thousands of digits
        raise ConfigurationError(f"{source} is not valid TOML: {error}") from error
    file = structure(document, _File, source)
    scenario = Scenario(
        name=name,
        title=file.title or name,
        duration=_duration(file, recording, source),
        seed=file.seed if seed is None else seed,
        policies=tuple(_policies(file, recording, source)),
        recording=recording,
    )
    _check_names(scenario, source)
    return scenario


# Policies.


def _policies(file: _File, recording: Recording | None, source: str) -> Iterable[Policy]:
    for number, table in enumerate(file.policies or [{"name": AS_GIVEN}], 1):
        where = f"{source}, [[policies]] {number}"
        overrides = dict(table)
        name = overrides.pop("name", None)
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"{where}: name must be text; every policy has one")
        machine = structure(overrides.pop("machine", {}), Table, where, "machine")
        allowed = {"machine", *function_keys()} - {"name", "count"}
        for key in overrides:
            if key not in allowed:
                raise ConfigurationError(f"{where}: {unknown_key(key, allowed)}")
        within = f"{source}, with policy {name!r}" if file.policies else source
        functions = [
            structure(function | overrides, Function, within, f"[[functions]] {index}")
            for index, function in enumerate(file.functions, 1)
        ]
        yield Policy(
            name=name,
            limits=structure(file.machine | machine, Limits, within, "[machine]"),
            functions=tuple(_recorded(functions, recording, source) if recording else functions),
        )


def _recorded(functions: list[Function], recording: Recording, source: str) -> Iterable[Function]:
    """Return the functions that are listed, then those that are recorded without that; only the recording calls."""
    known = {name: function for function in functions for name in function.names}
    others = known.pop(ANY, None)
    for name, function in known.items():
        yield attrs.evolve(function, name=name, count=Number(1), arrivals=())
    for name, first in recording.functions().items():
        if name in known:
            continue
        if others is None:
            raise ConfigurationError(
                f"{recording.source}, line {first.line}: {name!r} is not among the [[functions]] of {source}; "
                f'add it, or one with name = "{ANY}" that stands for all others'
            )
        yield attrs.evolve(others, name=name, count=Number(1), arrivals=())


# What no key can check alone.


def _duration(file: _File, recording: Recording | None, source: str) -> float:
    if file.duration is not None:
        return file.duration
    if recording is not None:
        return recording.duration
    raise ConfigurationError(f"{source}: duration is missing; it must be a number of seconds, more than 0")


def _check_names(scenario: Scenario, source: str) -> None:
    for what, names in (
        ("policies", [policy.name for policy in scenario.policies]),
        ("functions", [name for function in scenario.policies[0].functions for name in function.names]),
    ):
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise ConfigurationError(f"{source}: two [[{what}]] have the name {twice[0]!r}")
    if scenario.recording is not None:
        lacking = {function.name for policy in scenario.policies for function in policy.functions if not function.run}
        for call in scenario.recording.calls:
            if call.run is None and call.function in lacking:
                raise ConfigurationError(
                    f"{scenario.recording.source}, line {call.line}: no run, and {call.function!r} has none in {source}"
                )
        return
    for function in (function for policy in scenario.policies for function in policy.functions):
        if function.name == ANY:
            raise ConfigurationError(f'{source}: a function with name = "{ANY}" is for recordings; give --arrivals')
        if function.run is None:
            raise ConfigurationError(f"{source}: run of function {function.name!r} is missing; {DURATION_ALLOWED}")
