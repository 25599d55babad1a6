"""A full machine: what is evicted, who gets the memory, and that nobody is forgotten."""

from __future__ import annotations

from math import inf

import pytest

from fnd.dispatch import Launch, Limits, Pool, Reject, RejectReason, Slot, SlotState, Stop, WaitReason
from fnd.dispatch.claims import Need
from fnd.simulation.virtual_shell import Behaviour, VirtualShell
from tests.unit.dispatch.conftest import Bench, add_function


def test_a_function_larger_than_the_machine_is_rejected_at_once(bench: Bench) -> None:
    pool = bench.pool(memory=1001)
    bench.dispatch.arrive(pool, "call", 0.0)
    assert bench.actions() == [Reject("call", RejectReason.TOO_LARGE)]


def test_a_function_as_large_as_the_machine_is_served(bench: Bench) -> None:
    bench.busy(bench.pool(memory=1000), "call")


def test_an_idle_container_of_another_pool_is_evicted_for_a_call_that_waits(bench: Bench) -> None:
    (old,) = bench.idle(bench.pool(memory=600))
    pool = bench.pool(memory=600)
    bench.dispatch.arrive(pool, "call", bench.now)
    assert bench.actions() == [Stop(old)]
    assert bench.dispatch.why("call") is WaitReason.CAPACITY
    bench.dispatch.stopped(old, bench.now)
    (slot,) = bench.launches()
    bench.dispatch.ready(slot, bench.now)
    (assign,) = bench.actions()
    assert assign.why is WaitReason.CAPACITY  # type: ignore[union-attr]


def test_no_more_is_evicted_than_is_needed(bench: Bench) -> None:
    slots = bench.idle(bench.pool(memory=100), 8)
    bench.dispatch.arrive(bench.pool(memory=400), "call", bench.now)
    assert bench.actions() == [Stop(slots[0]), Stop(slots[1])]


def test_evictions_for_several_pools_go_on_together(bench: Bench) -> None:
    bench.idle(bench.pool(memory=100), 10)
    for number in range(4):
        bench.dispatch.arrive(bench.pool(memory=100), number, bench.now)
    stops = bench.actions()
    assert len(stops) == 4
    for number, stop in enumerate(stops):
        assert isinstance(stop, Stop)
        bench.dispatch.stopped(stop.slot, bench.now)
        assert len(bench.launches()) == 1, f"launch {number}"


def test_memory_that_comes_back_for_a_caller_who_left_goes_to_the_next(bench: Bench) -> None:
    first_old, second_old = bench.idle(bench.pool(memory=400), 2)
    bench.dispatch.arrive(bench.pool(memory=400), "leaves", bench.now)
    bench.dispatch.arrive(bench.pool(memory=400), "stays", bench.now)
    assert bench.actions() == [Stop(first_old), Stop(second_old)]
    bench.dispatch.gone("leaves", bench.now)
    bench.dispatch.stopped(first_old, bench.now)
    (slot,) = bench.launches()
    bench.dispatch.ready(slot, bench.now)
    assert bench.assigned() == ["stays"]


def test_processors_are_reserved_like_memory(bench: Bench) -> None:
    """Two cores, of which each container of the one pool takes one and a half, and of the other a half."""
    large, small = bench.pool(memory=10, cpu=1500), bench.pool(memory=10, cpu=500)
    slot = bench.busy(large, "large")
    bench.busy(small, "small")
    assert bench.dispatch.capacity.cpu.free == 0
    other = bench.pool(memory=10, cpu=1)
    bench.dispatch.arrive(other, "waits", bench.now)
    assert bench.actions() == []
    assert bench.dispatch.why("waits") is WaitReason.CAPACITY
    bench.busy(bench.pool(memory=10), "needs none")
    bench.dispatch.finished(slot, False, bench.now)
    assert bench.actions() == [Stop(slot)]
    bench.dispatch.stopped(slot, bench.now)
    assert [launched.pool for launched in bench.launches()] == [other]
    assert bench.dispatch.capacity.cpu.reserved == 501


def test_a_function_that_needs_more_processors_than_there_are_is_rejected_at_once(bench: Bench) -> None:
    bench.dispatch.arrive(bench.pool(cpu=2001), "call", 0.0)
    assert bench.actions() == [Reject("call", RejectReason.TOO_LARGE)]
    bench.busy(bench.pool(cpu=2000), "fits")


