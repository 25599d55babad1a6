"""A plugin's table [plugins.NAME]: an attrs class whose fields each say what they take, read with every value checked.

    @attrs.frozen(kw_only=True)
    class MySettings:
        pids: int = attrs.field(default=50, metadata=whole(1, 1000, "Processes in one container."))

    settings = read("mine", MySettings, context.settings)

Values come from TOML, where a number is no text; the daemon's own settings, which also come from flags and the
environment, are read by `fnd.setting_kinds`. Given out to plugins by `fnd.hookspecs`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import attrs

from fnd.errors import ConfigurationError

T = TypeVar("T")
_KIND: Final = "fnd.plugin_settings"


@attrs.frozen
class _Kind:
    """What one setting takes, and what it is for."""

    check: Callable[[Any], Any]
    """Returns the value as it is to be used. Raises ValueError if it cannot be."""
    allowed: str
    """What it must be."""
    help: str


Metadata: TypeAlias = Mapping[str, _Kind]


@attrs.frozen(kw_only=True)
class PluginSetting:
    """What is known of one setting besides its value."""

    name: str
    help: str
    """A sentence for a person, or ""."""
    allowed: str
    """What it takes: "a whole number from 1 to 1000"."""
    default: Any


def described(kind: type[Any]) -> Sequence[PluginSetting]:
    """Return the descriptions of a settings class's fields, in their order, with the defaults as they are here."""
    defaults = kind()
    return [
        PluginSetting(name=name, help=field.metadata[_KIND].help, allowed=field.metadata[_KIND].allowed, default=value)
        for name, field in attrs.fields_dict(kind).items()
        for value in [getattr(defaults, name)]
    ]


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
        taken: _Kind = field.metadata[_KIND]
        try:
            checked[name] = taken.check(value)
        except ValueError as error:
            raise ConfigurationError(f"plugins.{plugin}.{name} must be {taken.allowed}, not {value!r}") from error
    return kind(**checked)


def whole(least: int, most: int, help: str = "") -> Metadata:
    """Take a whole number within bounds."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(value)
        return value

    return {_KIND: _Kind(check, f"a whole number from {least} to {most}", help)}


def seconds(most: float, help: str = "") -> Metadata:
    """Take a time."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise ValueError(value)
        return float(value)

    return {_KIND: _Kind(check, f"seconds from 0 to {most:g}", help)}


def switch(help: str = "") -> Metadata:
    """Take true or false."""

    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError(value)  # noqa: TRY004 (it becomes a ConfigurationError)
        return value

    return {_KIND: _Kind(check, "true or false", help)}


def choice(*words: str, help: str = "") -> Metadata:
    """Take one of two or more words."""
    *most, last = (f'"{word}"' for word in words)

    def check(value: Any) -> str:
        if value not in words:
            raise ValueError(value)
        return str(value)

    return {_KIND: _Kind(check, f"{', '.join(most)} or {last}", help)}


def text(form: re.Pattern[str], what: str, help: str = "") -> Metadata:
    """Take a text of a form, which `what` names."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or not form.fullmatch(value):
            raise ValueError(value)
        return value

    return {_KIND: _Kind(check, what, help)}


def directory(help: str = "") -> Metadata:
    """Take an absolute path, or "" for none."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or (value and not Path(value).is_absolute()):
            raise ValueError(value)
        return value

    return {_KIND: _Kind(check, "an absolute path", help)}


def paths(help: str = "") -> Metadata:
    """Take a list of absolute paths; they become a tuple."""

    def check(value: Any) -> tuple[Path, ...]:
        if not isinstance(value, list | tuple) or not all(map(_is_path, value)):
            raise ValueError(value)
        return tuple(map(Path, value))

    return {_KIND: _Kind(check, "a list of absolute paths", help)}


def _is_path(value: object) -> bool:
    return isinstance(value, str) and value.startswith("/") and "\0" not in value
