"""What the calls and containers of one fn version share: its driver, its codec, its environment, its limits.

Made once per version, so that a call and a launch find everything at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import attrs
import trio

from fnd import errors
from fnd.hookspecs import CallRequest, Codec, ContainerSpec, Driver, Launching, LogSink, PassingCodec, PerCallCodec
from fnd.runtime.events import Event, EventBus, EventKind

if TYPE_CHECKING:
    from fnd.catalog import FnVersion
    from fnd.dispatch import Pool
    from fnd.runtime.call import Call
    from fnd.runtime.call_records import CallRecords


@attrs.frozen
class PoolTimeouts:
    """Seconds."""

    start: float = 5.0
    """From the driver's start to a container that is ready."""
    image: float = 600.0
    """For an image to be made available."""
    pause: float = inf
    """Until an idle container is paused."""


class FunctionPool:
    """One fn version, ready to be called. `decisions` is its side in the dispatcher, whose key it is."""

    __slots__ = (
        "_environment",
        "_events",
        "_launcher",
        "codec",
        "decisions",
        "driver",
        "failures",
        "passes_requests",
        "per_call",
        "record",
        "timeouts",
        "version",
    )

    decisions: Pool

    def __init__(
        self,
        version: FnVersion,
        driver: Driver,
        codec: Codec,
        timeouts: PoolTimeouts,
        events: EventBus,
        records: CallRecords,
    ) -> None:
        self.version = version
        self.driver = driver
        self.codec = codec
        self.per_call = isinstance(codec, PerCallCodec) and not codec.hot
        """Whether a container starts when its call has come, which its environment tells of."""
        self.passes_requests = isinstance(codec, PassingCodec)
        """Whether its functions get whole requests, and their answers go to callers as they are."""
        self.timeouts = timeouts
        self._events = events
        self.record = records.add
        """To be told of each call that is over, once."""
        self.failures = 0
        self._environment = _environment(version)
        self._launcher = codec.launcher if isinstance(codec, Launching) else ""

    @property
    def timeout(self) -> int:
        """Seconds a call may run."""
        return self.version.fn.timeout

    def call_failed(self, call: Call, error: errors.APIError) -> None:
        """Count, and tell who listens, that `call` is answered with `error`."""
        self.failures += 1
        if self._events.listening:
            self._events.publish(
                Event(
                    EventKind.CALL_FAILED,
                    {
                        "call_id": call.id,
                        "fn_id": self.version.fn.id,
                        "status": error.status,
                        "error": error.message,
                    },
                )
            )

    async def prepare(self) -> None:
        """Make the image startable. Raises ImageUnusable or ImagePullTimedOut."""
        with trio.move_on_after(self.timeouts.image) as scope:
            await self.driver.prepare(self.version.fn.image)
        if scope.cancelled_caught:
            raise errors.ImagePullTimedOut

    def spec(self, container_id: str, log: LogSink, request: CallRequest | None = None) -> ContainerSpec:
        """Return what the driver needs to know for one more container; `request` if it starts for this call alone."""
        app, fn = self.version.app, self.version.fn
        return ContainerSpec(
            container_id=container_id,
            app_id=app.id,
            app_name=app.name,
            fn_id=fn.id,
            fn_name=fn.name,
            image=fn.image,
            memory=fn.memory,
            cpu=fn.cpu,
            concurrency=fn.concurrency,
            link=self.codec.link,
            environment=partial(self._full_environment, request),
            log=log,
            launcher=self._launcher,
        )

    def _full_environment(self, request: CallRequest | None, socket_directory: str) -> Mapping[str, str]:
        environment = {**self._environment, **self.codec.environment(socket_directory)}
        if request is not None:
            assert isinstance(self.codec, PerCallCodec)
            environment |= self.codec.call_environment(request)
        return environment


def _environment(version: FnVersion) -> Mapping[str, str]:
    """Return app configuration, fn configuration over it, Fn's own variables over both."""
    app, fn = version.app, version.fn
    return {
        **app.config,
        **fn.config,
        "FN_MEMORY": str(fn.memory),
        "FN_TYPE": "sync",
        "FN_APP_ID": app.id,
        "FN_APP_NAME": app.name,
        "FN_FN_ID": fn.id,
        "FN_FN_NAME": fn.name,
        **({"FND_CONCURRENCY": str(fn.concurrency)} if fn.concurrency > 1 else {}),
    }
