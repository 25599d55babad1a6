"""From TOML's tables to a scenario's classes, by cattrs: the classes' fields are the keys, with strict types.

A function's table holds its own fields and those of dispatch's PoolSettings side by side, and the machine's is
dispatch's Limits, so that a new setting there is a new key here.
"""

from __future__ import annotations

import difflib
import enum
import math
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
from fnd.simulation.scenario import Function

Table = NewType("Table", dict[str, Any])
"""A table, not looked into."""
Tables = NewType("Tables", list[dict[str, Any]])
"""One or more tables, not looked into."""

_Class = TypeVar("_Class")
_OneOfArrivals = NewType("_OneOfArrivals", object)


def function_keys() -> list[str]:
    """Return every key that a [[functions]] table may have."""
    own = [field.name for field in attrs.fields(Function) if field.name != "settings"]
    return [*own, *(field.name for field in attrs.fields(PoolSettings))]


def structure(table: Any, into: type[_Class], *where: str) -> _Class:
    """Make an object of a table; `where` leads to it in errors.

    Raises ConfigurationError for the first thing that is wrong, with the key and what it may be.
    """
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
        return path, unknown_key(min(error.extra_fields), allowed)
    if isinstance(error, KeyError):
        return path or str(error.args[0]), "it is missing"
    return path, str(error)


def unknown_key(key: str, allowed: Iterable[str]) -> str:
    """Return what to say of a key that there is not."""
    near = difflib.get_close_matches(key, allowed, n=1)
    hint = f"; do you mean {near[0]}?" if near else "."
    return f"there is no key {key!r}{hint} There may be: {', '.join(sorted(allowed))}"


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


def _text(value: Any, kind: Any) -> str:
    """Make text, or a member of a StrEnum, whose hook cattrs takes this for."""
    if issubclass(kind, enum.Enum):
        if value not in list(kind):
            raise ValueError(f"{value!r} must be one of {', '.join(repr(member.value) for member in kind)}")
    elif not isinstance(value, str):
        raise ValueError(f"{value!r} must be text")  # noqa: TRY004 - one kind of error for all wrong values
    text: str = kind(value)
    return text


DURATION_ALLOWED: Final = "it must be a number of seconds, more than 0, or a table with distribution = " + ", ".join(
    map(repr, DURATIONS)
)


def _duration_of(value: Any, _: Any) -> Any:
    if isinstance(value, dict):
        return _tagged(value, "distribution", DURATIONS)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{value!r} cannot be used: {DURATION_ALLOWED}")
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
        raise ValueError(unknown_key(unknown[0], function_keys()))
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
_converter.register_structure_hook(str, _text)
_converter.register_structure_hook(Table, _of_type(dict, "a table"))
_converter.register_structure_hook(Tables, _tables)
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
        concurrency=_one_or_more,
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
