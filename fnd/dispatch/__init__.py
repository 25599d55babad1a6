"""Decides which container serves which call, and when containers are launched and stopped. Pure: no I/O, no clock.

The trio shell (fnd.runtime) turns what happens into events of Dispatch, and the actions that Dispatch answers with into
tasks. hypothesis and the simulator drive the same machine.
"""

from fnd.dispatch.actions import Action, Assign, Forget, Launch, Reject, RejectReason, Stop, WaitReason
from fnd.dispatch.dispatch import Dispatch
from fnd.dispatch.limits import KeepAlive, Limits, PoolSettings
from fnd.dispatch.pool import Pool
from fnd.dispatch.slot import TRANSITIONS, Slot, SlotState
from fnd.dispatch.statistics import DispatchSnapshot, PoolSnapshot, SlotSnapshot

__all__ = [
    "TRANSITIONS",
    "Action",
    "Assign",
    "Dispatch",
    "DispatchSnapshot",
    "Forget",
    "KeepAlive",
    "Launch",
    "Limits",
    "Pool",
    "PoolSettings",
    "PoolSnapshot",
    "Reject",
    "RejectReason",
    "Slot",
    "SlotSnapshot",
    "SlotState",
    "Stop",
    "WaitReason",
]
