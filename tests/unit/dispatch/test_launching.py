"""The herd gate, launches that fail, and how many launches the machine is given at once."""

from __future__ import annotations

import pytest

from fnd.dispatch import Limits, Reject, RejectReason, WaitReason
from fnd.dispatch.launches import LaunchLimit
from fnd.simulation.virtual_shell import Behaviour, VirtualShell
from tests.unit.dispatch.conftest import Bench, add_function


@pytest.mark.parametrize("hot", [True, False])
def test_while_nothing_is_ready_one_launch_is_in_flight(bench: Bench, hot: bool) -> None:
    pool = bench.pool(hot=hot)
    for call in range(100):
        bench.dispatch.arrive(pool, call, 0.001 * call)
    bench.dispatch.tick(5.0)
    assert len(bench.launches()) == 1


@pytest.mark.parametrize("hot", [True, False])
def test_the_herd_gate_is_armed_again_when_the_last_container_is_gone(bench: Bench, hot: bool) -> None:
    pool = bench.pool(hot=hot)
    slot = bench.busy(pool, "first")
    bench.dispatch.exited(slot, bench.now)
    for call in range(100):
        bench.dispatch.arrive(pool, call, bench.now)
    assert len(bench.launches()) == 1


def test_a_launch_that_fails_is_tried_again_after_a_while_for_those_who_wait(bench: Bench) -> None:
    pool = bench.pool()
    bench.dispatch.arrive(pool, "call", 0.0)
    (slot,) = bench.launches()
    bench.dispatch.launch_failed(slot, "no such image", 1.0)
    assert bench.actions() == []
    assert bench.dispatch.next_tick == pytest.approx(1.1)
    bench.dispatch.tick(1.1)
    (another,) = bench.launches()
    bench.dispatch.ready(another, 1.2)
    assert bench.assigned() == ["call"]


def fail_launches(bench: Bench, error: str = "no such image") -> None:
    """Let launches fail, one second each, for as long as any are made."""
    while True:
        for slot in bench.launches():
            bench.now += 1.0
            bench.dispatch.launch_failed(slot, error, bench.now)
            bench.dispatch.stopped(slot, bench.now)
        if bench.dispatch.actions or bench.dispatch.next_tick > bench.now + 50.0:
            return
        bench.now = bench.dispatch.next_tick
        bench.dispatch.tick(bench.now)


def test_after_so_many_failures_all_who_wait_are_told_the_last_reason(bench: Bench) -> None:
    pool = bench.pool()
    for call in range(3):
        bench.dispatch.arrive(pool, call, bench.now)
    fail_launches(bench)
    assert bench.actions() == [Reject(call, RejectReason.LAUNCH_FAILED, "no such image") for call in range(3)]
    assert pool.launches == bench.dispatch.limits.launch_attempts


def test_a_launch_that_would_only_fail_again_is_not_repeated(bench: Bench) -> None:
    pool = bench.pool()
    bench.dispatch.arrive(pool, "call", 0.0)
    (slot,) = bench.launches()
    bench.dispatch.launch_failed(slot, "no such image", 0.1, retry=False)
    bench.dispatch.arrive(pool, "next", 0.2)
    assert bench.actions() == [Reject(call, RejectReason.LAUNCH_FAILED, "no such image") for call in ("call", "next")]
    bench.dispatch.arrive(pool, "probe", pool.failures.retry_at)
    assert len(bench.launches()) == 1


def test_a_launch_that_another_would_only_repeat_is_not_repeated_for_who_waits(bench: Bench) -> None:
    pool = bench.pool()
    for call in range(2):
        bench.dispatch.arrive(pool, call, bench.now)
    (slot,) = bench.launches()
    bench.dispatch.launch_failed(slot, "no such image", 1.0, retry=False)
    bench.dispatch.stopped(slot, 1.0)
    assert bench.actions() == [Reject(call, RejectReason.LAUNCH_FAILED, "no such image") for call in range(2)]
    bench.dispatch.arrive(pool, "soon after", 1.5)
    assert bench.actions() == [Reject("soon after", RejectReason.LAUNCH_FAILED, "no such image")]
    bench.dispatch.arrive(pool, "later", 2.5)
    (probe,) = bench.launches()
    bench.dispatch.ready(probe, 3.0)
    assert bench.assigned() == ["later"]


