"""What dispatch says of itself."""

from __future__ import annotations

from fnd.dispatch import Limits, PoolSettings, SlotSnapshot, SlotState
from tests.unit.dispatch.conftest import Bench


def test_a_snapshot_shows_every_pool_and_container(bench: Bench) -> None:
    pool = bench.pool(memory=300, max_containers=1)
    slot = bench.busy(pool, "running", start=0.5)
    slot.container = "container"
    bench.dispatch.arrive(pool, "waiting", bench.now)
    snapshot = bench.dispatch.snapshot(2.0)
    assert (snapshot.memory_limit, snapshot.memory_reserved) == (1000, 300)
    assert (snapshot.cpu_limit, snapshot.cpu_reserved) == (2000, 0)
    assert (snapshot.running, snapshot.waiting, snapshot.calls) == (1, 1, 1)
    assert (snapshot.launches, snapshot.launching) == (1, 0)
    (shown,) = snapshot.pools
    assert (shown.key, shown.settings, shown.retired) == (pool.key, pool.settings, False)
    assert (shown.waiting, shown.calls, shown.launches, shown.launch_failures) == (1, 1, 1, 0)
    assert (shown.mean_run, shown.mean_start) == (None, 0.5)
    assert shown.slots == (
        SlotSnapshot(
            state=SlotState.BUSY, age=2.0, in_state=1.5, calls=1, running=1, container="container"
        ),
    )  # fmt: skip


def test_measurements_are_of_late(bench: Bench) -> None:
    pool = bench.pool()
    slot = bench.busy(pool, 0)
    for run in (*[1.0] * 20, *[0.01] * 50):
        bench.now += run
        bench.dispatch.finished(slot, True, bench.now)
        bench.dispatch.arrive(pool, object(), bench.now)
    (shown,) = bench.dispatch.snapshot(bench.now).pools
    assert shown.mean_run is not None
    assert 0.01 <= shown.mean_run < 0.02
    assert shown.calls == 71


def test_a_failing_pool_shows_why_and_until_when(bench: Bench) -> None:
    pool = bench.pool()
    bench.dispatch.arrive(pool, "call", 0.0)
    (slot,) = bench.launches()
    bench.dispatch.launch_failed(slot, "no such image", 1.0)
    (shown,) = bench.dispatch.snapshot(1.0).pools
    assert (shown.launch_failures, shown.launch_error, shown.retry_at) == (1, "no such image", 1.1)


def test_totals_outlive_the_pools_they_are_of() -> None:
    bench = Bench(Limits(memory=1000, max_pools=1))
    for key in range(3):
        slot = bench.busy(bench.dispatch.pool(key, PoolSettings(memory=100, idle_timeout=1.0)), key)
        bench.dispatch.finished(slot, False, bench.now)
        bench.actions()
        bench.dispatch.stopped(slot, bench.now)
    bench.actions()
    snapshot = bench.dispatch.snapshot(bench.now)
    assert len(snapshot.pools) == 1
    assert (snapshot.calls, snapshot.launches) == (3, 3)
