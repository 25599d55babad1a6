"""`fnd triggers`: the URLs that lead to functions."""

from __future__ import annotations

from typing import Any

import click

from fnd.cli.lookup import find_app, find_fn, find_trigger
from fnd.cli.options import annotation_option, daemon_of, given
from fnd.cli.output import JSON, output_option, stdout, table, thing, write_json


@click.group
def triggers() -> None:
    """List and change triggers, the URLs that lead to functions."""


@triggers.command("list")
@click.argument("app")
@click.argument("fn", required=False)
@output_option
@click.pass_context
def list_triggers(ctx: click.Context, app: str, fn: str | None, output: str) -> None:
    """List the triggers of APP, or those of its function FN."""
    daemon = daemon_of(ctx)
    found = find_app(daemon, app)
    fn_id = find_fn(daemon, found, fn)["id"] if fn else None
    items = list(daemon.items("/v2/triggers", app_id=found["id"], fn_id=fn_id))
    if output == JSON:
        write_json(items)
        return
    names = {fn["id"]: fn["name"] for fn in daemon.items("/v2/fns", app_id=found["id"])}
    rows = [
        [trigger["name"], trigger["id"], names.get(trigger["fn_id"]), f"/t/{app}{trigger['source']}"]
        for trigger in items
    ]
    stdout().print(table(["NAME", "ID", "FUNCTION", "PATH"], rows))


@triggers.command("create")
@click.argument("app")
@click.argument("fn")
@click.argument("name")
@click.option("--source", metavar="PATH", help="The path below /t/APP.  [default: /NAME]")
@annotation_option
@output_option
@click.pass_context
def create_trigger(
    ctx: click.Context,
    app: str,
    fn: str,
    name: str,
    source: str | None,
    annotation: tuple[tuple[str, Any], ...],
    output: str,
) -> None:
    """Create the trigger NAME: a URL of APP that leads to its function FN."""
    daemon = daemon_of(ctx)
    found = find_app(daemon, app)
    body = {
        "app_id": found["id"],
        "fn_id": find_fn(daemon, found, fn)["id"],
        "name": name,
        "type": "http",
        "source": source or f"/{name}",
        **given(annotations=annotation),
    }
    _show(daemon.post("/v2/triggers", body), output)


@triggers.command("inspect")
@click.argument("app")
@click.argument("name")
@output_option
@click.pass_context
def inspect_trigger(ctx: click.Context, app: str, name: str, output: str) -> None:
    """Show everything about the trigger NAME of APP."""
    daemon = daemon_of(ctx)
    _show(find_trigger(daemon, find_app(daemon, app), name), output)


@triggers.command("update")
@click.argument("app")
@click.argument("name")
@click.option("--source", metavar="PATH", help="The path below /t/APP.")
@annotation_option
@output_option
@click.pass_context
def update_trigger(
    ctx: click.Context,
    app: str,
    name: str,
    source: str | None,
    annotation: tuple[tuple[str, Any], ...],
    output: str,
) -> None:
    """Change the trigger NAME of APP; what is not named stays as it is."""
    daemon = daemon_of(ctx)
    trigger = find_trigger(daemon, find_app(daemon, app), name)
    body = given(source=source, annotations=annotation)
    _show(daemon.put(f"/v2/triggers/{trigger['id']}", body), output)


@triggers.command("delete")
@click.argument("app")
@click.argument("name")
@click.pass_context
def delete_trigger(ctx: click.Context, app: str, name: str) -> None:
    """Delete the trigger NAME of APP."""
    daemon = daemon_of(ctx)
    trigger = find_trigger(daemon, find_app(daemon, app), name)
    daemon.delete(f"/v2/triggers/{trigger['id']}")


def _show(trigger: dict[str, Any], output: str) -> None:
    if output == JSON:
        write_json(trigger)
    else:
        stdout().print(thing(trigger))
