"""`fnd invoke`: one call of a function."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

import click

from fnd.cli.control_socket import control_path
from fnd.cli.duplex import Answer, call
from fnd.cli.exits import FunctionFailedCall, RequestFailed
from fnd.cli.lookup import find_app, find_fn
from fnd.cli.options import daemon_of

FUNCTION_AT_FAULT = frozenset({502, 504})
_MESSAGE_LIMIT = 64 * 1024


def _headers(ctx: click.Context, param: click.Parameter, values: Iterable[str]) -> dict[str, str]:
    headers = {}
    for value in values:
        name, colon, text = value.partition(":")
        if not colon or not name.strip() or "\n" in value or "\r" in value:
            raise click.BadParameter(f"{value!r} is not NAME:VALUE", ctx, param)
        headers[name.strip()] = text.strip()
    return headers


@click.command
@click.argument("app")
@click.argument("fn")
@click.option("--content-type", metavar="TYPE", help="What standard input is, application/json for instance.")
@click.option("--header", "-H", "headers", callback=_headers, multiple=True, metavar="NAME:VALUE", help="Repeatable.")
@click.option("--verbose", "-v", is_flag=True, help="Show the answer's headers on standard error.")
@click.pass_context
def invoke(
    ctx: click.Context, app: str, fn: str, content_type: str | None, headers: dict[str, str], verbose: bool
) -> None:
    """Call the function FN of APP: standard input in, unless it is a terminal, and its answer out, byte for byte.

    Exits with 4, and the function's message and the call's id on standard error, if the function failed.
    """
    daemon = daemon_of(ctx)
    fn_id = find_fn(daemon, find_app(daemon, app), fn)["id"]
    if content_type is not None:
        headers["Content-Type"] = content_type
    body = None if sys.stdin.isatty() else sys.stdin.fileno()
    with call(control_path(ctx.find_root().obj), f"/invoke/{fn_id}", headers, body) as answer:
        if verbose:
            click.echo("".join(f"{name}: {value}\n" for name, value in answer.headers.items()), err=True)
        if answer.status >= 400:
            raise _failure(answer)
        for part in answer.parts():
            sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()


def _failure(answer: Answer) -> FunctionFailedCall | RequestFailed:
    body = b""
    for part in answer.parts():
        body += part
        if len(body) > _MESSAGE_LIMIT:
            break
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, LookupError, TypeError):
        message = body.decode(errors="replace") or f"status {answer.status}"
    call_id = answer.headers.get("Fn-Call-Id")
    if call_id:
        message = f"{message} (call {call_id})"
    if answer.status in FUNCTION_AT_FAULT:
        return FunctionFailedCall(message)
    return RequestFailed(message, answer.status)