def test_for_processors_only_containers_that_have_some_are_evicted(bench: Bench) -> None:
    (without,) = bench.idle(bench.pool(memory=400))
    (with_some,) = bench.idle(bench.pool(memory=100, cpu=1500))
    bench.dispatch.arrive(bench.pool(memory=100, cpu=1000), "call", bench.now)
    assert bench.actions() == [Stop(with_some)]
    assert without.state is SlotState.IDLE


def test_containers_that_compute_do_not_outnumber_the_processors_that_they_reserve() -> None:
    shell = VirtualShell(Limits(memory=100_000, cores=2))
    function = add_function(shell, "fn", Behaviour(run=lambda now: 1.0, run_cpu=1.0), cpu=1000)
    calls = [shell.call(function) for _ in range(64)]
    shell.advance(60.0)
    assert function.tally.launches == 2
    assert all(call.answered is not None for call in calls)


def test_half_of_the_machine_is_half_of_its_memory_or_of_its_processors(bench: Bench) -> None:
    assert bench.pool(memory=500, cpu=500).share == bench.pool(memory=100, cpu=1000).share == 0.5


def known(bench: Bench, pool: Pool, run: float) -> Slot:
    """Return a busy container of a pool whose calls are known to run for so long."""
    slot = bench.busy(pool, object())
    for _ in range(20):
        bench.now += run
        bench.dispatch.finished(slot, True, bench.now)
        assert bench.dispatch.arrive(pool, object(), bench.now) is slot
    return slot


def test_who_leaves_takes_his_claim_along_and_the_next_is_served(bench: Bench) -> None:
    """Three callers were worth another container, one is not; memory that is too little for it is held no longer."""
    large, small = bench.pool(memory=500), bench.pool(memory=100)
    known(bench, small, run=1.0)
    known(bench, large, run=0.05)
    for call in range(3):
        bench.dispatch.arrive(large, call, bench.now)
    bench.dispatch.arrive(small, "slow", bench.now)
    assert bench.actions() == []
    assert bench.dispatch.why("slow") is WaitReason.CAPACITY
    bench.dispatch.gone(0, bench.now)
    bench.dispatch.gone(1, bench.now)
    (slot,) = bench.launches()
    assert slot.pool is small


def test_memory_is_held_no_longer_when_the_last_who_waited_for_it_leaves(bench: Bench) -> None:
    bench.busy(bench.pool(memory=500), "holder")
    bench.dispatch.arrive(bench.pool(memory=600), "large", bench.now)
    bench.dispatch.arrive(bench.pool(memory=500), "small", bench.now)
    assert bench.actions() == []
    bench.dispatch.gone("large", bench.now)
    assert len(bench.launches()) == 1


def test_whose_callers_have_all_left_claims_no_more_wherever_it_stood(bench: Bench) -> None:
    bench.busy(bench.pool(memory=1000), "holder")
    first, second = bench.pool(), bench.pool()
    bench.dispatch.arrive(first, "first", bench.now)
    bench.dispatch.arrive(second, "second", bench.now)
    bench.dispatch.gone("second", bench.now)
    assert (first.claim, second.claim) == (Need.NEEDY, None)


def waiting(bench: Bench, pool: Pool, number: int) -> None:
    """Let so many calls come to a pool that cannot serve them."""
    for _ in range(number):
        bench.dispatch.arrive(pool, object(), bench.now)


def test_memory_that_comes_free_goes_to_those_that_want_much_of_it_in_turns(bench: Bench) -> None:
    one, other = bench.pool(), bench.pool()
    known(bench, one, run=1.0)
    known(bench, other, run=1.0)
    holder = bench.busy(bench.pool(memory=800), "holder")
    waiting(bench, one, 5)
    waiting(bench, other, 5)
    bench.dispatch.finished(holder, False, bench.now)
    bench.dispatch.stopped(holder, bench.now)
    assert [slot.pool for slot in bench.launches()] == [one, other] * 4


def test_who_gave_a_container_up_stands_behind_the_one_it_was_for(bench: Bench) -> None:
    holder, rival = bench.pool(memory=250), bench.pool(memory=250)
    known(bench, rival, run=1.0)
    slots = [known(bench, holder, run=1.0)]
    waiting(bench, holder, 7)
    for launched in bench.launches():
        bench.dispatch.ready(launched, bench.now)
        slots.append(launched)
    waiting(bench, rival, 5)
    bench.actions()
    assert holder.busy + rival.busy == 4
    assert (holder.claim, rival.claim) == (Need.GROWING, Need.GROWING)
    bench.dispatch.finished(slots[0], True, bench.now)
    assert bench.actions() == [Stop(slots[0])]
    bench.dispatch.stopped(slots[0], bench.now)
    assert [slot.pool for slot in bench.launches()] == [rival]


