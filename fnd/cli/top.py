"""`fnd top`: functions and their containers, live."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from fnd.cli.client import Daemon
from fnd.cli.options import daemon_of
from fnd.cli.output import JSON, duration, output_option, processors, stdout, table, write_json_line

Pools = dict[str, Any]

_STATES = ("busy", "idle", "paused", "launching", "stopping")
_STYLES = {"busy": "green", "launching": "cyan", "stopping": "yellow", "paused": "dim"}


@click.command
@click.option("--once", is_flag=True, help="Show it once and end.")
@click.option("--containers", is_flag=True, help="Show each container.")
@click.option("--interval", type=click.FloatRange(min=0.1), default=1.0, show_default=True, metavar="SECONDS")
@output_option
@click.pass_context
def top(ctx: click.Context, once: bool, containers: bool, interval: float, output: str) -> None:
    """Watch functions, their containers and their calls until Ctrl-C."""
    daemon = daemon_of(ctx)
    console = stdout()
    try:
        if output == JSON:
            for pools in _snapshots(daemon, once, interval):
                write_json_line(pools)
        elif once or not console.is_terminal:
            for pools in _snapshots(daemon, once, interval):
                console.print(_screen(pools, None, containers))
        else:
            with Live(console=console, screen=True, auto_refresh=False) as live:
                before: tuple[float, int] | None = None
                for pools in _snapshots(daemon, once, interval):
                    now = (time.monotonic(), pools["calls_total"])
                    rate = (now[1] - before[1]) / (now[0] - before[0]) if before else None
                    live.update(_screen(pools, rate, containers), refresh=True)
                    before = now
    except KeyboardInterrupt:
        return  # the way to leave


def _snapshots(daemon: Daemon, once: bool, interval: float) -> Iterator[Pools]:
    while True:
        yield daemon.get("/control/pools")
        if once:
            return
        time.sleep(interval)


def _screen(pools: Pools, rate: float | None, containers: bool) -> RenderableType:
    summary = (
        f"memory {pools['memory_reserved']} of {pools['memory_limit']} MiB reserved{processors(pools)}    "
        f"calls {pools['calls_running']} running, {pools['calls_waiting']} waiting, {pools['calls_total']} in all"
    )
    if rate is not None:
        summary += f"    {rate:.0f} calls/s"
    in_order = sorted(pools["pools"], key=_activity, reverse=True)
    return Group(Text(summary), Text(""), _containers(in_order) if containers else _pools(in_order))


def _activity(pool: dict[str, Any]) -> tuple[int, int, int]:
    busy = sum(container["state"] == "busy" for container in pool["containers"])
    return busy + pool["waiting"], len(pool["containers"]), pool["calls"]


def _pools(pools: list[dict[str, Any]]) -> RenderableType:
    numbers = ["WAITING", "CALLS", "FAILED", "RUN", "START", "STARTED", "MEMORY"]
    columns = ["APP", "FUNCTION", "CONTAINERS", *numbers]
    rows = [
        [
            pool["app_name"],
            Text(pool["fn_name"], "dim" if pool["retired"] else ""),
            _states(pool["containers"]),
            pool["waiting"],
            pool["calls"],
            pool["failures"],
            duration(pool["mean_run"]),
            duration(pool["mean_start"]),
            pool["launches"],
            f"{pool['memory'] * len(pool['containers'])} MiB",
        ]
        for pool in pools
    ]
    return table(columns, rows, right=numbers)


def _states(containers: list[dict[str, Any]]) -> Text:
    counts = Counter(container["state"] for container in containers)
    parts = [Text(f"{counts[state]} {state}", _STYLES.get(state, "")) for state in _STATES if counts[state]]
    return Text(", ").join(parts) if parts else Text("-", "dim")


def _containers(pools: list[dict[str, Any]]) -> RenderableType:
    numbers = ["PROCESS", "AGE", "FOR", "CALLS"]
    rows = [
        [
            pool["app_name"],
            pool["fn_name"],
            container["id"],
            Text(container["state"], _STYLES.get(container["state"], "")),
            container["pid"],
            duration(container["age"]),
            duration(container["in_state"]),
            container["calls"],
            container["call_id"] if container["running"] < 2 else f"{container['running']} calls",
        ]
        for pool in pools
        for container in pool["containers"]
    ]
    return table(["APP", "FUNCTION", "CONTAINER", "STATE", *numbers, "CALL"], rows, right=numbers)
