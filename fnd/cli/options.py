"""Options that several commands share, and how their values become fields of a request."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from fnd.cli.client import Daemon
from fnd.cli.control_socket import control_path

Command = TypeVar("Command", bound=Callable[..., Any])


def daemon_of(ctx: click.Context) -> Daemon:
    """Return the daemon that the command line means; closed when the command ends."""
    control: Path | None = ctx.find_root().obj
    return ctx.with_resource(Daemon(control_path(control)))


def _pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for value in values:
        key, equals, text = value.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{value!r} is not KEY=VALUE", ctx, param)
        pairs.append((key, text))
    return tuple(pairs)


def _json_pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, Any], ...]:
    """Read KEY=JSON; what is no JSON is taken as text."""
    pairs: list[tuple[str, Any]] = []
    for key, text in _pairs(ctx, param, values):
        try:
            pairs.append((key, json.loads(text)))
        except ValueError:
            pairs.append((key, text))
    return tuple(pairs)


config_file_option: Final[Callable[[Command], Command]] = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="FND_CONFIG",
    metavar="FILE",
    help="The daemon's configuration file.",
)
config_option: Final[Callable[[Command], Command]] = click.option(
    "--config",
    "-c",
    callback=_pairs,
    multiple=True,
    metavar="KEY=VALUE",
    help="A configuration value, which functions see in their environment; repeatable. KEY= removes one.",
)
annotation_option: Final[Callable[[Command], Command]] = click.option(
    "--annotation",
    callback=_json_pairs,
    multiple=True,
    metavar="KEY=JSON",
    help='An annotation; repeatable. KEY="" removes one.',
)


def given(**fields: Any) -> dict[str, Any]:
    """Return the fields that the command line gave: pairs as an object, the rest as they are."""
    return {
        name: dict(value) if isinstance(value, tuple) else value
        for name, value in fields.items()
        if value is not None and value != ()
    }
