"""Reading a scenario from TOML: what is unknown, of another type or missing is one line that says where.

The classes of a scenario are the format. cattrs makes them of tables by their fields, those of dispatch's settings
among them, so that a new setting of a pool or of the machine is a new key here.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NewType, TypeVar

import attrs
from cattrs import (
    AttributeValidationNote,
    BaseValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, override

from fnd.dispatch import Limits, PoolSettings
from fnd.errors import ConfigurationError
from fnd.model import DEFAULT_IDLE_TIMEOUT, DEFAULT_MEMORY
from fnd.simulation.arrivals import ARRIVALS, Number, Share
from fnd.simulation.durations import DURATIONS, Constant, Duration, Positive
from fnd.simulation.recording import Recording
from fnd.simulation.scenario import Function, Policy, Scenario

AS_GIVEN: Final = "as given"
"""The name of the only policy of a scenario that lists none."""
ANY: Final = "*"
"""The name of the function whose settings all recorded functions have that no other entry names."""

_Class = TypeVar("_Class")
_Table = NewType("_Table", dict[str, Any])
_Tables = NewType("_Tables", list[dict[str, Any]])
_OneOfArrivals = NewType("_OneOfArrivals", object)


@attrs.frozen(kw_only=True)
class _File:
    """A scenario's file, its policies and functions still as they are written."""

    title: str = ""
    duration: Positive | None = None
    seed: int = 1
    machine: _Table
    functions: _Tables
    policies: _Tables = attrs.field(factory=lambda: _Tables([]))


def parse_scenario(
    text: str, name: str, source: str, *, recording: Recording | None = None, seed: int | None = None
) -> Scenario:
    """Read a scenario; `source` is what errors call it, and `seed`, if given, stands in the place of its own.

    With a recording, that is all that arrives; without a duration it then ends with the last recorded call. Raises
    ConfigurationError, which names the table and the key and says what is allowed.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{source} is not valid TOML: {error}") from error
    file = _structure(document, _File, source)
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


def function_keys() -> list[str]:
    """Return every key that a [[functions]] table may have."""
    own = [field.name for field in attrs.fields(Function) if field.name != "settings"]
    return [*own, *(field.name for field in attrs.fields(PoolSettings))]


# Policies.


def _policies(file: _File, recording: Recording | None, source: str) -> Iterable[Policy]:
    for number, table in enumerate(file.policies or [{"name": AS_GIVEN}], 1):
        where = f"{source}, [[policies]] {number}"
        overrides = dict(table)
        name = overrides.pop("name", None)
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"{where}: name must be text; every policy has one")
        machine = _structure(overrides.pop("machine", {}), _Table, where, "machine")
        allowed = {"machine", *function_keys()} - {"name", "count"}
        for key in overrides:
            if key not in allowed:
                raise ConfigurationError(f"{where}: {_unknown(key, allowed)}")
        within = f"{source}, with policy {name!r}" if file.policies else source
        functions = [
            _structure(table | overrides, Function, within, f"[[functions]] {index}")
            for index, table in enumerate(file.functions, 1)
        ]
        yield Policy(
            name=name,
            limits=_structure(file.machine | machine, Limits, within, "[machine]"),
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
            raise ConfigurationError(f"{source}: run of function {function.name!r} is missing; {_DURATION_ALLOWED}")


# From tables to classes.


def _structure(table: Any, into: type[_Class], *where: str) -> _Class:
    try:
        return _converter.structure(table, into)
    except (BaseValidationError, ForbiddenExtraKeysError, KeyError, ValueError, TypeError) as error:
        path, message = _first(error)
        place = ", ".join([*where, *([path] if path else [])])
        raise ConfigurationError(f"{place}: {message}") from error


def _first(error: BaseException, path: str = "") -> tuple[str, str]:
    """Return where the first error of those that cattrs found is, and what it says."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            path = f"{path}.{note.name}" if path else note.name
        elif isinstance(note, IterableValidationNote):
            path = f"{path}[{note.index}]"
    if isinstance(error, BaseExceptionGroup):
        # A misspelt key first: what it was meant to be is missing for that alone.
        misspelt = [one for one in error.exceptions if isinstance(one, ForbiddenExtraKeysError)]
        return _first((misspelt or error.exceptions)[0], path)
    if isinstance(error, ForbiddenExtraKeysError):
        allowed = {field.name for field in attrs.fields(error.cl)}
        return path, _unknown(min(error.extra_fields), allowed)
    if isinstance(error, KeyError):
        return path or str(error.args[0]), "it is missing"
    return path, str(error)


def _unknown(key: str, allowed: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, allowed, n=1)
    hint = f"; do you mean {near[0]}?" if near else ""
    return f"there is no key {key!r}{hint} There may be: {', '.join(sorted(allowed))}".replace("? There", "? There")


