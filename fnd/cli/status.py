"""`fnd status`: the daemon at a glance."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Group
from rich.text import Text

from fnd.cli.options import daemon_of
from fnd.cli.output import JSON, duration, fields, output_option, processors, protection, stdout, write_json


@click.command
@output_option
@click.pass_context
def status(ctx: click.Context, output: str) -> None:
    """Show the daemon's state, its capacity, and what keeps its containers apart."""
    now = daemon_of(ctx).get("/control/status")
    if output == JSON:
        write_json(now)
    else:
        stdout().print(_for_people(now))


def _for_people(now: dict[str, Any]) -> Group:
    return Group(
        fields(
            [
                ("daemon", f"fnd {now['version']}, process {now['pid']}, {now['state']}"),
                ("up for", duration(now["uptime"])),
                ("listens on", ", ".join(now["listeners"])),
                ("control", now["control"]),
                ("data", now["data_directory"]),
                ("store", _health(now["store"]["error"])),
                ("function logs", _logs(now["logs"])),
                ("memory", f"{now['memory_reserved']} of {now['memory_limit']} MiB reserved{processors(now)}"),
                ("calls", _calls(now)),
                ("containers", f"{now['containers']} in {now['pools']} pools, {now['launches_total']} started"),
                ("holds", f"{now['apps']} apps, {now['fns']} functions, {now['triggers']} triggers"),
                ("formats", ", ".join(now["formats"])),
                ("default driver", now["default_driver"]),
            ]
        ),
        *(protection(driver) for driver in now["drivers"] if driver["protection"]),
    )


def _health(error: str, remark: str = "") -> Text:
    return Text(f"failing: {error}", "red") if error else Text(f"ok{remark}")


def _logs(logs: dict[str, Any]) -> Text:
    return _health(logs["error"], f", but {logs['lost']} bytes lost since the start" if logs["lost"] else "")


def _calls(now: dict[str, Any]) -> str:
    return f"{now['calls_running']} running, {now['calls_waiting']} waiting, {now['calls_total']} in all"
