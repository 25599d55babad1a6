"""`fnd semaphore`: how many functions speak it."""

import click
import httpx

from fnd.hookspecs import control_socket


@click.command
@click.pass_context
def semaphore(context: click.Context) -> None:
    """Count the functions of this format."""
    transport = httpx.HTTPTransport(uds=str(control_socket(context)))
    with httpx.Client(transport=transport, base_url="http://localhost") as daemon:
        fns = daemon.get("/v2/fns").json()["items"]
    click.echo(sum(fn["format"] == "semaphore" for fn in fns))