def test_nobody_gives_up_a_container_that_would_not_help_whoever_waits_for_processors(bench: Bench) -> None:
    bench.busy(bench.pool(memory=90, cpu=2000), "all processors")
    holder = bench.pool(memory=450, max_containers=2)
    slot = bench.busy(holder, "one")
    bench.now += 10.0
    bench.dispatch.arrive(holder, "two", bench.now)
    (second,) = bench.launches()
    bench.dispatch.ready(second, bench.now)
    bench.actions()
    bench.dispatch.arrive(bench.pool(memory=10, cpu=1000), "for processors", bench.now)
    waiting(bench, holder, 3)
    bench.now += 1000.0
    bench.dispatch.finished(slot, True, bench.now)
    assert slot.state is SlotState.BUSY, "it serves its own next call"
    bench.actions()
    bench.dispatch.arrive(bench.pool(memory=100), "for memory", bench.now)
    bench.dispatch.finished(slot, True, bench.now)
    assert bench.actions() == [Stop(slot)], "it is given up for who waits for memory, though behind the other"


def test_what_blocked_claims_is_forgotten_with_the_last_of_them(bench: Bench) -> None:
    holder = bench.busy(bench.pool(memory=1000), "holder")
    bench.dispatch.arrive(bench.pool(), "waits", bench.now)
    assert bench.dispatch.capacity.blocked is WaitReason.CAPACITY
    bench.dispatch.finished(holder, False, bench.now)
    bench.dispatch.stopped(holder, bench.now)
    assert len(bench.launches()) == 1
    assert bench.dispatch.capacity.blocked is None


def calls(bench: Bench, slot: Slot, number: int, gap: float) -> None:
    """Let an idle container serve so many calls, each `gap` seconds after the last."""
    for _ in range(number):
        bench.now += gap
        assert bench.dispatch.arrive(slot.pool, object(), bench.now) is slot
        bench.dispatch.finished(slot, True, bench.now)


def evicted(bench: Bench) -> Slot:
    """Let a call come that needs just more memory than is free, and return what is evicted for it."""
    free = bench.dispatch.capacity.memory.free
    bench.dispatch.arrive(bench.pool(memory=free + 1), "call", bench.now)
    (stop,) = bench.actions()
    assert isinstance(stop, Stop)
    return stop.slot


def test_what_starts_quickly_is_evicted_before_what_starts_slowly(bench: Bench) -> None:
    slow = bench.busy(bench.pool(), "slow", start=3.0)
    quick = bench.busy(bench.pool(), "quick", start=0.1)
    bench.dispatch.finished(quick, True, bench.now)
    bench.dispatch.finished(slow, True, bench.now)
    calls(bench, slow, 5, 1.0)
    calls(bench, quick, 5, 1.0)
    assert evicted(bench) is quick


def test_what_is_called_rarely_is_evicted_before_what_is_called_often(bench: Bench) -> None:
    (rare,) = bench.idle(bench.pool())
    (often,) = bench.idle(bench.pool())
    calls(bench, often, 100, 0.1)
    calls(bench, rare, 1, 0.0)
    assert evicted(bench) is rare


def test_of_equals_the_one_that_holds_more_memory_is_evicted(bench: Bench) -> None:
    small = bench.busy(bench.pool(memory=50), "small")
    large = bench.busy(bench.pool(memory=500), "large")
    bench.dispatch.finished(large, True, bench.now)
    bench.dispatch.finished(small, True, bench.now)
    assert evicted(bench) is large


def test_what_was_dear_once_ages_as_others_are_evicted(bench: Bench) -> None:
    """Else a container that once was called often would stay for ever, and the rest change places under it."""
    (dear,) = bench.idle(bench.pool(memory=500, idle_timeout=1e9))
    calls(bench, dear, 100, 0.01)
    pool = bench.pool(memory=450, idle_timeout=1e9)
    other = bench.pool(memory=450, idle_timeout=1e9)
    for _ in range(100):
        bench.dispatch.arrive(pool, "call", bench.now)
        for action in bench.actions():
            match action:
                case Stop(slot):
                    if slot is dear:
                        return
                    bench.dispatch.stopped(slot, bench.now)
                case Launch():
                    bench.dispatch.actions.append(action)
        (launch,) = bench.launches()
        bench.now += 0.1
        bench.dispatch.ready(launch, bench.now)
        bench.actions()
        bench.now += 1.0
        bench.dispatch.finished(launch, True, bench.now)
        pool, other = other, pool
    pytest.fail("it was never evicted")


