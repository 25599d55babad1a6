"""How a field of the settings class describes itself, and the descriptions by which others read it.

The command line's options, the FND_ variables and docs/settings.md follow from these descriptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from fnd.setting_kinds import Kind, Listeners, Seconds, Size, Tables


@attrs.frozen(kw_only=True)
class Setting:
    """What is known of one setting besides its value."""

    name: str
    help: str
    """One or two sentences for a person."""
    kind: Kind
    default: str
    """The default, in words where it depends on something."""
    flag: str
    """The command line's option, or "" where there is none."""
    unit: str
    """What a bare number counts: "seconds", "bytes", "MiB"; "" where that is no question."""
    reloadable: bool
    """Whether `fnd reload` (SIGHUP) brings a changed value into force; else it needs a restart."""
    secret: bool
    """Never shown."""
    file_only: bool
    """Only the configuration file can have it."""

    @property
    def variable(self) -> str:
        """The environment variable, or "" where there is none."""
        return "" if self.file_only else f"FND_{self.name.upper()}"

    @property
    def multiple(self) -> bool:
        """Whether the flag may be repeated."""
        return isinstance(self.kind, Listeners)


@attrs.frozen
class _Field:
    """The metadata of a field of Settings, from which its Setting is made."""

    help: str
    kind: Kind
    default: str
    flag: str | None
    unit: str
    reloadable: bool
    secret: bool


def setting_field(
    help: str,
    kind: Kind,
    *,
    default: Any = attrs.NOTHING,
    default_text: str = "",
    flag: str | None = None,
    unit: str = "",
    reloadable: bool = False,
    secret: bool = False,
    converter: Any = None,
) -> Any:
    """Make a field of a settings class; `flag` None means the name with dashes, "" that it has none."""
    text = default_text or _default_text(kind, default)
    metadata = {_Field: _Field(help, kind, text, flag, unit, reloadable, secret)}
    return attrs.field(default=default, metadata=metadata, repr=not secret, converter=converter)


def _default_text(kind: Kind, default: Any) -> str:
    if isinstance(kind, Size):
        return kind.text(default)
    if isinstance(kind, Seconds):
        return f"{default:g} seconds"
    return str(default).lower()


def described(settings: type[attrs.AttrsInstance]) -> Mapping[str, Setting]:
    """Return the descriptions of a settings class's fields, by name, in their order."""
    return {attribute.name: _describe(attribute) for attribute in attrs.fields(settings)}


def _describe(attribute: attrs.Attribute[Any]) -> Setting:
    field: _Field = attribute.metadata[_Field]
    file_only = isinstance(field.kind, Tables)
    flag = f"--{attribute.name.replace('_', '-')}" if field.flag is None else field.flag
    return Setting(
        name=attribute.name,
        help=field.help,
        kind=field.kind,
        default=field.default,
        flag="" if file_only else flag,
        unit=field.unit,
        reloadable=field.reloadable,
        secret=field.secret,
        file_only=file_only,
    )
