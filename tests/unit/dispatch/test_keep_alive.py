"""How long an idle container is kept, and when another is made ready before anybody calls."""

from __future__ import annotations

import math
import random

import pytest

from fnd.dispatch import KeepAlive, Launch, Pool, Slot, SlotState, Stop
from fnd.dispatch.keep_alive import ENOUGH, GHOSTS, KEPT, Habits, Plan
from tests.unit.dispatch.conftest import Bench

START = 0.1
HOUR = 3600.0


def habits(*gaps: float) -> Habits:
    """Return the habits of a pool with these gaps behind it."""
    habits = Habits()
    for gap in gaps:
        habits._note(gap)
    return habits


class TestPlan:
    """What the gaps so far say of a container that is idle."""

    def test_of_few_gaps_nothing_is_concluded(self) -> None:
        assert habits(*[300.0] * (ENOUGH - 1)).plan(1.0, START, 600.0) == Plan(math.inf, None)

    def test_a_function_called_by_a_timer_needs_no_container_until_shortly_before(self) -> None:
        leave, be_back = habits(*[300.0] * ENOUGH).plan(1.0, START, 600.0)
        assert leave == 1.0
        assert be_back is not None
        assert 298 < be_back < 300 - START

    def test_once_there_it_is_kept_a_little_longer_than_the_gap(self) -> None:
        leave, be_back = habits(*[300.0] * ENOUGH).plan(298.9, START, 600.0)
        assert leave == pytest.approx(330.0)
        assert be_back is None

    def test_if_the_call_does_not_come_no_other_is_made_ready(self) -> None:
        assert habits(*[300.0] * ENOUGH).plan(330.0, START, 600.0) == Plan(330.0, None)

    def test_what_is_called_every_minute_or_so_is_kept_for_little_longer_than_that(self) -> None:
        generator = random.Random(1)
        gaps = [generator.uniform(20.0, 60.0) for _ in range(KEPT)]
        leave, be_back = habits(*gaps).plan(1.0, START, 600.0)
        assert 50.0 < leave < 1.1 * 60.0
        assert be_back is None

    @pytest.mark.parametrize(("start", "stay"), [(0.1, 30.0), (2.0, 200.0)])
    def test_what_is_called_every_few_seconds_is_kept_for_what_its_start_is_worth(
        self, start: float, stay: float
    ) -> None:
        assert habits(*[3.0] * KEPT).plan(1.0, start, 600.0) == Plan(stay, None)

    def test_what_is_called_at_random_is_kept_until_a_call_has_become_unlikely(self) -> None:
        generator = random.Random(1)
        gaps = [generator.expovariate(1 / 60) for _ in range(KEPT)]
        leave, be_back = habits(*gaps).plan(1.0, START, 3600.0)
        assert sum(gap > leave for gap in gaps) <= 0.02 * KEPT
        assert sum(gap > 0.8 * leave for gap in gaps) > 0.02 * KEPT
        assert be_back is None

    def test_no_container_is_made_ready_for_a_call_that_would_probably_find_it_gone(self) -> None:
        generator = random.Random(1)
        gaps = [generator.expovariate(1 / HOUR) for _ in range(KEPT)]
        leave, be_back = habits(*gaps).plan(1.0, START, 30.0)
        assert leave > 30.0, "its idle time-out comes first"
        assert be_back is None or be_back > 30.0

    def test_bursts_with_long_pauses_are_two_habits(self) -> None:
        both = habits(*[3.0] * 40, *[300.0] * 20)
        in_burst = both.plan(1.0, START, 60.0)
        assert in_burst.leave == pytest.approx(3.3)
        assert in_burst.be_back == pytest.approx(300.0, abs=2.0)

    def test_one_outlier_keeps_nothing(self) -> None:
        leave, be_back = habits(*[100.0] * 60, 5000.0).plan(99.0, START, 7200.0)
        assert leave == pytest.approx(110.0)
        assert be_back is None

    def test_a_container_goes_only_if_it_is_away_for_many_times_what_a_start_costs(self) -> None:
        gaps = habits(*[40.0] * ENOUGH)
        assert gaps.plan(1.0, 0.1, 600.0).leave == 1.0
        assert gaps.plan(1.0, 10.0, 600.0) == Plan(1000.0, None)

    def test_old_habits_are_forgotten(self) -> None:
        changed = habits(*[300.0] * 500, *[50.0] * KEPT)
        assert changed.plan(49.0, START, 600.0).leave == pytest.approx(55.0)

    def test_gaps_of_less_than_a_second_tell_nothing(self) -> None:
        assert habits(*[0.9] * KEPT).plan(1.0, START, 600.0) == Plan(math.inf, None)