def test_within_a_pool_the_longest_idle_is_evicted(bench: Bench) -> None:
    slots = bench.idle(bench.pool(), 3)
    assert evicted(bench) is slots[0]


def test_containers_of_min_warm_are_evicted_last_but_before_a_call_is_left_waiting(bench: Bench) -> None:
    warm_pool = bench.pool(memory=500, min_warm=1)
    bench.dispatch.tick(0.0)
    (warm,) = bench.launches()
    bench.dispatch.ready(warm, 5.0)  # dear, too
    bench.now = 5.0
    (other,) = bench.idle(bench.pool(memory=400))
    bench.dispatch.arrive(bench.pool(memory=400), "first", bench.now)
    assert bench.actions() == [Stop(other)]
    bench.dispatch.stopped(other, bench.now)
    bench.actions()
    bench.dispatch.arrive(bench.pool(memory=400), "second", bench.now)
    assert Stop(warm) in bench.actions()
    assert warm_pool.live == 0


def test_min_warm_evicts_nobody(bench: Bench) -> None:
    bench.idle(bench.pool(memory=600))
    bench.pool(memory=600, min_warm=1)
    bench.dispatch.tick(bench.now)
    assert bench.actions() == []


def test_what_a_pool_has_beyond_its_min_warm_is_evicted_like_any_other(bench: Bench) -> None:
    bench.pool(memory=100, min_warm=1)
    bench.dispatch.tick(bench.now)
    (first,) = bench.launches()
    bench.dispatch.ready(first, bench.now)
    (dear,) = bench.idle(bench.pool(memory=100))
    dear.pool.meter.started(100.0)
    bench.another(first)
    bench.dispatch.arrive(bench.pool(memory=800), "caller", bench.now)
    assert bench.actions() == [Stop(first)]


def test_warming_what_can_never_be_launched_keeps_nobody_else_from_it(bench: Bench) -> None:
    bench.pool(memory=1001, min_warm=1)
    small = bench.pool(min_warm=1)
    bench.dispatch.tick(bench.now)
    (slot,) = bench.launches()
    assert slot.pool is small
    assert bench.dispatch.next_tick == inf


def test_what_was_promised_to_a_caller_who_left_is_anothers(bench: Bench) -> None:
    slots = bench.idle(bench.pool(memory=500), 2)
    pool = bench.pool(memory=1000)
    bench.dispatch.arrive(pool, "leaves", bench.now)
    assert pool.promised == 1
    bench.dispatch.stopped(slots[0], bench.now)
    bench.dispatch.gone("leaves", bench.now)
    assert pool.promised == 0
    other = bench.pool(memory=500)
    bench.dispatch.arrive(other, "stays", bench.now)
    assert Launch(*other.slots) in bench.actions()


def test_a_waiter_takes_its_pools_freed_container_when_that_comes_before_memory(bench: Bench) -> None:
    pool = bench.pool(memory=1000)
    slot = bench.busy(pool, "first")
    bench.dispatch.arrive(pool, "second", bench.now)
    bench.now += 5.0
    bench.dispatch.tick(bench.now)
    assert bench.dispatch.why("second") is WaitReason.CAPACITY
    bench.dispatch.finished(slot, True, bench.now)
    assert bench.assigned() == ["second"]


def test_a_waiter_takes_memory_when_that_comes_before_a_freed_container(bench: Bench) -> None:
    other = bench.busy(bench.pool(memory=600), "other")
    pool = bench.pool(memory=400)
    bench.busy(pool, "first")
    bench.dispatch.arrive(pool, "second", bench.now)
    bench.now += 5.0
    bench.dispatch.tick(bench.now)
    assert bench.actions() == []
    bench.dispatch.finished(other, False, bench.now)
    bench.actions()
    bench.dispatch.stopped(other, bench.now)
    (slot,) = bench.launches()
    bench.dispatch.ready(slot, bench.now)
    assert bench.assigned() == ["second"]


