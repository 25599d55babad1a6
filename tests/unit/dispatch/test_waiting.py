"""Waiting calls: the line's length, leaving it, and what a call is told that it waits for."""

from __future__ import annotations

import pytest

from fnd.dispatch import Assign, Limits, Reject, RejectReason, WaitReason
from tests.unit.dispatch.conftest import Bench


def test_a_line_has_an_end() -> None:
    bench = Bench(Limits(memory=1000, max_waiting=3))
    pool = bench.pool()
    for call in range(5):
        bench.dispatch.arrive(pool, call, 0.0)
    assert [action for action in bench.actions() if isinstance(action, Reject)] == [
        Reject(3, RejectReason.LINE_FULL),
        Reject(4, RejectReason.LINE_FULL),
    ]
    bench.dispatch.arrive(bench.pool(), "of another pool", 0.0)
    assert not any(isinstance(action, Reject) for action in bench.actions())


def test_who_leaves_the_line_is_not_served_and_the_others_keep_their_order(bench: Bench) -> None:
    pool = bench.pool(max_containers=1)
    slot = bench.busy(pool, "running")
    for call in range(5):
        bench.dispatch.arrive(pool, call, bench.now)
    for call in (0, 2, 4):
        bench.dispatch.gone(call, bench.now)
    served = []
    for _ in range(3):
        bench.dispatch.finished(slot, True, bench.now)
        served += bench.assigned()
    assert served == [1, 3]


def test_leaving_after_being_served_or_never_having_waited_changes_nothing(bench: Bench) -> None:
    pool = bench.pool()
    slot = bench.busy(pool, "served")
    bench.dispatch.gone("served", bench.now)
    bench.dispatch.gone("unknown", bench.now)
    assert slot.call == "served"
    assert bench.actions() == []


def test_a_launch_goes_on_when_its_caller_leaves(bench: Bench) -> None:
    pool = bench.pool()
    bench.dispatch.arrive(pool, "call", 0.0)
    (slot,) = bench.launches()
    bench.dispatch.gone("call", 0.05)
    bench.dispatch.ready(slot, 0.1)
    assert bench.dispatch.arrive(pool, "next", 0.2) is slot


def test_a_call_may_wait_again_after_it_left(bench: Bench) -> None:
    pool = bench.pool()
    bench.dispatch.arrive(pool, "call", 0.0)
    bench.dispatch.gone("call", 0.1)
    bench.dispatch.arrive(pool, "call", 0.2)
    (slot,) = bench.launches()
    bench.dispatch.ready(slot, 0.3)
    assert bench.assigned() == ["call"]


def test_a_call_that_waits_already_is_refused(bench: Bench) -> None:
    pool = bench.pool()
    bench.dispatch.arrive(pool, "call", 0.0)
    with pytest.raises(AssertionError):
        bench.dispatch.arrive(pool, "call", 0.0)
    assert pool.line.length == 1


def test_why_a_call_waits() -> None:
    bench = Bench(Limits(memory=100_000, cores=1))
    why = bench.dispatch.why
    gated = bench.pool()
    bench.dispatch.arrive(gated, "first of its pool", 0.0)
    assert why("first of its pool") is WaitReason.HERD_GATE

    (slot,) = bench.launches()
    bench.dispatch.ready(slot, 0.1)
    bench.actions()
    bench.dispatch.arrive(gated, "behind a busy container", 0.1)
    assert why("behind a busy container") is WaitReason.BUSY

    failing = bench.pool()
    bench.dispatch.arrive(failing, "after a failure", 0.1)
    (slot,) = bench.launches()
    bench.dispatch.launch_failed(slot, "no", 0.2)
    bench.dispatch.arrive(failing, "later", 0.21)
    assert why("after a failure") is WaitReason.BACK_OFF
    assert why("later") is WaitReason.BACK_OFF

    for number in range(100):
        bench.dispatch.arrive(bench.pool(), number, 0.25)
    assert why(99) is WaitReason.LAUNCH_LIMIT

    assert why("nobody") is None


def test_an_assignment_tells_what_the_call_waited_for(bench: Bench) -> None:
    pool = bench.pool(max_containers=1)
    bench.dispatch.arrive(pool, "first", 0.0)
    (slot,) = bench.launches()
    bench.dispatch.ready(slot, 0.1)
    assert bench.actions() == [Assign("first", slot, WaitReason.HERD_GATE)]
    bench.dispatch.arrive(pool, "second", 0.1)
    bench.dispatch.finished(slot, True, 0.2)
    assert bench.actions() == [Assign("second", slot, WaitReason.BUSY)]


def test_who_waits_for_processors_does_not_wait_for_memory() -> None:
    bench = Bench(Limits(memory=300, cores=1))
    bench.busy(bench.pool(cpu=1000), "first")
    bench.dispatch.arrive(bench.pool(cpu=1000), "second", bench.now)
    assert bench.dispatch.why("second") is WaitReason.PROCESSORS
    bench.dispatch.arrive(bench.pool(memory=250), "third", bench.now)
    assert bench.dispatch.why("third") is WaitReason.CAPACITY


def test_a_rejection_tells_what_the_call_waited_for(bench: Bench) -> None:
    pool = bench.pool(max_containers=1)
    bench.busy(pool, "first")
    bench.dispatch.arrive(pool, "second", bench.now)
    bench.dispatch.drain(bench.now)
    bench.dispatch.arrive(pool, "third", bench.now)
    assert bench.actions() == [
        Reject("second", RejectReason.DRAINING, why=WaitReason.BUSY),
        Reject("third", RejectReason.DRAINING),
    ]
