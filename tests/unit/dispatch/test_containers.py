"""What becomes of one pool's containers."""

from __future__ import annotations

import math

import pytest

from fnd.dispatch import Assign, Limits, SlotState, Stop
from tests.unit.dispatch.conftest import Bench


def test_the_first_call_launches_a_container_and_gets_it_when_it_is_ready(bench: Bench) -> None:
    pool = bench.pool()
    assert bench.dispatch.arrive(pool, "call", 0.0) is None
    (slot,) = bench.launches()
    assert slot.state is SlotState.LAUNCHING
    bench.dispatch.ready(slot, 0.1)
    assert bench.assigned() == ["call"]
    assert (slot.state, slot.call, slot.since, slot.calls) == (SlotState.BUSY, "call", 0.1, 1)


def test_an_idle_container_is_given_to_a_call_at_once(bench: Bench) -> None:
    pool = bench.pool()
    (slot,) = bench.idle(pool)
    assert bench.dispatch.arrive(pool, "call", 50.0) is slot
    assert (slot.state, slot.call, slot.since, slot.calls) == (SlotState.BUSY, "call", 50.0, 2)
    assert bench.actions() == []


def test_idle_containers_are_taken_last_in_first_out(bench: Bench) -> None:
    pool = bench.pool()
    first, second, third = bench.idle(pool, 3)
    assert bench.dispatch.arrive(pool, 1, bench.now) is third
    assert bench.dispatch.arrive(pool, 2, bench.now) is second
    bench.dispatch.finished(third, True, bench.now)
    assert bench.dispatch.arrive(pool, 3, bench.now) is third
    assert bench.dispatch.arrive(pool, 4, bench.now) is first


def test_waiters_are_served_in_the_order_they_came(bench: Bench) -> None:
    pool = bench.pool(max_containers=1)
    slot = bench.busy(pool, 0)
    for call in range(1, 4):
        bench.dispatch.arrive(pool, call, bench.now)
    for call in range(1, 4):
        bench.dispatch.finished(slot, True, bench.now)
        assert bench.assigned() == [call]
    bench.dispatch.finished(slot, True, bench.now)
    assert slot.state is SlotState.IDLE


def test_a_container_given_back_as_not_reusable_is_stopped_and_the_waiter_gets_a_new_one(bench: Bench) -> None:
    pool = bench.pool(max_containers=1)
    slot = bench.busy(pool, "first")
    bench.dispatch.arrive(pool, "second", bench.now)
    bench.dispatch.finished(slot, False, bench.now)
    assert Stop(slot) in bench.dispatch.actions
    (another,) = bench.launches()
    bench.dispatch.ready(another, bench.now)
    assert bench.assigned() == ["second"]


def test_a_cold_pools_container_serves_one_call(bench: Bench) -> None:
    pool = bench.pool(hot=False)
    slot = bench.busy(pool, "call")
    bench.dispatch.finished(slot, True, bench.now)
    assert bench.actions() == [Stop(slot)]


def test_a_cold_pools_container_that_its_caller_did_not_wait_for_serves_the_next(bench: Bench) -> None:
    pool = bench.pool(hot=False)
    bench.dispatch.arrive(pool, "impatient", 0.0)
    (slot,) = bench.launches()
    bench.dispatch.gone("impatient", 0.05)
    bench.dispatch.ready(slot, 0.1)
    assert bench.dispatch.arrive(pool, "next", 0.2) is slot


@pytest.mark.parametrize("hot", [True, False])
def test_max_containers_is_never_exceeded(bench: Bench, hot: bool) -> None:
    pool = bench.pool(max_containers=2, hot=hot)
    bench.busy(pool, 0)
    for call in range(1, 20):
        bench.dispatch.arrive(pool, call, bench.now)
    for _ in range(100):
        bench.now += 0.1
        bench.dispatch.tick(bench.now)
    assert len(bench.launches()) == 1


def test_an_idle_container_expires_after_the_idle_timeout_and_not_before(bench: Bench) -> None:
    pool = bench.pool(idle_timeout=10.0)
    (slot,) = bench.idle(pool)
    assert bench.dispatch.idle_deadline(slot) == bench.now + 10.0
    assert not bench.dispatch.expire(slot, bench.now + 9.9)
    assert bench.dispatch.expire(slot, bench.now + 10.0)
    assert slot.state is SlotState.STOPPING
    assert bench.dispatch.arrive(pool, "call", bench.now + 10.0) is None


