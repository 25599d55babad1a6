"""A slot: one container from the decision to launch it until its memory is returned, and the states it goes through."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from fnd.dispatch.chain import Member

if TYPE_CHECKING:
    from fnd.dispatch.pool import Pool


class SlotState(enum.Enum):
    """Where a container is in its life."""

    LAUNCHING = "launching"
    IDLE = "idle"
    BUSY = "busy"
    """It runs a call, or several; whether it has room for another, its pool's `open` tells."""
    LEAVING = "leaving"
    """It finishes the calls that it has, is given no other, and stops then. Only one that serves several at once."""
    STOPPING = "stopping"
    """Never given a call again; its memory is still reserved."""
    STOPPED = "stopped"
    """Everything of it is gone, and its memory returned."""


TRANSITIONS: Final[Mapping[SlotState, frozenset[SlotState]]] = {
    SlotState.LAUNCHING: frozenset({SlotState.IDLE, SlotState.BUSY, SlotState.STOPPING}),
    SlotState.IDLE: frozenset({SlotState.BUSY, SlotState.STOPPING}),
    SlotState.BUSY: frozenset({SlotState.IDLE, SlotState.BUSY, SlotState.LEAVING, SlotState.STOPPING}),
    SlotState.LEAVING: frozenset({SlotState.STOPPING}),
    SlotState.STOPPING: frozenset({SlotState.STOPPED}),
    SlotState.STOPPED: frozenset(),
}
"""Which state may follow which. BUSY follows BUSY when the next waiter gets the container that a call gave back."""


class Slot(Member):
    """One container as dispatch sees it. The shell reads all of it and writes `container` alone."""

    __slots__ = (
        "call", "calls", "container", "inflation", "launched_at", "open", "pool", "running", "since", "spared_at",
        "state", "successor_of",
    )  # fmt: skip

    def __init__(self, pool: Pool, now: float) -> None:
        self.pool = pool
        self.state = SlotState.LAUNCHING
        self.since = now
        """When it came into this state; with BUSY, when its call, or the first of several, got it."""
        self.launched_at = now
        self.calls = 0
        """Calls it has been given."""
        self.call: Any = None
        """The call it runs, of a pool whose containers run one at once.

        A container that ends under its call keeps it until that call is reported finished."""
        self.running: dict[Any, float] = {}
        """The same of any other pool: the calls that it runs, and when each got it."""
        self.open = False
        """Whether it stands among its pool's `open` ones."""
        self.container: Any = None
        """The shell's."""
        self.inflation = 0.0
        """The eviction clock when it was last used (see fnd.dispatch.eviction)."""
        self.spared_at = now
        """When it was last kept, past its idle deadline, for `min_warm`."""
        self.successor_of: float | None = None
        """When a container had been used in whose place, once a call was expected again, this one was launched."""

    @property
    def unused_since(self) -> float:
        """With IDLE, when it was used last; if it never was, when the one before it was."""
        return self.since if self.calls or self.successor_of is None else self.successor_of

    @property
    def in_hand(self) -> Collection[Any]:
        """The calls it runs, or ended under."""
        return self.running or (() if self.call is None else (self.call,))

    def got_by(self, call: Any) -> float:
        """Return when `call`, one of those in hand, got it."""
        return self.running.get(call, self.since)

    def __repr__(self) -> str:
        return f"<Slot of {self.pool.key} {self.state.value}>"

    def move(self, state: SlotState, now: float) -> None:
        """Go to `state`, which TRANSITIONS must allow."""
        assert state in TRANSITIONS[self.state], f"{self.state} to {state}"
        self.state = state
        self.since = now
