"""`fnd demo`: all of it at work, on a daemon of its own, and nothing left afterwards."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any, Final

import attrs
import click
from rich.text import Text

from fnd.cli.calling import PHASES, Summary, Timing, call_many, summarise
from fnd.cli.client import Daemon
from fnd.cli.deployment import Deployment, deploy_directory
from fnd.cli.exits import CommandError, FunctionFailedCall
from fnd.cli.init import DEFAULT_RUNTIME, make_function
from fnd.cli.output import JSON, duration, output_option, printable, stdout, table, write_json
from fnd.cli.own_daemon import OwnDaemon
from fnd.cli.progress import Progress

APP: Final = "demo"
NAME: Final = "hello"
BODY: Final = b'{"name": "fnd"}'
_STOP_PATIENCE: Final = 30.0
"""Seconds beyond the idle time-out within which its containers must have stopped."""
_TELL_EVERY: Final = 0.1
_LOG_TAIL: Final = 20


@attrs.frozen(kw_only=True)
class Result:
    """What the demo found; times in seconds."""

    first: Timing
    rest: Summary
    containers_started: int
    stopped_after: float
    """From the last call to the container's end."""


@click.command
@click.option("--calls", type=click.IntRange(2, 100_000), default=1000, show_default=True, metavar="COUNT")
@click.option("--callers", type=click.IntRange(1, 256), default=1, show_default=True, help="How many call at once.")
@click.option(
    "--idle-timeout",
    type=click.IntRange(1, 60),
    default=2,
    show_default=True,
    metavar="SECONDS",
    help="How long its container stays without calls.",
)
@output_option
def demo(calls: int, callers: int, idle_timeout: int, output: str) -> None:
    """Start a daemon of its own, deploy a function to it, call it, watch its container come and go, and clean up.

    The function is written with Fn's Python FDK, unmodified, from the Python package index. Nothing that runs
    on this machine already is touched, and nothing is left behind.
    """
    # Whoever ends the demo, its daemon goes with it; a second Ctrl-C does not wait for it to stop well.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    progress = Progress()
    with OwnDaemon() as own:
        with progress.step("Starting a daemon", f"a daemon runs in {own.directory}"):
            own.start()
        with own.client() as daemon:
            deployment = _deploy(own, daemon, idle_timeout, progress)
            try:
                result = _measure(daemon, deployment, calls, callers, idle_timeout, progress)
            except FunctionFailedCall as error:
                raise FunctionFailedCall(f"{error.message}{_log_of(daemon, deployment)}") from error
        with progress.step("Stopping the daemon", "the daemon has stopped"):
            own.stop()
        if remains := own.remains():
            raise CommandError("The stopped daemon has left behind:" + "".join(f"\n  {one}" for one in remains))
        directory = own.directory
    if directory.exists():
        raise CommandError(f"{directory} could not be removed")
    progress.say("✓ nothing is left: no process, no socket, no mount, no directory")
    if output == JSON:
        write_json(_for_programs(result))
    else:
        _show(result)


def _log_of(daemon: Daemon, deployment: Deployment) -> str:
    lines = daemon.lines("GET", "/control/logs", fn=deployment.fn["id"], lines=_LOG_TAIL)
    return "".join(f"\n  {printable(line['text'])}" for line in ({"text": "Its log:"}, *lines))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _deploy(own: OwnDaemon, daemon: Daemon, idle_timeout: int, progress: Progress) -> Deployment:
    source = own.directory / NAME
    make_function(source, DEFAULT_RUNTIME, NAME)
    deployment = deploy_directory(daemon, source, APP, progress, create_app=True)
    daemon.put(f"/v2/fns/{deployment.fn['id']}", {"idle_timeout": idle_timeout})
    return deployment


def _measure(
    daemon: Daemon, deployment: Deployment, calls: int, callers: int, idle_timeout: int, progress: Progress
) -> Result:
    url = deployment.invoke_url
    with progress.step(f"Calling {url}, cold", f"the first call of {url} was answered"):
        (first,), _ = call_many(url, BODY, 1, 1, lambda: None)
    with progress.step(f"Calling it {calls - 1} times more", f"{calls - 1} more calls were answered"):
        timings, seconds = call_many(url, BODY, calls - 1, callers, _Counter(calls - 1, progress).count)
    last_call = time.monotonic()
    with progress.step(
        f"Waiting for its containers to stop: they may be idle for {idle_timeout} s", "they have stopped"
    ):
        _wait_until_none(daemon, idle_timeout + _STOP_PATIENCE)
    return Result(
        first=first,
        rest=summarise(timings, seconds),
        containers_started=daemon.get("/control/pools")["launches_total"],
        stopped_after=time.monotonic() - last_call,
    )


class _Counter:
    """Tells how many calls are done, not more often than anyone can read."""

    def __init__(self, of: int, progress: Progress) -> None:
        self._done = 0
        self._of = of
        self._progress = progress
        self._told = time.monotonic()

    def count(self) -> None:
        self._done += 1
        now = time.monotonic()
        if self._progress.live and now - self._told >= _TELL_EVERY:
            self._told = now
            self._progress.detail(f"{self._done} of {self._of}")


def _wait_until_none(daemon: Daemon, patience: float) -> None:
    """Return when the containers that there are now have stopped."""
    with daemon.following("/control/events", patience) as events:
        pools = daemon.get("/control/pools")["pools"]
        running = {container["id"] for pool in pools for container in pool["containers"]}
        if not running:
            return
        for event in events:
            if event["kind"] in ("container.stopped", "container.launch_failed"):
                running.discard(event["container_id"])
                if not running:
                    return
    raise CommandError(f"Containers still run: {', '.join(running)}")


def _for_programs(result: Result) -> dict[str, Any]:
    return {
        "first": attrs.asdict(result.first) | {"phases": dict(zip(PHASES, result.first.phases, strict=True))},
        "rest": attrs.asdict(result.rest) | {"phases": dict(zip(PHASES, result.rest.phases, strict=True))},
        "containers_started": result.containers_started,
        "stopped_after": result.stopped_after,
    }


def _show(result: Result) -> None:
    first, rest = result.first, result.rest
    console = stdout()
    latencies: list[list[object]] = [
        ["first call (cold)", duration(first.total)],
        [f"the {rest.calls} others (warm), median", duration(rest.median)],
        ["  99 % of them within", duration(rest.p99)],
        ["  calls per second", f"{rest.per_second:.0f}"],
        ["containers started", result.containers_started],
        ["its last call to its end", duration(result.stopped_after)],
    ]
    console.print(Text(""))
    console.print(table(["LATENCY", ""], latencies, right=[""]))
    first_rest = max(first.total - sum(first.phases), 0.0)
    mean = sum(rest.phases) + rest.rest
    rows = [
        [name, duration(cold), duration(warm), f"{warm / mean:.0%}"]
        for name, cold, warm in zip(
            ("waiting for a container", "launching one", "running the function", "HTTP, daemon and caller"),
            (*first.phases, first_rest),
            (*rest.phases, rest.rest),
            strict=True,
        )
    ]
    console.print(Text(""))
    columns = ["WHERE THE TIME WENT", "FIRST CALL", "OTHERS, MEAN", "SHARE"]
    console.print(table(columns, rows, right=columns[1:]))