def adaptive(bench: Bench, idle_timeout: float = 600.0, **settings: int) -> Pool:
    return bench.pool(keep_alive=KeepAlive.ADAPTIVE, idle_timeout=idle_timeout, **settings)


def call(bench: Bench, pool: Pool, name: object = "call") -> Slot:
    """Make a call of a millisecond, on a container that is idle or launched for it."""
    slot = bench.dispatch.arrive(pool, name, bench.now)
    if slot is None:
        (slot,) = bench.launches()
        bench.now += START
        bench.dispatch.ready(slot, bench.now)
        assert bench.assigned() == [name]
    bench.now += 0.001
    bench.dispatch.finished(slot, True, bench.now)
    return slot


def call_every(bench: Bench, pool: Pool, seconds: float, times: int = ENOUGH + 1) -> Slot:
    """Call the pool so often, with its container idle for so long in between; return the container, just idle."""
    for _ in range(times - 1):
        call(bench, pool)
        bench.now += seconds
    return call(bench, pool)


def let_go(bench: Bench, slot: Slot) -> float:
    """Let the container reach its deadline and be gone; return how long it was idle."""
    since = slot.since
    bench.now = bench.dispatch.idle_deadline(slot)
    assert bench.dispatch.expire(slot, bench.now)
    bench.dispatch.stopped(slot, bench.now)
    return bench.now - since


