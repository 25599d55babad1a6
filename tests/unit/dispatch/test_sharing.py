"""Containers that serve several calls at once."""

from __future__ import annotations

import pytest

from fnd.dispatch import Launch, Limits, Pool, Slot, SlotState, Stop
from fnd.simulation.virtual_shell import Behaviour, VirtualShell
from tests.unit.dispatch.conftest import Bench, add_function


def shared(bench: Bench, pool: Pool, calls: int) -> Slot:
    """Return the pool's one container, which runs so many calls: "call 0", "call 1" and so on."""
    slot = bench.busy(pool, "call 0")
    for number in range(1, calls):
        assert bench.dispatch.arrive(pool, f"call {number}", bench.now) is slot
    return slot


def test_as_many_calls_as_allowed_share_a_container_and_the_next_one_waits(bench: Bench) -> None:
    pool = bench.pool(concurrency=3)
    slot = shared(bench, pool, 3)
    assert (list(slot.in_hand), slot.calls, pool.busy) == (["call 0", "call 1", "call 2"], 3, 1)
    assert bench.dispatch.arrive(pool, "call 3", bench.now) is None
    assert bench.actions() == []
    bench.dispatch.finished(slot, True, bench.now, "call 1")
    assert bench.assigned() == ["call 3"]
    assert list(slot.in_hand) == ["call 0", "call 2", "call 3"]


def test_a_container_that_is_ready_is_filled_with_who_waits_in_order(bench: Bench) -> None:
    pool = bench.pool(concurrency=3)
    for number in range(4):
        assert bench.dispatch.arrive(pool, number, bench.now) is None
    (slot,) = bench.launches()
    bench.dispatch.ready(slot, 0.1)
    assert bench.assigned() == [0, 1, 2]
    assert pool.line.length == 1


def test_calls_go_to_busy_containers_with_room_before_idle_ones(bench: Bench) -> None:
    pool = bench.pool(concurrency=2)
    first = shared(bench, pool, 2)
    bench.dispatch.arrive(pool, "waits", bench.now)
    bench.now += 10.0
    bench.dispatch.tick(bench.now)
    (second,) = bench.launches()
    bench.dispatch.ready(second, bench.now)
    bench.actions()
    bench.dispatch.finished(second, True, bench.now, "waits")
    assert second.state is SlotState.IDLE
    bench.dispatch.finished(first, True, bench.now, "call 0")
    assert bench.dispatch.arrive(pool, "one", bench.now) is first
    assert bench.dispatch.arrive(pool, "two", bench.now) is second
    bench.dispatch.finished(first, True, bench.now, "call 1")
    assert bench.dispatch.arrive(pool, "three", bench.now) is first, "of two with room, the one that got it last"
    assert bench.dispatch.arrive(pool, "four", bench.now) is second


def test_a_container_is_idle_when_its_last_call_is_over(bench: Bench) -> None:
    pool = bench.pool(concurrency=2, idle_timeout=5.0)
    slot = shared(bench, pool, 2)
    bench.dispatch.finished(slot, True, 1.0, "call 0")
    assert (slot.state, bench.dispatch.idle_deadline(slot)) == (SlotState.BUSY, float("inf"))
    bench.dispatch.finished(slot, True, 2.0, "call 1")
    assert (slot.state, bench.dispatch.idle_deadline(slot)) == (SlotState.IDLE, 7.0)
    assert bench.dispatch.expire(slot, 7.0)


def test_runs_and_ages_are_each_calls_own(bench: Bench) -> None:
    pool = bench.pool(concurrency=2)
    slot = bench.busy(pool, "long")
    bench.dispatch.arrive(pool, "short", 1.1)
    assert pool.meter.began == pytest.approx(0.1 + 1.1)
    bench.dispatch.finished(slot, True, 1.3, "short")
    assert [pool.meter.mean_run, pool.meter.began] == pytest.approx([0.2, 0.1])
    assert (slot.got_by("long"), slot.since) == (0.1, 0.1)


def test_a_container_that_must_not_be_used_again_ends_under_its_other_calls(bench: Bench) -> None:
    pool = bench.pool(concurrency=3)
    slot = shared(bench, pool, 3)
    bench.dispatch.finished(slot, False, bench.now, "call 1")
    assert bench.actions() == [Stop(slot)]
    assert (slot.state, list(slot.in_hand), pool.busy, pool.running) == (SlotState.STOPPING, ["call 0", "call 2"], 0, 0)
    assert bench.dispatch.arrive(pool, "next", bench.now) is None
    for call in ("call 0", "call 2"):
        bench.dispatch.finished(slot, False, bench.now, call)
    bench.dispatch.stopped(slot, bench.now)
    assert slot.state is SlotState.STOPPED
    assert not slot.in_hand


def test_a_container_that_exits_is_out_of_the_books_with_all_its_calls(bench: Bench) -> None:
    pool = bench.pool(concurrency=3)
    slot = shared(bench, pool, 2)
    bench.dispatch.exited(slot, bench.now)
    assert (slot.state, pool.busy, pool.running, pool.open.length) == (SlotState.STOPPING, 0, 0, 0)
    assert pool.meter.began == pytest.approx(0.0)
    assert bench.dispatch.snapshot(bench.now).running == 2, "until they are reported finished"


