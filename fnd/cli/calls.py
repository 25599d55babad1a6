"""`fnd calls` and `fnd explain`: how calls went, and why one took as long as it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import click
from rich.console import Group, RenderableType
from rich.text import Text

from fnd.cli.lookup import find_app, find_fn
from fnd.cli.options import daemon_of
from fnd.cli.output import JSON, duration, output_option, printable, stderr, stdout, table, write_json, write_json_line

Record = dict[str, Any]

CALLS_OVER: Final = "/control/calls/over"
"""The stream of calls, each when it is over."""

_PARTS: Final[Mapping[str, str]] = {
    "receive": "its body was awaited",
    "queue": "it waited for a container",
    "launch": "a container was being launched",
    "run": "it had its container",
}
_REASONS: Final[Mapping[str, str]] = {
    "herd gate": "its function had no container, and the first was being launched",
    "busy containers": "all containers of its function ran other calls",
    "capacity": "the machine's memory was reserved by others",
    "launch limit": "the machine was launching as many containers as it can",
    "back-off": "a launch had failed, and the next was not due yet",
}
_STYLES: Final[Mapping[str, str]] = {"failed": "red", "running": "green", "waiting": "cyan"}
_BAR: Final = 24
"""Columns of the bar that stands for the whole call."""


@click.command
@click.argument("app", required=False)
@click.argument("fn", required=False)
@click.option("--lines", "-n", type=click.IntRange(1, 10_000), default=20, show_default=True, metavar="COUNT")
@click.option("--failed", is_flag=True, help="Only calls that failed.")
@click.option("--slower", type=click.FloatRange(min=0), metavar="SECONDS", help="Only calls that took longer.")
@click.option("--follow", "-f", is_flag=True, help="Show calls from now on, each when it is over, until Ctrl-C.")
@output_option
@click.pass_context
def calls(
    ctx: click.Context,
    app: str | None,
    fn: str | None,
    lines: int,
    failed: bool,
    slower: float | None,
    follow: bool,
    output: str,
) -> None:
    """Show the last calls of APP's function FN, of all functions of APP, or of all there are, newest first.

    Those that wait or run are shown with those that are over. QUEUE, LAUNCH and RUN are how long a call waited for a
    container, how long one was being launched for it, and how long it had it: `fnd explain` tells more of one call.

    With --output json each call is one line, of which `fnd simulate --arrivals` can make a simulation.
    """
    daemon = daemon_of(ctx)
    found = find_app(daemon, app) if app is not None else None
    wanted = find_fn(daemon, found, fn) if found is not None and fn is not None else None
    query = {
        "app": found["id"] if found else None,
        "fn": wanted["id"] if wanted else None,
        "failed": "true" if failed else None,
        "slower": slower,
    }
    if follow:
        for record in daemon.lines("GET", CALLS_OVER, None, **query):
            if output == JSON:
                write_json_line(record)
            else:
                stdout().print(call_line(record), soft_wrap=True)
        return
    answer = daemon.get("/control/calls", limit=lines, **query)
    if answer["store_error"]:
        stderr().print(Text(f"Older calls are missing, since the store fails: {answer['store_error']}", "yellow"))
    if output == JSON:
        for record in answer["calls"]:
            write_json_line(record)
    else:
        stdout().print(_table(answer["calls"]))


@click.command
@click.argument("call_id")
@output_option
@click.pass_context
def explain(ctx: click.Context, call_id: str, output: str) -> None:
    """Tell what the call CALL_ID waited for, how long each part of it took, and what was decided.

    Every answer to a call has its id in the header Fn-Call-Id; `fnd calls` lists the last ones.
    """
    record = daemon_of(ctx).get(f"/control/calls/{quote(call_id, safe='')}")
    if output == JSON:
        write_json(record)
    else:
        stdout().print(_explanation(record))


def call_line(record: Record) -> Text:
    """Return a call that is over as a line of its own, among other such lines."""
    if "lost" in record:
        return Text(f"{_count(record['lost'], 'call')} came too fast to be shown", "yellow")
    at = datetime.fromisoformat(record["arrived_at"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    parts = [f"{name} {duration(record[name])}" for name in _PARTS if record[name]]
    about = [f"{record['app_name']}/{record['fn_name']}", "cold" if record["cold"] else "warm", ", ".join(parts)]
    total = duration(sum(record[name] for name in _PARTS))
    line = Text.assemble(f"{at}  ", _outcome(record), f"  {total:>8}  {'  '.join(about)}  {record['id']}")
    return line.append(printable(f"  {record['error']}"), "red") if record["error"] else line


def _table(records: list[Record]) -> RenderableType:
    numbers = ["RECEIVE", "QUEUE", "LAUNCH", "RUN"]
    rows = [
        [
            record["id"],
            _moment(record),
            f"{record['app_name']}/{record['fn_name']}",
            _outcome(record),
            *(duration(record[name.lower()]) for name in numbers),
            record["waited_for"],
            record["error"],
        ]
        for record in records
    ]
    return table(["CALL", "CAME", "FUNCTION", "STATE", *numbers, "WAITED FOR", "ERROR"], rows, right=numbers)


def _explanation(record: Record) -> RenderableType:
    total = sum(record[name] for name in _PARTS)
    head = f"Call {record['id']} of {record['app_name']}/{record['fn_name']}, {_moment(record)}"
    preposition = "for" if record["state"] in ("waiting", "running") else "after"
    outcome = Text.assemble(_outcome(record), f" {preposition} {duration(total)}")
    if record["error"]:
        outcome.append(printable(f": {record['error']}"))
    rows = [
        [name, duration(record[name]), Text(_bar(record, name, total), "cyan"), _remark(record, name)]
        for name in _PARTS
        if record[name] or name == "run"
    ]
    return Group(
        Text(printable(head), "bold"),
        outcome,
        Text(""),
        table(["", "TOOK", "", "MEANWHILE"], rows, right=["TOOK"]),
        Text(""),
        *(Text(sentence) for sentence in _decision(record)),
    )


def _bar(record: Record, name: str, total: float) -> str:
    """Return this part's place in the whole, to scale; no part that took time is invisible."""
    if not total:
        return ""
    names = list(_PARTS)
    before: float = sum(record[earlier] for earlier in names[: names.index(name)])
    part: float = record[name]
    return " " * int(_BAR * before / total) + "█" * max(1, round(_BAR * part / total))


