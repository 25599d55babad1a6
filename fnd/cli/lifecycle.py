"""`fnd drain`, `fnd reload`, `fnd stop`: steering the daemon."""

from __future__ import annotations

import click

from fnd.cli.options import daemon_of
from fnd.cli.output import stderr


@click.command
@click.pass_context
def drain(ctx: click.Context) -> None:
    """Let the daemon finish the calls it has and take no new ones; it keeps running."""
    daemon_of(ctx).post("/control/drain")
    stderr().print("The daemon takes no new calls. fnd status shows how many still run.")


@click.command
@click.pass_context
def reload(ctx: click.Context) -> None:
    """Make the daemon read its configuration again.

    What can change while it runs is in force at once; a configuration that is wrong changes nothing.
    """
    daemon_of(ctx).post("/control/reload")


@click.command
@click.pass_context
def stop(ctx: click.Context) -> None:
    """Stop the daemon in an orderly way, as SIGTERM does: running calls may finish within its grace period."""
    daemon_of(ctx).post("/control/stop")
    stderr().print("The daemon is stopping.")
