"""What happens in the daemon, told to who listens: containers come and go, fns change, calls fail.

Publishing is a plain call that costs next to nothing while nobody listens, and never waits. Listeners have
bounded subscriptions. `fnd events` and the control socket's stream of events read them.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Mapping
from typing import Any

import attrs

from fnd.runtime.subscription import Bus


class EventKind(enum.StrEnum):
    """What an event tells."""

    CONTAINER_LAUNCHED = "container.launched"
    """A driver was asked for a container. Fields: container_id, fn_id, fn_name, app_name."""
    CONTAINER_READY = "container.ready"
    """It can take calls. Fields: as above, and seconds since its launch."""
    CONTAINER_STOPPED = "container.stopped"
    """It is gone. Fields: as above, calls, and reason."""
    LAUNCH_FAILED = "container.launch_failed"
    """It never became ready. Fields: as above, and error."""
    MEMORY_PRESSURE = "memory.pressure"
    """The machine is short of memory. Fields: containers that were idle and are being stopped, their memory in MiB."""
    CALL_FAILED = "call.failed"
    """A call was answered with an error. Fields: call_id, fn_id, status, error."""
    APP_CREATED = "app.created"
    """Fields: app_id, app_name."""
    APP_CHANGED = "app.changed"
    APP_DELETED = "app.deleted"
    FN_CREATED = "fn.created"
    """Fields: fn_id, fn_name, app_id, image."""
    FN_CHANGED = "fn.changed"
    FN_DELETED = "fn.deleted"
    TRIGGER_CREATED = "trigger.created"
    """Fields: trigger_id, trigger_name, fn_id, source."""
    TRIGGER_CHANGED = "trigger.changed"
    TRIGGER_DELETED = "trigger.deleted"
    DAEMON_STATE = "daemon.state"
    """The daemon is in another state. Fields: state."""
    SETTINGS_RELOADED = "daemon.reloaded"
    """Fields: changed, restart_needed."""
    STORE_HEALTH = "store.health"
    """The store failed or is well again. Fields: ok, error."""
    EVENTS_LOST = "events.lost"
    """This listener read too slowly. Fields: count."""


@attrs.frozen
class Event:
    """One thing that happened."""

    kind: EventKind
    fields: Mapping[str, str | int | float | bool | tuple[str, ...] | None] = attrs.field(factory=dict)
    """What it happened to, as JSON can have it; see EventKind."""
    at: float = attrs.field(factory=time.time)
    """Unix time, seconds."""

    def as_json(self) -> dict[str, Any]:
        """Return what a listener over HTTP gets: the fields between `kind` and `at`."""
        return {"kind": str(self.kind), **self.fields, "at": self.at}


class EventBus(Bus[Event]):
    """Hands every event to every listener; one that reads too slowly gets an EVENTS_LOST for those that were lost."""

    def __init__(self) -> None:
        super().__init__(lambda count: Event(EventKind.EVENTS_LOST, {"count": count}))