def test_memory_goes_to_the_pool_that_has_waited_longest_however_much_it_needs(bench: Bench) -> None:
    holders = [bench.busy(bench.pool(memory=500), number) for number in range(2)]
    bench.dispatch.arrive(bench.pool(memory=1000), "large", bench.now)
    bench.dispatch.arrive(bench.pool(memory=100), "small", bench.now)
    order = []
    for holder in holders:
        bench.dispatch.finished(holder, False, bench.now)
        bench.dispatch.stopped(holder, bench.now)
    for _ in range(2):
        (slot,) = bench.launches()
        bench.now += 0.1
        bench.dispatch.ready(slot, bench.now)
        order += bench.assigned()
        bench.dispatch.finished(slot, False, bench.now)
        bench.actions()
        bench.dispatch.stopped(slot, bench.now)
    assert order == ["large", "small"]


def test_a_pool_that_wants_many_gets_them_between_the_others_turns() -> None:
    shell = VirtualShell(Limits(memory=20 * 128))
    flood = add_function(shell, "flood", Behaviour(run=lambda now: 0.5), hot=False)
    for _ in range(200):
        shell.call(flood)
    shell.advance(1.0)
    single = shell.call(add_function(shell, "single"))
    shell.advance(3.0)
    assert single.got is not None
    assert single.waited < 1.0


def test_two_floods_share_a_full_machine_equally() -> None:
    shell = VirtualShell(Limits(memory=10 * 128))
    first = add_function(shell, "first", Behaviour(run=lambda now: 1.0))
    second = add_function(shell, "second", Behaviour(run=lambda now: 1.0))
    shell.callers(first, 100, until=1e9)
    shell.advance(10.0)
    assert first.pool.live == 10
    shell.callers(second, 100, until=1e9)
    shell.advance(60.0)
    assert (first.pool.live, second.pool.live) == (5, 5)
    launched = first.tally.launches + second.tally.launches
    shell.advance(120.0)
    assert first.tally.launches + second.tally.launches == launched, "containers change hands though all is fair"


def test_pools_that_cannot_all_have_a_container_take_turns() -> None:
    """Ten floods, room for two containers: all are served alike, and launching does not eat up the machine."""
    shell = VirtualShell(Limits(memory=2 * 128))
    functions = [add_function(shell, f"fn {number}", Behaviour(run=lambda now: 0.05)) for number in range(10)]
    for function in functions:
        shell.callers(function, 5, until=1e9)
    shell.advance(200.0)
    counts = [function.tally.answered for function in functions]
    assert min(counts) > 0.8 * max(counts)
    runs_of_one_container = 200 / 0.05
    assert sum(counts) > 0.3 * 2 * runs_of_one_container / 2


def test_a_flood_does_not_take_the_container_of_a_function_called_now_and_then() -> None:
    shell = VirtualShell(Limits(memory=10 * 128))
    flood = add_function(shell, "flood", Behaviour(run=lambda now: 1.0))
    other = add_function(shell, "other", Behaviour(run=lambda now: 0.01))
    shell.callers(flood, 200, until=1e9)
    waits = []
    for _ in range(60):
        shell.advance(shell.now + 2.0)
        call = shell.call(other)
        shell.advance(shell.now + 3.0)
        waits.append(call.waited)
    assert waits[0] > 0.0
    assert waits[5:] == [0.0] * 55
    assert other.tally.launches <= 3


def test_a_pool_that_only_wants_more_leaves_another_its_fair_share(bench: Bench) -> None:
    rich = bench.pool(memory=300)
    poor = bench.pool(memory=300)
    (kept,) = bench.idle(poor)
    bench.busy(rich, 0)
    bench.now += 1.0
    bench.dispatch.arrive(rich, 1, bench.now)
    bench.dispatch.tick(bench.now + 1.0)
    (second,) = bench.launches()
    bench.dispatch.ready(second, bench.now + 1.1)
    bench.actions()
    bench.dispatch.arrive(poor, "used just now", bench.now + 1.2)
    bench.dispatch.finished(kept, True, bench.now + 1.21)
    bench.dispatch.arrive(rich, 2, bench.now + 1.3)
    bench.dispatch.tick(bench.now + 1.4)
    soon = kept.state
    assert bench.dispatch.why(2) is WaitReason.CAPACITY
    bench.dispatch.tick(bench.now + 9.0)
    assert (soon, kept.state) == (SlotState.IDLE, SlotState.STOPPING)
