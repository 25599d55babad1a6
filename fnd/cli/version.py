"""`fnd version`."""

from __future__ import annotations

import click

from fnd import __version__
from fnd.cli.exits import NotReachable
from fnd.cli.options import daemon_of
from fnd.cli.output import JSON, fields, output_option, stdout, write_json


@click.command
@output_option
@click.pass_context
def version(ctx: click.Context, output: str) -> None:
    """Show the version of this command, and of the daemon if one answers."""
    try:
        daemon: str | None = daemon_of(ctx).get("/version")["version"]
    except NotReachable:
        daemon = None
    if output == JSON:
        write_json({"command": __version__, "daemon": daemon})
    else:
        stdout().print(fields([("command", __version__), ("daemon", daemon or "none answers")]))
