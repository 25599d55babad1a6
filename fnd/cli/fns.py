"""`fnd fns`: functions' definitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from fnd.cli.lookup import find_app, find_fn
from fnd.cli.options import annotation_option, config_option, daemon_of, given
from fnd.cli.output import JSON, output_option, stdout, table, thing, write_json

Command = TypeVar("Command", bound=Callable[..., Any])

_DEFINITION: Final[list[Callable[[Any], Any]]] = [
    click.option("--memory", type=int, metavar="MIB", help="Memory for one container."),
    click.option("--timeout", type=int, metavar="SECONDS", help="How long a call may run."),
    click.option("--idle-timeout", type=int, metavar="SECONDS", help="How long a container stays without calls."),
    click.option("--cpu", type=int, metavar="N", help="Thousandths of a core for one container; 0 is no limit."),
    click.option("--min-warm", type=int, metavar="N", help="Containers kept even when nobody calls."),
    click.option("--max-containers", type=int, metavar="N", help="Containers at most; 0 is no limit."),
    click.option("--concurrency", type=int, metavar="N", help="Calls that a container serves at once; 1 unless given."),
    click.option("--format", "format_", metavar="NAME", help="How the function is spoken to: http-stream…"),
    config_option,
    annotation_option,
]


def _definition_options(command: Command) -> Command:
    for option in reversed(_DEFINITION):
        command = option(command)
    return command


def _definition(options: dict[str, Any]) -> dict[str, Any]:
    return given(
        image=options.get("image"),
        memory=options["memory"],
        timeout=options["timeout"],
        idle_timeout=options["idle_timeout"],
        cpu=options["cpu"],
        min_warm=options["min_warm"],
        max_containers=options["max_containers"],
        concurrency=options["concurrency"],
        format=options["format_"],
        config=options["config"],
        annotations=options["annotation"],
    )


@click.group
def fns() -> None:
    """List and change functions. `fnd deploy` makes them from a directory."""


@fns.command("list")
@click.argument("app")
@output_option
@click.pass_context
def list_fns(ctx: click.Context, app: str, output: str) -> None:
    """List the functions of APP."""
    daemon = daemon_of(ctx)
    items = list(daemon.items("/v2/fns", app_id=find_app(daemon, app)["id"]))
    if output == JSON:
        write_json(items)
        return
    rows = [[fn["name"], fn["id"], fn["memory"], fn["timeout"], fn["idle_timeout"], fn["image"]] for fn in items]
    columns = ["NAME", "ID", "MEMORY", "TIMEOUT", "IDLE", "IMAGE"]
    stdout().print(table(columns, rows, right=["MEMORY", "TIMEOUT", "IDLE"]))


@fns.command("create")
@click.argument("app")
@click.argument("name")
@click.argument("image")
@_definition_options
@output_option
@click.pass_context
def create_fn(ctx: click.Context, /, app: str, name: str, image: str, output: str, **options: Any) -> None:
    """Create the function NAME in APP, which runs IMAGE (process:///directory, for instance)."""
    daemon = daemon_of(ctx)
    body = {"app_id": find_app(daemon, app)["id"], "name": name, "image": image, **_definition(options)}
    _show(daemon.post("/v2/fns", body), output)


@fns.command("inspect")
@click.argument("app")
@click.argument("name")
@output_option
@click.pass_context
def inspect_fn(ctx: click.Context, app: str, name: str, output: str) -> None:
    """Show everything about the function NAME of APP."""
    daemon = daemon_of(ctx)
    _show(find_fn(daemon, find_app(daemon, app), name), output)


@fns.command("update")
@click.argument("app")
@click.argument("name")
@click.option("--image", help="What it runs.")
@_definition_options
@output_option
@click.pass_context
def update_fn(ctx: click.Context, /, app: str, name: str, output: str, **options: Any) -> None:
    """Change the function NAME of APP; what is not named stays as it is."""
    daemon = daemon_of(ctx)
    fn = find_fn(daemon, find_app(daemon, app), name)
    _show(daemon.put(f"/v2/fns/{fn['id']}", _definition(options)), output)


@fns.command("delete")
@click.argument("app")
@click.argument("name")
@click.pass_context
def delete_fn(ctx: click.Context, app: str, name: str) -> None:
    """Delete the function NAME of APP and its triggers."""
    daemon = daemon_of(ctx)
    fn = find_fn(daemon, find_app(daemon, app), name)
    daemon.delete(f"/v2/fns/{fn['id']}")


def _show(fn: dict[str, Any], output: str) -> None:
    if output == JSON:
        write_json(fn)
    else:
        stdout().print(thing(fn))
