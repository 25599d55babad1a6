"""Calling a function many times over HTTP, and what the answers say of where the time went."""

from __future__ import annotations

import http.client
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import urlsplit

import attrs

from fnd.cli.exits import CommandError, FunctionFailedCall

PHASES: Final = ("queue", "launch", "run")
"""The parts of Fnd-Timing: waiting for a container, starting one, the function itself."""


@attrs.frozen
class Timing:
    """One answered call; times in seconds."""

    total: float
    """As the caller saw it."""
    cold: bool
    """Whether its container was started for it."""
    phases: tuple[float, float, float]
    """As PHASES."""


@attrs.frozen(kw_only=True)
class Summary:
    """Many calls; times in seconds."""

    calls: int
    cold: int
    median: float
    p99: float
    per_second: float
    phases: tuple[float, float, float]
    """Their means, as PHASES."""
    rest: float
    """The mean of what is in no phase: HTTP, the daemon, the caller."""


def call_many(url: str, body: bytes, count: int, callers: int, each: Callable[[], None]) -> tuple[list[Timing], float]:
    """POST `body` to `url` `count` times from `callers` at once, each over one connection that is kept.

    Return the timings and how many seconds all of it took. `each` is called after every call, in any thread.
    Raises FunctionFailedCall for an answer other than success; interrupted, the callers end after their call.
    """
    remaining = iter(range(count))
    lock, stop = threading.Lock(), threading.Event()

    def caller() -> list[Timing]:
        timings = []
        connection = _connect(url)
        try:
            while not stop.is_set():
                with lock:
                    if next(remaining, None) is None:
                        break
                timings.append(_call(connection, urlsplit(url).path, body))
                each()
        except BaseException:
            stop.set()
            raise
        finally:
            connection.close()
        return timings

    started = time.perf_counter()
    with ThreadPoolExecutor(callers) as executor:
        futures = [executor.submit(caller) for _ in range(callers)]
        try:
            timings = [timing for future in futures for timing in future.result()]
        finally:
            stop.set()
    return timings, time.perf_counter() - started


def _connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)


def _call(connection: http.client.HTTPConnection, path: str, body: bytes) -> Timing:
    started = time.perf_counter()
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise CommandError(f"A call was not answered: {error!r}") from error
    total = time.perf_counter() - started
    if response.status != 200:
        raise FunctionFailedCall(f"A call was answered {response.status}: {content.decode(errors='replace')}")
    cold = response.headers.get("Fnd-Container") == "cold"
    return Timing(total, cold, read_phases(response.headers.get("Fnd-Timing", "")))


def read_phases(header: str) -> tuple[float, float, float]:
    """Read `queue=…;launch=…;run=…`; what is absent took no time."""
    values = dict(part.strip().partition("=")[::2] for part in header.split(";") if "=" in part)
    queue, launch, run = (float(values.get(phase, 0)) for phase in PHASES)
    return queue, launch, run


def summarise(timings: Sequence[Timing], seconds: float) -> Summary:
    """Return what many calls, at least one, come to."""
    totals = sorted(timing.total for timing in timings)
    count = len(timings)
    queue, launch, run = (sum(timing.phases[index] for timing in timings) / count for index in range(3))
    return Summary(
        calls=count,
        cold=sum(timing.cold for timing in timings),
        median=percentile(totals, 0.5),
        p99=percentile(totals, 0.99),
        per_second=count / seconds,
        phases=(queue, launch, run),
        rest=max(sum(totals) / count - queue - launch - run, 0.0),
    )


def percentile(in_order: Sequence[float], part: float) -> float:
    """Return the smallest value that `part` of all are not above (nearest rank)."""
    return in_order[max(math.ceil(part * len(in_order)) - 1, 0)]