class TestContainers:
    """What becomes of containers of a pool that keeps them adaptively."""

    def test_until_the_habits_are_known_its_idle_timeout_decides(self, bench: Bench) -> None:
        slot = call_every(bench, adaptive(bench), 300.0, times=ENOUGH)
        assert bench.dispatch.idle_deadline(slot) == slot.since + 600.0

    def test_a_fixed_pool_learns_nothing(self, bench: Bench) -> None:
        slot = call_every(bench, bench.pool(idle_timeout=600.0), 300.0, times=50)
        assert bench.dispatch.idle_deadline(slot) == slot.since + 600.0

    def test_it_leaves_early_and_is_back_before_the_next_call(self, bench: Bench) -> None:
        pool = adaptive(bench)
        slot = call_every(bench, pool, 300.0)
        used = slot.since
        assert let_go(bench, slot) == 1.0
        assert 298.0 < bench.dispatch.next_tick - used < 300.0
        bench.now = bench.dispatch.next_tick
        bench.dispatch.tick(bench.now)
        (back,) = bench.launches()
        bench.dispatch.ready(back, bench.now + START)
        assert back.state is SlotState.IDLE
        assert bench.dispatch.arrive(pool, "expected", used + 300.0) is back

    def test_the_gap_that_a_call_ends_is_counted_from_the_use_before_whoever_stood_in(self, bench: Bench) -> None:
        pool = adaptive(bench)
        slot = call_every(bench, pool, 300.0)
        for _ in range(3 * KEPT):  # all that is known by now was learnt from containers that were made ready
            used = slot.since
            let_go(bench, slot)
            bench.now = bench.dispatch.next_tick
            bench.dispatch.tick(bench.now)
            (slot,) = bench.launches()
            bench.now += START
            bench.dispatch.ready(slot, bench.now)
            bench.now = used + 300.0
            assert call(bench, pool) is slot
        assert 298.0 < pool.habits.plan(1.0, START, 600.0).be_back < 300.0  # type: ignore[union-attr, operator]

    def test_what_stood_in_and_was_not_called_goes_and_nobody_stands_in_for_it(self, bench: Bench) -> None:
        pool = adaptive(bench)
        used = call_every(bench, pool, 300.0).since
        let_go(bench, next(iter(pool.slots)))
        bench.now = bench.dispatch.next_tick
        bench.dispatch.tick(bench.now)
        (back,) = bench.launches()
        bench.dispatch.ready(back, bench.now + START)
        let_go(bench, back)
        assert bench.now == pytest.approx(used + 330.0)
        assert bench.dispatch.next_tick == math.inf
        assert pool.empty

    def test_its_idle_timeout_is_never_exceeded(self, bench: Bench) -> None:
        slot = call_every(bench, adaptive(bench, idle_timeout=5.0), 4.9)
        assert bench.dispatch.idle_deadline(slot) <= slot.since + 5.0
        pool = adaptive(bench, idle_timeout=20.0)
        slot = call_every(bench, pool, 19.0)
        let_go(bench, slot)
        bench.now = bench.dispatch.next_tick
        bench.dispatch.tick(bench.now)
        (back,) = bench.launches()
        bench.dispatch.ready(back, bench.now)
        assert bench.dispatch.idle_deadline(back) <= back.since + 20.0

    def test_a_container_ended_too_early_is_missed_by_the_call_it_would_have_served(self, bench: Bench) -> None:
        pool = adaptive(bench)
        slot = call_every(bench, pool, 5.0)
        for _ in range(KEPT):  # the habit changes while the container is always gone before the call
            used = slot.since
            assert let_go(bench, slot) < 500.0
            bench.now = used + 500.0
            bench.dispatch.tick(bench.now)
            if made_ready := bench.launches():
                bench.dispatch.ready(made_ready[0], bench.now)
            slot = call(bench, pool)
        assert 498.0 < pool.habits.plan(1.0, START, 600.0).be_back < 500.0  # type: ignore[union-attr, operator]

    def test_those_that_min_warm_keeps_stay(self, bench: Bench) -> None:
        pool = adaptive(bench, min_warm=1)
        slot = call_every(bench, pool, 300.0)
        bench.now = bench.dispatch.idle_deadline(slot)
        assert not bench.dispatch.expire(slot, bench.now)
        assert bench.dispatch.idle_deadline(slot) > bench.now

    @pytest.mark.parametrize("ending", ["retire", "drain"])
    def test_a_pool_that_ends_expects_nothing(self, bench: Bench, ending: str) -> None:
        pool = adaptive(bench)
        slot = call_every(bench, pool, 300.0)
        let_go(bench, slot)
        if ending == "retire":
            bench.dispatch.retire(pool, bench.now)
        else:
            bench.dispatch.drain(bench.now)
        bench.actions()
        bench.dispatch.tick(bench.now + 400.0)
        assert bench.launches() == []

    def test_a_call_that_comes_sooner_is_not_followed_by_a_container_for_the_one_expected(self, bench: Bench) -> None:
        pool = adaptive(bench)
        let_go(bench, call_every(bench, pool, 300.0))
        bench.now += 10.0
        slot = call(bench, pool)
        bench.dispatch.exited(slot, bench.now)
        bench.dispatch.stopped(slot, bench.now)
        bench.now += 300.0
        bench.dispatch.tick(bench.now)
        assert bench.launches() == []

    def test_for_an_expected_call_nobody_is_evicted(self, bench: Bench) -> None:
        pool = adaptive(bench, memory=600)
        let_go(bench, call_every(bench, pool, 300.0))
        other = bench.busy(bench.pool(memory=600, idle_timeout=HOUR), "other")
        bench.dispatch.finished(other, True, bench.now)
        bench.now += 299.0
        bench.dispatch.tick(bench.now)
        assert bench.actions() == []
        assert other.state is SlotState.IDLE

    def test_one_for_which_another_pool_made_room_holds_its_pool_like_any_other(self, bench: Bench) -> None:
        object.__setattr__(bench.dispatch.limits, "max_pools", 2)
        pool = adaptive(bench, memory=600)
        let_go(bench, call_every(bench, pool, 300.0))
        other = bench.busy(bench.pool(memory=600), "other")
        bench.now += 299.0
        bench.dispatch.tick(bench.now)
        bench.dispatch.finished(other, False, bench.now)
        bench.dispatch.stopped(other, bench.now)
        (slot,) = bench.launches()
        for _ in range(3):
            bench.pool()
        assert slot.pool is pool
        assert not pool.forgotten
        bench.dispatch.ready(slot, bench.now)
        bench.actions()
        bench.dispatch.drain(bench.now)
        assert Stop(slot) in bench.actions()

    def test_nothing_is_promised_to_a_pool_that_only_expects_a_call(self, bench: Bench) -> None:
        pool = adaptive(bench, memory=600)
        let_go(bench, call_every(bench, pool, 300.0))
        other = bench.busy(bench.pool(memory=600), "other")
        bench.dispatch.finished(other, False, bench.now)
        bench.actions()
        bench.now += 299.0
        bench.dispatch.tick(bench.now)
        assert (bench.actions(), pool.promised) == ([], 0)
        bench.dispatch.arrive(bench.pool(memory=600), "caller", bench.now)
        bench.dispatch.stopped(other, bench.now)
        (slot,) = bench.launches()
        assert slot.pool is not pool, "who waits goes first"

    def test_a_wake_that_was_arranged_before_does_not_take_the_place_of_its_own(self, bench: Bench) -> None:
        pool = adaptive(bench)
        slot = call_every(bench, pool, 300.0)
        bench.dispatch._wake(pool, bench.now + 50.0)  # as if its line, now empty, had been to be reviewed
        let_go(bench, slot)
        bench.dispatch.tick(bench.now + 50.0)
        assert bench.launches() == []
        bench.now = bench.dispatch.next_tick
        bench.dispatch.tick(bench.now)
        (launched,) = bench.launches()
        assert launched.pool is pool

    def test_an_expectation_that_memory_came_too_late_for_is_over(self, bench: Bench) -> None:
        pool = adaptive(bench, memory=600)
        let_go(bench, call_every(bench, pool, 300.0))
        other = bench.busy(bench.pool(memory=600), "other")
        bench.now += 299.0
        bench.dispatch.tick(bench.now)
        bench.now += 700.0
        bench.dispatch.finished(other, False, bench.now)
        bench.dispatch.stopped(other, bench.now)
        assert bench.launches() == []
        assert pool.claim is None

    def test_an_expected_container_that_cannot_be_launched_is_not_tried_again(self, bench: Bench) -> None:
        pool = adaptive(bench)
        let_go(bench, call_every(bench, pool, 300.0))
        bench.now = bench.dispatch.next_tick
        bench.dispatch.tick(bench.now)
        (slot,) = bench.launches()
        bench.dispatch.launch_failed(slot, "no", bench.now)
        bench.dispatch.stopped(slot, bench.now)
        for _ in range(100):
            bench.now += 1.0
            bench.dispatch.tick(bench.now)
            assert bench.actions() == []

    def test_what_is_remembered_is_bounded(self, bench: Bench) -> None:
        habits = Habits()
        pool = adaptive(bench)
        for _ in range(1000):
            habits.stopped(Slot(pool, 0.0))
            habits._note(10.0)
        assert (len(habits._ghosts), len(habits._gaps)) == (GHOSTS, KEPT)

    def test_a_forgotten_pool_is_not_made_ready(self, bench: Bench) -> None:
        pool = adaptive(bench)
        let_go(bench, call_every(bench, pool, 300.0))
        object.__setattr__(bench.dispatch.limits, "max_pools", 1)
        bench.pool()
        bench.actions()
        assert pool.forgotten
        assert bench.dispatch.next_tick == math.inf


