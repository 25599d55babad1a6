"""The things fnd keeps: apps, fns, triggers and records of calls, as frozen values.

What an app, a fn or a trigger may be is for fnd.api.validation.

Sizes are in MiB, times in seconds, moments timezone-aware in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Protocol

import attrs

DEFAULT_MEMORY: Final = 128
DEFAULT_TIMEOUT: Final = 30
DEFAULT_IDLE_TIMEOUT: Final = 30
DEFAULT_FORMAT: Final = "http-stream"


@attrs.frozen(kw_only=True)
class App:
    """A group of fns that share configuration."""

    id: str
    name: str
    created_at: datetime
    updated_at: datetime
    config: Mapping[str, str] = attrs.field(factory=dict)
    annotations: Mapping[str, Any] = attrs.field(factory=dict)
    syslog_url: str = ""
    shape: str = ""


@attrs.frozen(kw_only=True)
class Fn:
    """A function's definition: what is run, with how much memory, for how long."""

    id: str
    name: str
    app_id: str
    image: str
    created_at: datetime
    updated_at: datetime
    format: str = DEFAULT_FORMAT
    memory: int = DEFAULT_MEMORY
    timeout: int = DEFAULT_TIMEOUT
    idle_timeout: int = DEFAULT_IDLE_TIMEOUT
    cpu: int = 0
    """Thousandths of a core that each container has reserved and gets at most; 0: none, and no limit."""
    min_warm: int = 0
    """Containers kept even when nobody calls."""
    max_containers: int = 0
    """Containers at most; 0 is no limit."""
    concurrency: int = 1
    """Calls that one container serves at once."""
    config: Mapping[str, str] = attrs.field(factory=dict)
    annotations: Mapping[str, Any] = attrs.field(factory=dict)
    shape: str = ""


@attrs.frozen(kw_only=True)
class Trigger:
    """A URL, `/t/{app name}{source}`, that leads to a fn."""

    id: str
    name: str
    app_id: str
    fn_id: str
    source: str
    created_at: datetime
    updated_at: datetime
    type: str = "http"
    annotations: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Situation:
    """What a call that found no idle container met, and what was decided: why it waited, in numbers."""

    ahead: int
    """Calls that stood in line before it."""
    busy: int
    """Containers that each ran a call."""
    launching: int
    """Containers being launched, without what its own coming led to."""
    launched: int
    """Containers that were launched because it came."""
    mean_run: float
    """Seconds that calls ran, of late; 0.0: none had finished."""
    mean_start: float
    """Seconds from launch to ready, of late; 0.0: none had been ready."""


@attrs.frozen(kw_only=True)
class CallRecord:
    """One call: when it came, what it waited for, how long each part took, and how it ended.

    `receive`, `queue`, `launch` and `run`, in seconds, add up to the time from its coming to its answer.
    """

    id: str
    app_id: str
    app_name: str
    fn_id: str
    fn_name: str
    arrived_at: datetime
    """When its head had been read: the millisecond that its id tells."""
    state: str
    """"waiting" or "running" while it goes on, "answered", or "failed" with `error`."""
    status: int
    """What it was answered with, 444 if its caller was gone; 0 while it goes on."""
    error: str
    """What a failed one was answered, or would have been; "" for the others."""
    cold: bool
    """Whether its container was launched while, or because, it waited."""
    resumed: bool
    """Whether its container was paused and had to run on first; that is part of `run`."""
    receive: float
    """Seconds until its body was there, as far as that is awaited."""
    queue: float
    """Seconds it waited for a container, those of `launch` not counted."""
    launch: float
    """Seconds of its wait in which its container was being launched."""
    run: float
    """Seconds it had its container."""
    waited_for: str
    """What it waited for, in the words of fnd.dispatch.WaitReason; "" if it did not wait."""
    container_id: str
    """Which container took it; "" for none."""
    situation: Situation | None
    """What it met if no container was idle when it came."""

    @property
    def total(self) -> float:
        """Seconds from its coming to its answer, or until now."""
        return self.receive + self.queue + self.launch + self.run


class Matched(Protocol):
    """A call as CallQuery looks at it: its record, or itself before there is one."""

    @property
    def app_id(self) -> str:
        """Whose fn was called."""

    @property
    def fn_id(self) -> str:
        """Which fn was called."""

    @property
    def error(self) -> str:
        """What it failed with."""

    @property
    def total(self) -> float:
        """Seconds from its coming to its answer, or until now."""


@attrs.frozen(kw_only=True)
class CallQuery:
    """Which records to show: the newest that match everything that is given, newest first."""

    limit: int
    app_id: str = ""
    fn_id: str = ""
    failed: bool = False
    """Only those that failed."""
    slower: float = 0.0
    """Only those that took longer than so many seconds in all."""

    def matches(self, call: Matched) -> bool:
        """Whether the call is one of those asked for."""
        return (
            self.app_id in ("", call.app_id)
            and self.fn_id in ("", call.fn_id)
            and (not self.failed or call.error != "")
            and (not self.slower or call.total > self.slower)
        )
