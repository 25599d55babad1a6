"""What is counted of one function while it is simulated: sums, and the waits one by one."""

from __future__ import annotations

from array import array
from collections import Counter

from fnd.dispatch import RejectReason, Slot, SlotState, WaitReason


class Tally:
    """One function's counts and sums; seconds are virtual, and those of containers add up over containers."""

    __slots__ = (
        "answered", "arrived", "busy_seconds", "cold_starts", "containers", "containers_peak", "ended", "expired",
        "launches", "launching_seconds", "rejected", "reserved_seconds", "stopping_seconds", "stops", "waited_for",
        "waits",
    )  # fmt: skip

    def __init__(self) -> None:
        self.arrived = 0
        """Calls that came."""
        self.answered = 0
        """Calls that ran and are over."""
        self.rejected: Counter[RejectReason] = Counter()
        self.waits = array("d")
        """How long each call waited that found no idle container and got one later, in the order they got it."""
        self.waited_for: Counter[WaitReason] = Counter()
        self.cold_starts = 0
        """Calls that waited and were the first of their container."""
        self.launches = 0
        self.containers = 0
        """That reserve memory at present: being launched, idle, busy or being stopped."""
        self.containers_peak = 0
        self.expired = 0
        """Containers stopped since they had been idle for too long."""
        self.ended = 0
        """Containers stopped as their call ended: given up for another function, no help, or of a cold format."""
        self.stops = 0
        """Containers that dispatch had stopped: `ended`, and evicted ones."""
        self.reserved_seconds = 0.0
        """From launch until memory is returned; of containers that are gone, as the next three."""
        self.launching_seconds = 0.0
        self.stopping_seconds = 0.0
        self.busy_seconds = 0.0

    @property
    def evicted(self) -> int:
        """Idle containers stopped for the memory of others."""
        return self.stops - self.ended

    def launched(self) -> None:
        """Count a launch."""
        self.launches += 1
        self.containers += 1
        self.containers_peak = max(self.containers_peak, self.containers)

    def waited(self, wait: float, why: WaitReason, first: bool) -> None:
        """Count a call that waited for so many seconds; `first`: it is the first call of its container."""
        self.waits.append(wait)
        self.waited_for[why] += 1
        self.cold_starts += first

    def gone(self, slot: Slot, now: float) -> None:
        """Count out a container that is stopping and whose memory is returned now."""
        self.containers -= 1
        self.reserved_seconds += now - slot.launched_at
        self.stopping_seconds += now - slot.since

    def close(self, slot: Slot, now: float) -> None:
        """Add the seconds of a container that is left when the simulation ends; no call runs in it."""
        self.reserved_seconds += now - slot.launched_at
        if slot.state is SlotState.LAUNCHING:
            self.launching_seconds += now - slot.launched_at
        elif slot.state is SlotState.STOPPING:
            self.stopping_seconds += now - slot.since

    @property
    def idle_seconds(self) -> float:
        """Seconds that containers were ready and ran nothing."""
        return max(0.0, self.reserved_seconds - self.launching_seconds - self.busy_seconds - self.stopping_seconds)
