"""What dispatch tells its shell to do, and the reasons it gives. Plain values, made on no fast path."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from fnd.dispatch.slot import Slot

if TYPE_CHECKING:
    from fnd.dispatch.pool import Pool


class RejectReason(enum.Enum):
    """Why a call will not be served."""

    TOO_LARGE = "too large"
    """Its function needs more memory, or more of the processors, than the whole machine has."""
    LINE_FULL = "line full"
    """As many calls as allowed wait for this pool."""
    LAUNCH_FAILED = "launch failed"
    """Its pool's containers cannot be launched; the error says why."""
    DRAINING = "draining"
    """The daemon is stopping."""


class WaitReason(enum.StrEnum):
    """What a call waited for, in the words `fnd explain` prints."""

    HERD_GATE = "herd gate"
    """The pool had no container; the first was being launched."""
    BUSY = "busy containers"
    """All were busy, and one coming free was expected sooner than another could be launched."""
    CAPACITY = "capacity"
    """The machine's memory was reserved by others, or held for those who waited longer."""
    PROCESSORS = "processors"
    """There was memory, but the machine's processors were reserved by others."""
    LAUNCH_LIMIT = "launch limit"
    """The machine was launching as many containers as it can without all of them becoming slow."""
    BACK_OFF = "back-off"
    """A launch had failed, and the next was not due yet."""


@attrs.define
class Assign:
    """Give the waiting `call` this container; it is BUSY with it already."""

    call: Any
    slot: Slot
    why: WaitReason
    """What the call waited for."""


@attrs.define
class Launch:
    """Start a container for this slot: all it needs is reserved. Report `ready` or `launch_failed`, then `stopped`."""

    slot: Slot


@attrs.define
class Stop:
    """End this slot's container, or its launch. Report `stopped` when everything of it is gone."""

    slot: Slot


@attrs.define
class Reject:
    """Answer the call with an error; dispatch has forgotten it."""

    call: Any
    reason: RejectReason
    error: Any = None
    """What `launch_failed` reported, with LAUNCH_FAILED."""
    why: WaitReason | None = None
    """What the call waited for; None if it was refused as it came."""


@attrs.define
class Forget:
    """Drop what is kept for this pool: it is empty, and retired or the least recently used of too many."""

    pool: Pool


Action: TypeAlias = Assign | Launch | Stop | Reject | Forget
