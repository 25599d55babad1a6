"""Pools: found, forgotten, retired; and the end of all of them."""

from __future__ import annotations

import pytest

from fnd.dispatch import Forget, Limits, PoolSettings, Reject, RejectReason, SlotState, Stop, WaitReason
from tests.unit.dispatch.conftest import Bench

SETTINGS = PoolSettings(memory=100, idle_timeout=10.0)


@pytest.fixture
def small() -> Bench:
    """A dispatcher that remembers three pools."""
    return Bench(Limits(memory=1000, max_pools=3))


def test_a_key_has_one_pool(bench: Bench) -> None:
    assert bench.dispatch.pool("key", SETTINGS) is bench.dispatch.pool("key", SETTINGS)
    assert bench.dispatch.pool("other", SETTINGS) is not bench.dispatch.pool("key", SETTINGS)


def test_of_too_many_pools_the_least_recently_used_is_forgotten(small: Bench) -> None:
    for key in ("a", "b", "c"):
        small.dispatch.pool(key, SETTINGS)
    small.dispatch.pool("a", SETTINGS)
    small.dispatch.pool("d", SETTINGS)
    assert set(small.dispatch.pools) == {"a", "c", "d"}
    (action,) = small.actions()
    assert isinstance(action, Forget)
    assert action.pool.key == "b"


def test_use_counts_from_when_a_pool_became_empty(small: Bench) -> None:
    slot = small.busy(small.dispatch.pool("a", SETTINGS), "call")
    small.dispatch.pool("b", SETTINGS)
    small.dispatch.finished(slot, False, small.now)
    small.dispatch.stopped(slot, small.now)
    small.dispatch.pool("c", SETTINGS)
    small.dispatch.pool("d", SETTINGS)
    assert set(small.dispatch.pools) == {"a", "c", "d"}


def test_a_pool_with_a_container_a_launch_or_a_waiter_is_never_forgotten(small: Bench) -> None:
    small.idle(small.dispatch.pool("idle", SETTINGS))
    small.busy(small.dispatch.pool("busy", SETTINGS), "call")
    small.dispatch.arrive(small.dispatch.pool("launching", SETTINGS), "waiter", small.now)
    small.actions()
    stopping = small.busy(small.dispatch.pool("stopping", SETTINGS), "last")
    small.dispatch.finished(stopping, False, small.now)
    for key in range(10):
        small.dispatch.pool(key, SETTINGS)
    assert {"idle", "busy", "launching", "stopping"} <= set(small.dispatch.pools)
    assert len(small.dispatch.pools) == 5


def test_pools_in_excess_are_forgotten_as_soon_as_they_are_empty(small: Bench) -> None:
    slots = [small.busy(small.dispatch.pool(key, SETTINGS), key) for key in range(5)]
    for slot in slots:
        small.dispatch.finished(slot, False, small.now)
        small.dispatch.stopped(slot, small.now)
    assert len(small.dispatch.pools) == 3


def test_a_pool_whose_only_caller_left_may_be_forgotten(small: Bench) -> None:
    small.busy(small.dispatch.pool("holder", PoolSettings(memory=1000, idle_timeout=10.0)), "call")
    small.dispatch.arrive(small.dispatch.pool("abandoned", SETTINGS), "impatient", small.now)
    small.dispatch.gone("impatient", small.now)
    for key in range(3):
        small.dispatch.pool(key, SETTINGS)
    assert "abandoned" not in small.dispatch.pools


def test_a_call_brings_a_forgotten_pool_back(small: Bench) -> None:
    pool = small.dispatch.pool("a", SETTINGS)
    for key in ("b", "c", "d"):
        small.dispatch.pool(key, SETTINGS)
    assert pool.forgotten
    small.actions()
    small.busy(pool, "call")
    assert small.dispatch.pools["a"] is pool


def test_a_pool_with_min_warm_is_not_forgotten(small: Bench) -> None:
    small.dispatch.pool("warm", PoolSettings(memory=2000, idle_timeout=10.0, min_warm=1))
    for key in range(10):
        small.dispatch.pool(key, SETTINGS)
    assert "warm" in small.dispatch.pools