def _remark(record: Record, name: str) -> str:
    if name == "queue" and record["waited_for"]:
        return f"waited for {record['waited_for']}: {_REASONS.get(record['waited_for'], '')}".rstrip(": ")
    if name == "run" and record["container_id"]:
        paused = ", which was paused and had to run on first" if record["resumed"] else ""
        return f"in container {record['container_id']}{paused}"
    if name == "run":
        return "no container took it"
    return _PARTS[name]


def _decision(record: Record) -> Iterator[str]:
    """Yield what was found and decided when the call came, with the numbers that decided it."""
    met = record["situation"]
    if met is None:
        if record["container_id"]:
            yield "When it came, a container was idle, and took it at once."
        return
    yield (
        f"When it came, no container was idle: {met['busy']} busy, {met['launching']} being launched, "
        f"{_count(met['ahead'], 'call')} in line before it."
    )
    if met["launched"]:
        yield f"Because it came, {_count(met['launched'], 'container')} more began to be launched."
    elif met["busy"] and met["mean_run"] and met["mean_start"]:
        line = met["ahead"] + 1
        wait = line * met["mean_run"] / met["busy"]
        yield (
            f"It lined up: {_count(line, 'run')} of {duration(met['mean_run'])} on "
            f"{_count(met['busy'], 'container')} were expected to take {duration(wait)}, "
            f"and a launch {duration(met['mean_start'])}."
        )
    elif met["busy"]:
        yield "It lined up: too little was known of its function to launch another container at once."
    elif met["launching"]:
        yield "It waited for the first container: no other is launched before that one is known to work."


def _moment(record: Record) -> str:
    at = datetime.fromisoformat(record["arrived_at"])
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _outcome(record: Record) -> Text:
    state, status = record["state"], record["status"]
    return Text(f"{state} {status}" if status else state, _STYLES.get(state, ""))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
