"""A plugin's table [plugins.NAME]: an attrs class whose fields each say what they take, read with every value checked.

    @attrs.frozen(kw_only=True)
    class MySettings:
        pids: int = attrs.field(default=50, metadata=whole(1, 1000))

    settings = read("mine", MySettings, context.settings)

Values come from TOML, where a number is no text; the daemon's own settings, which also come from flags and the
environment, are read by `fnd.setting_kinds`. Given out to plugins by `fnd.hookspecs`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import attrs

from fnd.errors import ConfigurationError

T = TypeVar("T")
_CHECK: Final = "fnd.plugin_settings"
_Check: TypeAlias = Callable[[Any], Any]
"""Returns the value as it is to be used. Raises ValueError, which says what it must be."""
Metadata: TypeAlias = Mapping[str, _Check]


def read(plugin: str, kind: type[T], table: Mapping[str, Any]) -> T:
    """Return what a plugin's table gives, and defaults for the rest. Raises ConfigurationError, naming the setting.

    `kind` is an attrs class all of whose fields have a default; these are checked as values are, since they may come
    from the environment.
    """
    fields = attrs.fields_dict(kind)  # type: ignore[arg-type]
    for name in table:
        if name not in fields:
            raise ConfigurationError(f"plugins.{plugin}.{name} is no setting; known are {', '.join(sorted(fields))}")
    given = kind(**table)
    checked = {}
    for name, field in fields.items():
        value = getattr(given, name)
        try:
            checked[name] = field.metadata[_CHECK](value)
        except ValueError as error:
            raise ConfigurationError(f"plugins.{plugin}.{name} must be {error}, not {value!r}") from error
    return kind(**checked)


def whole(least: int, most: int) -> Metadata:
    """Take a whole number within bounds."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return value

    return {_CHECK: check}


def seconds(most: float) -> Metadata:
    """Take a time."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise ValueError(f"seconds from 0 to {most:g}")
        return float(value)

    return {_CHECK: check}


def switch() -> Metadata:
    """Take true or false."""

    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError("true or false")  # noqa: TRY004 (it becomes a ConfigurationError)
        return value

    return {_CHECK: check}


def choice(*words: str) -> Metadata:
    """Take one of two or more words."""
    *most, last = (f'"{word}"' for word in words)

    def check(value: Any) -> str:
        if value not in words:
            raise ValueError(f"{', '.join(most)} or {last}")
        return str(value)

    return {_CHECK: check}


def text(form: re.Pattern[str], what: str) -> Metadata:
    """Take a text of a form, which `what` names."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or not form.fullmatch(value):
            raise ValueError(what)
        return value

    return {_CHECK: check}


def directory() -> Metadata:
    """Take an absolute path, or "" for none."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or (value and not Path(value).is_absolute()):
            raise ValueError("an absolute path")
        return value

    return {_CHECK: check}


def paths() -> Metadata:
    """Take a list of absolute paths; they become a tuple."""

    def check(value: Any) -> tuple[Path, ...]:
        if not isinstance(value, list | tuple) or not all(map(_is_path, value)):
            raise ValueError("a list of absolute paths")
        return tuple(map(Path, value))

    return {_CHECK: check}


def _is_path(value: object) -> bool:
    return isinstance(value, str) and value.startswith("/") and "\0" not in value