def test_a_busy_container_has_no_idle_deadline_and_does_not_expire(bench: Bench) -> None:
    slot = bench.busy(bench.pool(), "call")
    assert bench.dispatch.idle_deadline(slot) == math.inf
    assert not bench.dispatch.expire(slot, bench.now + 1000.0)


def test_light_load_after_a_burst_keeps_one_container_alive_and_the_rest_expire(bench: Bench) -> None:
    pool = bench.pool(idle_timeout=10.0)
    slots = bench.idle(pool, 3)
    for call in range(12):
        bench.now += 1.0
        slot = bench.dispatch.arrive(pool, call, bench.now)
        assert slot is slots[-1]
        bench.dispatch.finished(slot, True, bench.now)
    assert [bench.dispatch.expire(slot, bench.now) for slot in slots] == [True, True, False]


def test_min_warm_containers_are_launched_though_nobody_calls_one_first(bench: Bench) -> None:
    pool = bench.pool(min_warm=3)
    assert bench.dispatch.next_tick <= 0.0
    bench.dispatch.tick(0.0)
    (slot,) = bench.launches()
    bench.dispatch.ready(slot, 0.1)
    assert len(bench.launches()) == 2
    assert pool.live == 3


def test_min_warm_containers_do_not_expire_and_get_a_new_deadline(bench: Bench) -> None:
    bench.pool(min_warm=1, idle_timeout=10.0)
    bench.dispatch.tick(0.0)
    (slot,) = bench.launches()
    bench.dispatch.ready(slot, 0.1)
    assert not bench.dispatch.expire(slot, 20.0)
    assert slot.state is SlotState.IDLE
    assert bench.dispatch.idle_deadline(slot) == 30.0


def test_min_warm_is_restored_when_a_container_dies(bench: Bench) -> None:
    bench.pool(min_warm=1)
    bench.dispatch.tick(0.0)
    (slot,) = bench.launches()
    bench.dispatch.ready(slot, 0.1)
    bench.dispatch.exited(slot, 5.0)
    assert len(bench.launches()) == 1


@pytest.mark.parametrize("finished_first", [True, False])
def test_a_container_that_dies_under_its_call_is_never_assigned_again(bench: Bench, finished_first: bool) -> None:
    pool = bench.pool(max_containers=1)
    slot = bench.busy(pool, "first")
    bench.dispatch.arrive(pool, "second", bench.now)
    if finished_first:
        bench.dispatch.finished(slot, False, bench.now)
        bench.dispatch.exited(slot, bench.now)
    else:
        bench.dispatch.exited(slot, bench.now)
        assert slot.call == "first"
        bench.dispatch.finished(slot, True, bench.now)
    assert slot.call is None
    assert not any(isinstance(action, Assign) for action in bench.actions())
    bench.dispatch.stopped(slot, bench.now)
    assert slot.state is SlotState.STOPPED


def test_memory_is_reserved_from_the_launch_until_all_is_gone_and_returned_once(bench: Bench) -> None:
    pool = bench.pool(memory=300)
    memory = bench.dispatch.capacity.memory
    slot = bench.busy(pool, "call")
    assert memory.reserved == 300
    bench.dispatch.finished(slot, False, bench.now)
    assert memory.reserved == 300
    bench.dispatch.stopped(slot, bench.now)
    assert memory.reserved == 0
    bench.dispatch.stopped(slot, bench.now)
    assert memory.reserved == 0


def test_news_of_a_container_that_is_being_stopped_changes_nothing(bench: Bench) -> None:
    pool = bench.pool()
    bench.dispatch.arrive(pool, "call", 0.0)
    (slot,) = bench.launches()
    bench.dispatch.drain(0.1)
    bench.actions()
    bench.dispatch.ready(slot, 0.2)
    bench.dispatch.exited(slot, 0.3)
    bench.dispatch.launch_failed(slot, "too late", 0.4)
    assert slot.state is SlotState.STOPPING
    assert bench.actions() == []


def test_giving_back_a_container_twice_is_refused(bench: Bench) -> None:
    slot = bench.busy(bench.pool(), "call")
    bench.dispatch.finished(slot, True, bench.now)
    with pytest.raises(AssertionError):
        bench.dispatch.finished(slot, True, bench.now)


def test_limits_default_to_no_bound_on_containers_per_pool() -> None:
    bench = Bench(Limits(memory=100_000))
    pool = bench.pool(memory=1, hot=False)
    bench.busy(pool, 0)
    for call in range(500):
        bench.dispatch.arrive(pool, call, bench.now)
    launched = 1
    while launches := bench.launches():
        launched += len(launches)
        bench.now += 0.1
        for slot in launches:
            bench.dispatch.ready(slot, bench.now)
    assert launched == 501
