"""`fnd apps`: the groups that functions are in."""

from __future__ import annotations

import sys
from typing import Any

import click

from fnd.cli.exits import BadUsage, CommandError
from fnd.cli.lookup import find_app
from fnd.cli.options import annotation_option, config_option, daemon_of, given
from fnd.cli.output import JSON, output_option, stdout, table, thing, write_json


@click.group
def apps() -> None:
    """List and change apps: groups of functions that share configuration."""


@apps.command("list")
@output_option
@click.pass_context
def list_apps(ctx: click.Context, output: str) -> None:
    """List all apps."""
    items = list(daemon_of(ctx).items("/v2/apps"))
    if output == JSON:
        write_json(items)
    else:
        stdout().print(table(["NAME", "ID", "CREATED"], _rows(items)))


def _rows(items: list[dict[str, Any]]) -> list[list[object]]:
    return [[app["name"], app["id"], app["created_at"]] for app in items]


@apps.command("create")
@click.argument("name")
@config_option
@annotation_option
@output_option
@click.pass_context
def create_app(
    ctx: click.Context,
    name: str,
    config: tuple[tuple[str, str], ...],
    annotation: tuple[tuple[str, Any], ...],
    output: str,
) -> None:
    """Create the app NAME."""
    body = given(name=name, config=config, annotations=annotation)
    _show(daemon_of(ctx).post("/v2/apps", body), output)


@apps.command("inspect")
@click.argument("name")
@output_option
@click.pass_context
def inspect_app(ctx: click.Context, name: str, output: str) -> None:
    """Show everything about the app NAME."""
    _show(find_app(daemon_of(ctx), name), output)


@apps.command("update")
@click.argument("name")
@config_option
@annotation_option
@output_option
@click.pass_context
def update_app(
    ctx: click.Context,
    name: str,
    config: tuple[tuple[str, str], ...],
    annotation: tuple[tuple[str, Any], ...],
    output: str,
) -> None:
    """Change configuration or annotations of the app NAME; what is not named stays as it is."""
    daemon = daemon_of(ctx)
    app = find_app(daemon, name)
    _show(daemon.put(f"/v2/apps/{app['id']}", given(config=config, annotations=annotation)), output)


@apps.command("delete")
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask, even if the app has functions.")
@click.pass_context
def delete_app(ctx: click.Context, name: str, yes: bool) -> None:
    """Delete the app NAME with its functions and triggers."""
    daemon = daemon_of(ctx)
    app = find_app(daemon, name)
    names = [fn["name"] for fn in daemon.items("/v2/fns", app_id=app["id"])]
    if names and not yes:
        _ask(f"Delete {name} with its functions {', '.join(names)}?")
    daemon.delete(f"/v2/apps/{app['id']}")


def _ask(question: str) -> None:
    """Return if the answer is yes. Raises BadUsage where nobody can be asked, CommandError for a no."""
    if not sys.stdin.isatty():
        raise BadUsage(f"{question} Say so with --yes")
    if not click.confirm(question, err=True):
        raise CommandError("Nothing was deleted")


def _show(app: dict[str, Any], output: str) -> None:
    if output == JSON:
        write_json(app)
    else:
        stdout().print(thing(app))
