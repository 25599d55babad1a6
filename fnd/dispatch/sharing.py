"""Containers that serve several calls at once: the books of who runs where, and which containers have room.

A call goes to a busy container that has room before it goes to an idle one, and of those to the one that got room last:
as with the stack of idle containers, light load keeps few of them busy, and the rest become idle and reach their idle
time-out. A call costs the same however many a container serves.
"""

from __future__ import annotations

from typing import Any

from fnd.dispatch.slot import Slot, SlotState


def begin(slot: Slot, call: Any, now: float) -> None:
    """A call gets the slot, which stands in no chain, or has room."""
    pool = slot.pool
    running = slot.running
    if slot.state is not SlotState.BUSY:
        slot.move(SlotState.BUSY, now)
        pool.busy += 1
    running[call] = now
    slot.calls += 1
    pool.running += 1
    pool.meter.began += now
    if len(running) < pool.concurrency:
        open_up(slot)
    elif slot.open:
        _close(slot)


def end(slot: Slot, call: Any, now: float) -> None:
    """A call of a BUSY slot is over. What becomes of the room is to be decided: `begin`, `open_up` or `withdraw`."""
    pool = slot.pool
    began = slot.running.pop(call)
    pool.running -= 1
    pool.meter.began -= began
    pool.meter.ran(now - began)


def open_up(slot: Slot) -> None:
    """The BUSY slot has room for calls that come."""
    if not slot.open:
        slot.open = True
        slot.pool.open.append(slot)


def withdraw(slot: Slot) -> None:
    """The BUSY slot serves its pool no more, whatever it runs: that counts no more either."""
    pool = slot.pool
    pool.busy -= 1
    pool.running -= len(slot.running)
    pool.meter.began -= sum(slot.running.values())
    if slot.open:
        _close(slot)


def _close(slot: Slot) -> None:
    slot.open = False
    slot.pool.open.remove(slot)
