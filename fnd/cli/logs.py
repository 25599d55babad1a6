"""`fnd logs`: what functions write to their standard streams."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import click

from fnd.cli.client import Daemon
from fnd.cli.exits import BadUsage
from fnd.cli.lookup import find_app, find_fn
from fnd.cli.options import daemon_of
from fnd.cli.output import JSON, output_option, printable, stdout, write_json_line

LOGS: Final = "/control/logs"

Line = dict[str, Any]


@click.command
@click.argument("app", required=False)
@click.argument("fn", required=False)
@click.option("--call", metavar="ID", help="Only what was written during this call.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option("--lines", "-n", type=click.IntRange(0, 10_000), default=100, show_default=True, metavar="COUNT")
@output_option
@click.pass_context
def logs(
    ctx: click.Context,
    app: str | None,
    fn: str | None,
    call: str | None,
    follow: bool,
    lines: int,
    output: str,
) -> None:
    """Show the end of the logs of APP's function FN, of all functions of APP, or, following, of all there are."""
    if app is None and not follow:
        raise BadUsage("Name an app, and maybe a function of it, or follow all of them with --follow")
    daemon = daemon_of(ctx)
    found = find_app(daemon, app) if app is not None else None
    if found is not None and fn is not None:
        wanted = [find_fn(daemon, found, fn)]
    else:
        wanted = list(daemon.items("/v2/fns", app_id=found["id"])) if found else []
    names = {fn["id"]: fn["name"] for fn in wanted} if len(wanted) != 1 else {}
    for line in _lines(daemon, found, wanted, call, follow, lines):
        if output == JSON:
            write_json_line(line)
        else:
            stdout().print(log_line(line, names), soft_wrap=True)


def _lines(
    daemon: Daemon,
    app: dict[str, Any] | None,
    fns: list[dict[str, Any]],
    call: str | None,
    follow: bool,
    count: int,
) -> Iterable[Line]:
    if follow and len(fns) == 1:
        return daemon.lines("GET", LOGS, fn=fns[0]["id"], call=call, follow="true", lines=count)
    history = [line for fn in fns for line in daemon.lines("GET", LOGS, fn=fn["id"], call=call, lines=count)]
    history.sort(key=lambda line: line["at"])
    history = history[-count:] if count else []
    if not follow:
        return history
    following = daemon.lines("GET", LOGS, app=app["id"] if app else None, call=call, follow="true")
    return itertools.chain(history, following)


def log_line(line: Line, names: dict[str, str]) -> str:
    """Return a line as people see it; `names` are those of functions that are to be told apart."""
    at = datetime.fromtimestamp(line["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    name = f"{names[line['fn_id']]}  " if line["fn_id"] in names else ""
    mark = {"stderr": "│", "fnd": "!"}.get(line["stream"], " ")
    return printable(f"{at}  {line['call_id'] or '-':<26}  {name}{mark} {line['text']}")