def _number(allowed: str, fits: Callable[[float], bool]) -> Callable[[Any, Any], float]:
    def structure(value: Any, _: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"{value!r} must be {allowed}")
        if not fits(value):
            raise ValueError(f"{value!r} must be {allowed}")
        return float(value)

    return structure


def _whole(least: int) -> Callable[[Any, Any], int]:
    def structure(value: Any, _: Any) -> int:
        if type(value) is not int or value < least:
            raise ValueError(f"{value!r} must be a whole number, {least} or more")
        return value

    return structure


def _tables(value: Any, _: Any) -> Any:
    if not isinstance(value, list) or not value or not all(isinstance(table, dict) for table in value):
        raise ValueError("there may be several, so each is a table in double brackets, [[…]]")
    return value


def _of_type(kind: type, allowed: str) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, kind):
            raise ValueError(f"{value!r} must be {allowed}")  # noqa: TRY004 - one kind of error for all wrong values
        return value

    return structure


_DURATION_ALLOWED: Final = "it must be a number of seconds, more than 0, or a table with distribution = " + ", ".join(
    map(repr, DURATIONS)
)


def _duration_of(value: Any, _: Any) -> Any:
    if isinstance(value, dict):
        return _tagged(value, "distribution", DURATIONS)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{value!r} cannot be used: {_DURATION_ALLOWED}")
    return Constant(seconds=Positive(float(value)))


def _arrivals_of(value: Any, _: Any) -> tuple[Any, ...]:
    if isinstance(value, list):
        return _converter.structure(value, tuple[_OneOfArrivals, ...])
    return (_one_of_arrivals(value, None),)


def _one_of_arrivals(value: Any, _: Any) -> Any:
    if not isinstance(value, dict):
        kinds = ", ".join(map(repr, ARRIVALS))
        raise ValueError(f"{value!r} must be a table with kind = {kinds}, or a list of such")  # noqa: TRY004
    return _tagged(value, "kind", ARRIVALS)


def _tagged(table: Mapping[str, Any], tag: str, classes: Mapping[str, type[Any]]) -> Any:
    """Make the class that the table's `tag` names of the rest of the table."""
    fields = dict(table)
    name = fields.pop(tag, None)
    if not isinstance(name, str) or name not in classes:
        raise ValueError(f"{tag} = {name!r} must be one of {', '.join(map(repr, classes))}")
    return _converter.structure(fields, classes[name])


def _function_of(table: Any, _: Any) -> Function:
    """Make a function of a table in which the pool's settings stand beside its other keys."""
    if unknown := sorted(set(table) - set(function_keys())):
        raise ValueError(_unknown(unknown[0], function_keys()))
    own = {field.name for field in attrs.fields(Function)}
    settings: dict[str, Any] = {"memory": DEFAULT_MEMORY, "idle_timeout": DEFAULT_IDLE_TIMEOUT}
    settings |= {key: value for key, value in table.items() if key not in own}
    function: Function = _structure_function(
        {key: value for key, value in table.items() if key in own}
        | {"settings": _converter.structure(settings, PoolSettings)},
        Function,
    )
    return function


_converter: Final = Converter(forbid_extra_keys=True)
_converter.register_structure_hook(float, _number("a number, 0 or more", lambda value: value >= 0))
_converter.register_structure_hook(int, _whole(0))
_converter.register_structure_hook(bool, _of_type(bool, "true or false"))
_converter.register_structure_hook(str, _of_type(str, "text"))
_converter.register_structure_hook(_Table, _of_type(dict, "a table"))
_converter.register_structure_hook(_Tables, _tables)
_converter.register_structure_hook(_OneOfArrivals, _one_of_arrivals)
_converter.register_structure_hook(Positive, _number("a number, more than 0", lambda value: value > 0))
_converter.register_structure_hook(Share, _number("a number from 0 to 1", lambda value: 0 <= value <= 1))
_converter.register_structure_hook(Number, _whole(1))
_converter.register_structure_hook_func(lambda kind: kind is Duration, _duration_of)
_one_or_more: Final = override(struct_hook=_whole(1))
_converter.register_structure_hook(
    Limits,
    make_dict_structure_fn(Limits, _converter, memory=_one_or_more, cores=_one_or_more, launch_attempts=_one_or_more),
)
_converter.register_structure_hook(
    PoolSettings,
    make_dict_structure_fn(
        PoolSettings,
        _converter,
        memory=_one_or_more,
        max_containers=_one_or_more,
        # A container that expires the moment it is idle could not be one that is kept warm.
        idle_timeout=override(struct_hook=_number("a number of seconds, more than 0", lambda value: value > 0)),
    ),
)
_structure_function: Final = make_dict_structure_fn(
    Function,
    _converter,
    settings=override(struct_hook=lambda value, _: value),
    arrivals=override(struct_hook=_arrivals_of),
)
_converter.register_structure_hook(Function, _function_of)