def test_while_the_daemon_stops_room_is_given_to_nobody(bench: Bench) -> None:
    pool = bench.pool(concurrency=2)
    slot = shared(bench, pool, 1)
    bench.dispatch.drain(bench.now)
    assert bench.dispatch.arrive(pool, "late", bench.now) is None
    assert [type(action).__name__ for action in bench.actions()] == ["Reject"]
    bench.dispatch.finished(slot, True, bench.now, "call 0")
    assert bench.actions() == [Stop(slot)]


def test_a_retired_pools_container_stops_when_its_last_call_is_over(bench: Bench) -> None:
    pool = bench.pool(concurrency=2)
    slot = shared(bench, pool, 2)
    bench.dispatch.retire(pool, bench.now)
    bench.dispatch.finished(slot, True, bench.now, "call 0")
    assert bench.actions() == []
    bench.dispatch.finished(slot, True, bench.now, "call 1")
    assert bench.actions() == [Stop(slot)]


# Given up for another pool.


def crowded() -> tuple[Bench, Pool, list[Slot], Pool]:
    """Return a full machine: a pool of two containers of two calls each, more waiting, and a pool that needs one."""
    bench = Bench(Limits(memory=200))
    pool = bench.pool(concurrency=2)
    calls = iter(range(100))
    for _ in range(6):
        bench.dispatch.arrive(pool, next(calls), bench.now)
    (first,) = bench.launches()
    bench.now = 0.1
    bench.dispatch.ready(first, bench.now)
    bench.actions()
    bench.now = 10.0
    bench.dispatch.tick(bench.now)
    (second,) = bench.launches()
    bench.now = 10.1
    bench.dispatch.ready(second, bench.now)
    bench.actions()
    rival = bench.pool()
    bench.dispatch.arrive(rival, "rival", bench.now)
    assert bench.actions() == []
    assert pool.line.length == 2
    return bench, pool, [first, second], rival


def test_a_container_given_up_for_another_pool_finishes_its_calls_first() -> None:
    bench, pool, (first, second), rival = crowded()
    bench.dispatch.finished(first, True, bench.now, 0)
    assert bench.actions() == []
    assert (first.state, pool.busy, pool.leaving, bench.dispatch.capacity.memory.leaving) == (
        SlotState.LEAVING, 1, 1, 100,
    )  # fmt: skip
    bench.dispatch.finished(second, True, bench.now, 2)
    assert bench.assigned() == [4], "one is enough for the other pool"
    bench.dispatch.finished(first, True, bench.now, 1)
    assert bench.actions() == [Stop(first)]
    bench.dispatch.stopped(first, bench.now)
    assert [action.slot.pool for action in bench.actions() if isinstance(action, Launch)] == [rival]


def test_a_container_that_leaves_stops_at_once_if_it_must_not_be_used_again() -> None:
    bench, pool, (first, _), _ = crowded()
    bench.dispatch.finished(first, True, bench.now, 0)
    bench.dispatch.finished(first, False, bench.now, 1)
    assert bench.actions() == [Stop(first)]
    assert (pool.leaving, bench.dispatch.capacity.memory.leaving) == (0, 0)


def test_a_container_that_exits_while_it_leaves_is_out_of_the_books() -> None:
    bench, pool, (first, _), _ = crowded()
    bench.dispatch.finished(first, True, bench.now, 0)
    bench.dispatch.exited(first, bench.now)
    assert (first.state, pool.leaving, bench.dispatch.capacity.memory.leaving) == (SlotState.STOPPING, 0, 0)
    bench.dispatch.finished(first, False, bench.now, 1)
    assert not first.in_hand


def test_one_that_leaves_counts_as_one_of_the_containers_that_a_pool_may_have() -> None:
    bench = Bench(Limits(memory=100))
    pool = bench.pool(concurrency=2, max_containers=1)
    for call in range(3):
        bench.dispatch.arrive(pool, call, bench.now)
    (slot,) = bench.launches()
    bench.dispatch.ready(slot, 0.1)
    bench.actions()
    rival = bench.pool(memory=10)
    bench.dispatch.arrive(rival, "rival", 0.1)
    bench.dispatch.finished(slot, True, 5.0, 0)
    assert slot.state is SlotState.LEAVING
    assert pool.wanted(5.0) == 0
    bench.dispatch.finished(slot, True, 5.0, 1)
    assert pool.wanted(5.0) == 1


# How many are worth their launch.


def peak(concurrency: int, run: float, callers: int = 64) -> int:
    """Return how many containers so many callers, each calling again at once, come to have in 5 s."""
    shell = VirtualShell(Limits(memory=128 * 100))
    function = add_function(shell, "f", Behaviour(run=lambda now: run), concurrency=concurrency)
    shell.callers(function, callers, 5.0)
    shell.advance(5.0)
    return function.tally.containers_peak


def test_calls_that_fit_in_one_container_have_one(bench: Bench) -> None:
    assert peak(concurrency=64, run=1.0) == 1


def test_slow_calls_spread_over_as_many_containers_as_they_fill(bench: Bench) -> None:
    assert peak(concurrency=16, run=1.0) == 4
    assert peak(concurrency=10, run=1.0) == 7


def test_fast_calls_line_up_for_a_full_container(bench: Bench) -> None:
    assert peak(concurrency=16, run=0.001) == 1