def test_delays_between_attempts_grow(bench: Bench) -> None:
    pool = bench.pool()
    delays = []
    for _ in range(5):
        bench.dispatch.arrive(pool, object(), bench.now)
        bench.dispatch.tick(bench.now)
        (slot,) = bench.launches()
        bench.dispatch.launch_failed(slot, "no", bench.now)
        bench.actions()
        delays.append(round(pool.failures.retry_at - bench.now, 3))
        bench.now = pool.failures.retry_at
    assert delays == [0.1, 0.2, 1.0, 2.0, 4.0]


def broken(bench: Bench) -> None:
    """Trip the breaker of a new pool, the last of the bench."""
    pool = bench.pool()
    bench.dispatch.arrive(pool, "victim", bench.now)
    fail_launches(bench)
    bench.actions()


def test_an_open_breaker_answers_at_once_and_launches_nothing(bench: Bench) -> None:
    broken(bench)
    (pool,) = bench.dispatch.pools.values()
    bench.dispatch.arrive(pool, "next", bench.now)
    assert bench.actions() == [Reject("next", RejectReason.LAUNCH_FAILED, "no such image")]


def test_after_a_delay_one_call_probes_and_the_others_wait_for_how_it_goes(bench: Bench) -> None:
    broken(bench)
    (pool,) = bench.dispatch.pools.values()
    bench.now = pool.failures.retry_at
    for call in range(3):
        bench.dispatch.arrive(pool, call, bench.now)
    (probe,) = bench.launches()
    bench.dispatch.ready(probe, bench.now + 0.1)
    assert bench.assigned() == [0]
    assert pool.failures.in_row == 0


def test_a_probe_that_fails_rejects_who_waits_with_the_new_reason_and_doubles_the_delay(bench: Bench) -> None:
    broken(bench)
    (pool,) = bench.dispatch.pools.values()
    bench.now = pool.failures.retry_at
    bench.dispatch.arrive(pool, "call", bench.now)
    (probe,) = bench.launches()
    bench.dispatch.launch_failed(probe, "still no such image", bench.now)
    assert bench.actions() == [Reject("call", RejectReason.LAUNCH_FAILED, "still no such image")]
    assert pool.failures.retry_at - bench.now == 2.0


def test_the_delay_has_an_upper_bound(bench: Bench) -> None:
    broken(bench)
    (pool,) = bench.dispatch.pools.values()
    for _ in range(20):
        bench.now = pool.failures.retry_at
        bench.dispatch.arrive(pool, object(), bench.now)
        (probe,) = bench.launches()
        bench.dispatch.launch_failed(probe, "no", bench.now)
        bench.dispatch.stopped(probe, bench.now)
        bench.actions()
    assert pool.failures.retry_at - bench.now == 60.0


def test_failed_launches_reject_nobody_while_another_container_serves(bench: Bench) -> None:
    pool = bench.pool()
    slot = bench.busy(pool, "running")
    bench.dispatch.arrive(pool, "waiting", bench.now)
    bench.now += 5.0
    bench.dispatch.tick(bench.now)
    for _ in range(5):
        (launch,) = bench.launches()
        bench.dispatch.launch_failed(launch, "no memory", bench.now)
        bench.now = pool.failures.retry_at
        bench.dispatch.tick(bench.now)
    bench.dispatch.launch_failed(bench.launches()[0], "no memory", bench.now)
    bench.dispatch.finished(slot, True, bench.now)
    assert bench.assigned() == ["waiting"]


def test_with_the_breaker_open_the_end_of_the_last_container_rejects_who_waits(bench: Bench) -> None:
    pool = bench.pool()
    slot = bench.busy(pool, "running")
    bench.dispatch.arrive(pool, "waiting", bench.now)
    bench.now += 5.0
    bench.dispatch.tick(bench.now)
    for _ in range(3):
        (launch,) = bench.launches()
        bench.dispatch.launch_failed(launch, "no memory", bench.now)
        if pool.failures.in_row < 3:
            bench.now = pool.failures.retry_at
            bench.dispatch.tick(bench.now)
    bench.dispatch.exited(slot, bench.now)
    assert bench.actions() == [Reject("waiting", RejectReason.LAUNCH_FAILED, "no memory")]