def test_a_retired_pool_serves_who_waits_stops_what_is_idle_and_is_forgotten(bench: Bench) -> None:
    pool = bench.pool(max_containers=1)
    slot = bench.busy(pool, "first")
    bench.dispatch.arrive(pool, "second", bench.now)
    bench.dispatch.retire(pool, bench.now)
    assert pool.key not in bench.dispatch.pools
    bench.dispatch.finished(slot, True, bench.now)
    assert bench.assigned() == ["second"]
    bench.dispatch.finished(slot, True, bench.now)
    assert bench.actions() == [Stop(slot)]
    bench.dispatch.stopped(slot, bench.now)
    assert bench.actions() == [Forget(pool)]
    assert not bench.dispatch.retired


def test_retiring_stops_idle_containers_and_launches_that_nobody_waits_for(bench: Bench) -> None:
    pool = bench.pool()
    slots = bench.idle(pool, 2)
    other = bench.pool()
    bench.dispatch.arrive(other, "impatient", bench.now)
    (launch,) = bench.launches()
    bench.dispatch.gone("impatient", bench.now)
    bench.dispatch.retire(pool, bench.now)
    bench.dispatch.retire(other, bench.now)
    assert {slot.state for slot in (*slots, launch)} == {SlotState.STOPPING}
    assert len(bench.actions()) == 3


def test_a_retired_pools_launch_goes_on_for_who_waits(bench: Bench) -> None:
    pool = bench.pool()
    bench.dispatch.arrive(pool, "call", 0.0)
    (slot,) = bench.launches()
    bench.dispatch.retire(pool, 0.0)
    assert slot.state is SlotState.LAUNCHING
    bench.dispatch.ready(slot, 0.1)
    assert bench.assigned() == ["call"]


def test_a_retired_pools_container_that_its_caller_did_not_wait_for_is_stopped(bench: Bench) -> None:
    pool = bench.pool()
    bench.dispatch.arrive(pool, "impatient", 0.0)
    (slot,) = bench.launches()
    bench.dispatch.retire(pool, 0.0)
    bench.dispatch.gone("impatient", 0.05)
    bench.dispatch.ready(slot, 0.1)
    assert bench.actions() == [Stop(slot)]


def test_a_call_that_still_comes_to_a_retired_pool_is_served_and_leaves_nothing(bench: Bench) -> None:
    pool = bench.pool()
    bench.dispatch.retire(pool, 0.0)
    bench.actions()
    slot = bench.busy(pool, "late")
    bench.dispatch.finished(slot, True, bench.now)
    assert bench.actions() == [Stop(slot)]
    bench.dispatch.stopped(slot, bench.now)
    assert not bench.dispatch.retired


def test_the_key_of_a_retired_pool_gets_a_new_pool(bench: Bench) -> None:
    old = bench.dispatch.pool("key", SETTINGS)
    bench.busy(old, "call")
    bench.dispatch.retire(old, bench.now)
    new = bench.dispatch.pool("key", SETTINGS)
    assert new is not old
    assert (new.retired, old.retired) == (False, True)


def test_min_warm_ends_with_the_pool(bench: Bench) -> None:
    pool = bench.pool(min_warm=2)
    bench.dispatch.tick(0.0)
    (slot,) = bench.launches()
    bench.dispatch.retire(pool, 0.1)
    assert bench.actions() == [Stop(slot)]
    bench.dispatch.stopped(slot, 0.2)
    assert bench.actions() == [Forget(pool)]


def test_draining_rejects_who_waits_and_who_comes_and_stops_all_but_the_busy(bench: Bench) -> None:
    busy = bench.pool(max_containers=1)
    running = bench.busy(busy, "running")
    bench.dispatch.arrive(busy, "waiting", bench.now)
    idle = bench.idle(bench.pool(), 2)
    bench.dispatch.drain(bench.now)
    actions = bench.actions()
    assert Reject("waiting", RejectReason.DRAINING, why=WaitReason.BUSY) in actions
    assert {action.slot for action in actions if isinstance(action, Stop)} == set(idle)
    bench.dispatch.arrive(busy, "late", bench.now)
    assert bench.actions() == [Reject("late", RejectReason.DRAINING)]
    bench.dispatch.finished(running, True, bench.now)
    assert bench.actions() == [Stop(running)]


def test_nothing_is_launched_once_draining(bench: Bench) -> None:
    bench.pool(min_warm=2)
    bench.dispatch.drain(0.0)
    bench.pool(min_warm=2)
    bench.dispatch.tick(100.0)
    assert bench.launches() == []
