"""What commands write: tables for people, JSON for programs, both on standard output and nothing else there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import click
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

Command = TypeVar("Command", bound=Callable[..., Any])
Cell = object
"""A Text as it is; anything else as its text, None as nothing."""

TABLE: Final = "table"
JSON: Final = "json"
_UNBOUNDED: Final = 4096
"""Columns for who is no terminal: nothing is wrapped for a program or a file."""

output_option: Final[Callable[[Command], Command]] = click.option(
    "--output",
    "-o",
    type=click.Choice([TABLE, JSON]),
    default=TABLE,
    show_default=True,
    help="table for people, json for programs.",
)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich itself would exit with another code than ours


def stdout() -> Console:
    """Return a console on standard output."""
    console = _Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = _UNBOUNDED
    return console


def stderr() -> Console:
    """Return a console for progress and remarks."""
    return _Console(stderr=True, highlight=False, emoji=False, markup=False)


def write_json(value: object) -> None:
    """Write `value` as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def write_json_line(value: object) -> None:
    """Write `value` as one line of JSON, at once."""
    click.echo(json.dumps(value, ensure_ascii=False))


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, right: Sequence[str] = ()) -> Table:
    """Return a table with headings; `right` names the columns of numbers."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(_text(cell) for cell in row))
    return made


def fields(values: Iterable[tuple[str, Cell]]) -> Table:
    """Return one thing's fields, a line each."""
    made = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for name, value in values:
        made.add_row(name, _text(value))
    return made


def thing(values: Mapping[str, Any]) -> Table:
    """Return an app, a fn or a trigger: its name first, mappings an entry a line, without what is empty."""
    in_order = {"name": "", "id": ""} | dict(values)
    return fields((name, _value(value)) for name, value in in_order.items() if value not in ("", {}, None))


def _value(value: Any) -> Cell:
    if not isinstance(value, dict):
        return value
    return "\n".join(f"{key}={entry if isinstance(entry, str) else json.dumps(entry)}" for key, entry in value.items())


def _text(cell: Cell) -> Text:
    if isinstance(cell, Text):
        return cell
    return Text("" if cell is None else printable(str(cell)))


def printable(text: str) -> str:
    """Return `text` with control characters made visible: what functions write must not steer a terminal."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else f"\\x{ord(character):02x}"
        for character in text
    )


def duration(seconds: float | None) -> str:
    """Return a duration as a person would say it: "0.4 ms", "12 s", "3 h"."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.3g} {unit}"
    return f"{seconds / 86_400:.3g} d"


def processors(reserved: Mapping[str, Any]) -> str:
    """Return how much of the processors is reserved, to follow what is of memory; "" if nothing is, as mostly."""
    if not reserved["cpu_reserved"]:
        return ""
    return f", {reserved['cpu_reserved'] / 1000:g} of {reserved['cpu_limit'] / 1000:g} cores"


def protection(driver: Mapping[str, Any]) -> Group:
    """Return what protects a driver's containers on this machine, and what does not."""
    rows = [
        [one["name"], Text("yes", "green") if one["in_force"] else Text("no", "yellow"), one["by"]]
        for one in driver["protection"]
    ]
    return Group(Text(""), table([f"{driver['scheme'].upper()} CONTAINERS", "PROTECTED", "BY"], rows))