def test_launches_that_fail_together_count_as_one_attempt(bench: Bench) -> None:
    pool = bench.pool(hot=False)
    bench.busy(pool, "running")
    for call in range(5):
        bench.dispatch.arrive(pool, call, bench.now)
    launches = bench.launches()
    assert len(launches) == 5
    bench.now += 1.0
    for slot in launches:
        bench.now += 0.001
        bench.dispatch.launch_failed(slot, "no", bench.now)
    assert pool.failures.in_row == 1
    assert pool.failures.total == 5


def test_a_container_that_exits_before_it_is_ready_is_a_failed_launch(bench: Bench) -> None:
    pool = bench.pool()
    bench.dispatch.arrive(pool, "call", 0.0)
    (slot,) = bench.launches()
    bench.dispatch.exited(slot, 0.1)
    assert pool.failures.in_row == 1
    assert bench.dispatch.why("call") is WaitReason.BACK_OFF


def test_a_thousand_distinct_cold_functions_are_all_answered() -> None:
    shell = VirtualShell(Limits(memory=1000 * 128))
    calls = [shell.call(add_function(shell, f"fn {number}")) for number in range(1000)]
    shell.advance(60.0)
    assert all(call.answered is not None and call.rejected is None for call in calls)


def test_launches_in_flight_follow_what_the_machine_can_start() -> None:
    """Where starts need a core, a few are made at once; where they only wait, hundreds are, and none takes longer."""
    busy = VirtualShell(Limits(memory=1000 * 128, cores=2))
    lazy = VirtualShell(Limits(memory=1000 * 128, cores=2))
    for shell, start_cpu in ((busy, 1.0), (lazy, 0.0)):
        calls = [
            shell.call(add_function(shell, f"fn {number}", Behaviour(start_cpu=start_cpu))) for number in range(1000)
        ]
        shell.advance(100.0)
        assert all(call.rejected is None and call.answered is not None for call in calls)
    assert busy.launching_peak <= 16
    assert lazy.launching_peak > 100
    assert max(call.waited for call in calls) < 2.0


def test_launches_that_time_out_in_a_crowd_lower_the_limit_too() -> None:
    bench = Bench(Limits(memory=100_000, cores=2))
    bench.busy(bench.pool(), "first", start=0.1)
    for number in range(5):
        bench.dispatch.arrive(bench.pool(), number, bench.now)
    before = bench.dispatch.capacity.launch_limit.limit
    for slot in bench.launches():
        bench.dispatch.launch_failed(slot, "not ready in time", bench.now + 5.0)
    assert bench.dispatch.capacity.launch_limit.limit == pytest.approx(0.7 * before), "once for the whole crowd"


def test_the_limit_never_falls_below_two_launches_a_core() -> None:
    limit = LaunchLimit(cores=3)
    limit.in_flight = 12
    limit.measured(0.1, 0.0, launched_at=0.0, now=0.1)
    for moment in range(1, 20):
        limit.failed(5.0, 0.0, launched_at=moment, now=moment)
    assert limit.limit == 6.0


def test_a_launch_that_is_slow_by_itself_does_not_lower_the_limit() -> None:
    bench = Bench(Limits(memory=100_000, cores=2))
    pool = bench.pool()
    bench.dispatch.finished(bench.busy(pool, "quick", start=0.1), False, bench.now)
    bench.actions()
    before = bench.dispatch.capacity.launch_limit.limit
    bench.busy(pool, "slow", start=3.0)
    assert bench.dispatch.capacity.launch_limit.limit == before


def test_under_the_launch_limit_pools_are_launched_in_the_order_they_came() -> None:
    shell = VirtualShell(Limits(memory=1000 * 128))
    calls = [shell.call(add_function(shell, f"fn {number}")) for number in range(200)]
    assert calls[-1].got is None
    assert shell.dispatch.why(calls[-1]) is WaitReason.LAUNCH_LIMIT
    shell.advance(30.0)
    moments = [call.got for call in calls]
    assert moments == sorted(moments, key=lambda moment: moment or 0.0)
    assert calls[-1].why is WaitReason.LAUNCH_LIMIT