class TestPressure:
    """Memory becomes short on the machine, whatever is reserved."""

    def test_the_containers_least_worth_keeping_go_an_eighth_of_what_is_reserved_at_a_time(self, bench: Bench) -> None:
        pool = bench.pool(memory=100)
        slots = bench.idle(pool, 8)
        assert bench.dispatch.relieve(bench.now) == [slots[0]]
        assert [type(action).__name__ for action in bench.actions()] == ["Stop"]
        assert slots[0].state is SlotState.STOPPING

    def test_busy_ones_and_those_that_min_warm_keeps_stay(self, bench: Bench) -> None:
        bench.busy(bench.pool(), "call")
        warm = bench.pool(min_warm=1)
        bench.dispatch.tick(bench.now)
        for launched in bench.actions():
            assert isinstance(launched, Launch)
            bench.dispatch.ready(launched.slot, bench.now)
        assert warm.idle.length == 1
        assert bench.dispatch.relieve(bench.now) == []

    def test_what_a_pool_has_beyond_its_min_warm_goes_whenever_it_came(self, bench: Bench) -> None:
        bench.pool(min_warm=1)
        bench.pool(min_warm=1)
        bench.dispatch.tick(bench.now)
        first, others = bench.launches()
        bench.dispatch.ready(others, bench.now + 0.1)
        bench.now += 5.0
        bench.dispatch.ready(first, bench.now)  # worth more than the other's
        assert bench.dispatch.relieve(bench.now) == []
        bench.another(first)
        assert bench.dispatch.relieve(bench.now) == [first]

    def test_pressed_again_and_again_nothing_idle_is_left(self, bench: Bench) -> None:
        pools = [bench.pool(memory=100) for _ in range(3)]
        for pool in pools:
            bench.idle(pool, 2)
        while stopped := bench.dispatch.relieve(bench.now):
            for slot in stopped:
                bench.dispatch.stopped(slot, bench.now)
        assert all(pool.empty for pool in pools)
        assert not any(isinstance(action, Launch) for action in bench.actions())
