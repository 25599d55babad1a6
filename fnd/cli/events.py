"""`fnd events`: what the daemon does, as it does it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from fnd.cli.options import daemon_of
from fnd.cli.output import JSON, output_option, printable, stdout, write_json_line


@click.command
@output_option
@click.pass_context
def events(ctx: click.Context, output: str) -> None:
    """Show what the daemon does from now on until Ctrl-C: containers come and go, functions change, calls fail."""
    for event in daemon_of(ctx).lines("GET", "/control/events"):
        if output == JSON:
            write_json_line(event)
        else:
            stdout().print(_line(event), soft_wrap=True)


def _line(event: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(event["at"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    rest = " ".join(f"{name}={value}" for name, value in event.items() if name not in ("kind", "at"))
    return printable(f"{at}  {event['kind']:<24}{rest}")
