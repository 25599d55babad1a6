"""The seven invariants of dispatch, under any interleaving, against a model that only keeps lists.

Containers become ready, fail, hang, are given back, die at any point and report late or twice; callers come and leave;
time passes; functions are changed, forgotten and called again; at the end everything is let run, and must end.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fnd.dispatch import (
    TRANSITIONS,
    Assign,
    Dispatch,
    Forget,
    KeepAlive,
    Launch,
    Limits,
    Pool,
    PoolSettings,
    Reject,
    RejectReason,
    Slot,
    SlotState,
    Stop,
)
from fnd.dispatch.keep_alive import ENOUGH

MEMORY = 1000
_ENDED = (SlotState.STOPPING, SlotState.STOPPED)
_LIVE = (SlotState.LAUNCHING, SlotState.IDLE, SlotState.BUSY, SlotState.LEAVING)
_SERVING = (SlotState.BUSY, SlotState.LEAVING)
_MOVING = (SlotState.LAUNCHING, *_SERVING, SlotState.STOPPING)


@attrs.define(eq=False, repr=False)
class ModelPool:
    """What a pool must look like, kept in the simplest way."""

    pool: Pool
    line: list[int] = attrs.field(factory=list)
    idle: list[Slot] = attrs.field(factory=list)
    busy: dict[Slot, list[int]] = attrs.field(factory=dict)
    open: list[Slot] = attrs.field(factory=list)
    leaving: dict[Slot, list[int]] = attrs.field(factory=dict)
    launching: list[Slot] = attrs.field(factory=list)
    stopping: list[Slot] = attrs.field(factory=list)
    needy_since: int | None = None
    """The event since which it has had callers and no container, nor a reason of its own to wait."""

    def __repr__(self) -> str:
        return f"model of {self.pool}"

    @property
    def slots(self) -> list[Slot]:
        return [*self.idle, *self.busy, *self.leaving, *self.launching, *self.stopping]

    @property
    def live(self) -> int:
        return len(self.idle) + len(self.busy) + len(self.launching)

    @property
    def at_most(self) -> bool:
        """Whether it has as many containers as it may, those counted that only finish their calls."""
        most = self.pool.settings.max_containers
        return most is not None and self.live + len(self.leaving) >= most

    def take_out(self, slot: Slot) -> list[int]:
        """Remove the slot from wherever it is; return the calls that it had."""
        for place in (self.idle, self.open, self.launching, self.stopping):
            if slot in place:
                place.remove(slot)
        return self.busy.pop(slot, None) or self.leaving.pop(slot, None) or []

    def give(self, slot: Slot, call: int) -> None:
        """The slot runs this call, too."""
        calls = self.busy.get(slot)
        if calls is None:
            self.take_out(slot)
            calls = self.busy[slot] = []
        calls.append(call)
        assert len(calls) <= self.pool.settings.concurrency, "a container has too many calls"
        if len(calls) == self.pool.settings.concurrency:
            if slot in self.open:
                self.open.remove(slot)
        elif slot not in self.open:
            self.open.append(slot)


class DispatchMachine(RuleBasedStateMachine):
    """Every rule is one event, whose actions are then checked against the model and done to it."""

    @initialize(
        max_waiting=st.sampled_from([3, 1000]),
        max_pools=st.sampled_from([2, 1000]),
        cores=st.sampled_from([1, 2]),
        concurrency=st.sampled_from([1, 2, 3]),
    )
    def start(self, max_waiting: int, max_pools: int, cores: int, concurrency: int) -> None:
        self.limits = Limits(memory=MEMORY, cores=cores, max_pools=max_pools, max_waiting=max_waiting)
        self.dispatch = Dispatch(self.limits)
        self.models: dict[Pool, ModelPool] = {}
        self.now = 0.0
        self.event = 0
        self.numbers = itertools.count()
        self.over: set[int] = set()
        """Calls that were given a container or rejected."""
        self.orphans: dict[Slot, list[int]] = {}
        """Containers that ended under calls which were not reported finished yet."""
        self.states: dict[Slot, SlotState] = {}
        self.ending = False
        """Whether the present event may stop idle containers in any order."""
        self.new_pool(PoolSettings(memory=100, idle_timeout=10.0))
        self.new_pool(PoolSettings(memory=300, idle_timeout=10.0, concurrency=concurrency))

    # What the model makes of an event and its actions.

    def happen(self, event: Callable[[], Any], *, ends: bool = False) -> Any:
        """Do the event and check what it led to."""
        self.event += 1
        self.ending = ends
        promised = {pool for pool in self.models if pool.promised}
        result = event()
        launched = False
        for action in self.dispatch.actions:
            match action:
                case Launch(slot):
                    launched = True
                    self.launched(self.models[slot.pool], slot, slot.pool in promised)
                case Assign(call, slot):
                    self.assigned(self.models[slot.pool], call, slot)
                case Stop(slot):
                    self.stop_asked(self.models[slot.pool], slot)
                case Reject(call, reason):
                    self.rejected(call, reason)
                case Forget(pool):
                    model = self.models[pool]
                    assert not model.slots, "a pool with containers was forgotten"
                    assert not model.line, "a pool with waiters was forgotten"
                    assert pool not in self.dispatch.pools.values()
        self.dispatch.actions.clear()
        if launched:
            limit = self.dispatch.capacity.launch_limit
            assert limit.in_flight <= limit.limit, "more launches than the machine takes"
        for model in self.models.values():
            self.note_need(model)
        return result

    def launched(self, model: ModelPool, slot: Slot, promised: bool) -> None:
        assert model.idle or model.busy or not model.launching, "two launches while nothing is ready"
        if not model.live and model.line and not promised:
            for other in self.models.values():
                if not model.pool.cpu and self.waits_for_cpu(other):
                    continue  # who needs no processors passes who waits for them
                if other.needy_since is not None and other.line and not (other.live or other.pool.promised):
                    assert model.needy_since is not None, "a pool in need for longer was passed over"
                    assert model.needy_since <= other.needy_since, "a pool in need for longer was passed over"
        assert not model.at_most
        if not model.line and model.live >= model.pool.settings.min_warm:
            assert not model.live, "more than one container was launched for a call that is only expected"
            assert model.pool.habits is not None, "nobody needs what was launched"
        model.launching.append(slot)
        self.states[slot] = SlotState.LAUNCHING

    def waits_for_cpu(self, model: ModelPool) -> bool:
        """Whether processors are short for it, or for one in need for longer, for whom they are held."""
        cpu = self.dispatch.capacity.cpu
        return model.pool.cpu > 0 and any(
            cpu.shortfall(other.pool.cpu) > 0
            for other in self.models.values()
            if other.needy_since is not None and other.needy_since <= (model.needy_since or 0)
        )

    def assigned(self, model: ModelPool, call: int, slot: Slot) -> None:
        assert call not in self.over, "a call was served twice"
        assert model.line[0] == call, "a call was served before an earlier one"
        assert slot not in model.stopping, "a container that ends was given a call"
        assert slot not in model.leaving, "a container that is to take no more calls was given one"
        model.line.pop(0)
        self.over.add(call)
        model.give(slot, call)

    def stop_asked(self, model: ModelPool, slot: Slot) -> None:
        assert slot not in model.busy, "a container was stopped under its call"
        assert slot not in model.leaving, "a container was stopped under its call"
        assert slot not in model.stopping, "a container was stopped twice"
        if slot in model.idle and not self.ending:
            assert model.idle[0] is slot, "not the longest idle container was evicted"
        model.take_out(slot)
        model.stopping.append(slot)

    def rejected(self, call: int, reason: RejectReason) -> None:
        assert call not in self.over, "a call was answered twice"
        self.over.add(call)
        for model in self.models.values():
            if call in model.line:
                model.line.remove(call)
                if reason is RejectReason.LAUNCH_FAILED:
                    assert model.pool.failures.in_row >= self.limits.launch_attempts
                    assert not model.idle
                    assert not model.busy

    def note_need(self, model: ModelPool) -> None:
        waits_for_itself = model.pool.failures.backing_off(self.now) or model.at_most
        needy = bool(model.line) and not model.live and not waits_for_itself
        if not needy:
            model.needy_since = None
        elif model.needy_since is None and self.dispatch.next_tick > self.now:
            # Else a tick is overdue, and a pool whose back-off is over may not have been looked at.
            model.needy_since = self.event

    # Choosing.

    def some(self, data: st.DataObject, slots: list[Slot]) -> Slot:
        return data.draw(st.sampled_from(slots))

    def all_slots(self, *states: SlotState) -> list[Slot]:
        return [slot for model in self.models.values() for slot in model.slots if slot.state in states]

    # Events about pools.

    @precondition(lambda self: len(self.models) < 6)
    @rule(
        memory=st.sampled_from([100, 100, 300, 1000, 1001]),
        hot=st.sampled_from([True, True, False]),
        min_warm=st.sampled_from([0, 0, 2]),
        most=st.sampled_from([None, None, 1, 3]),
        keep_alive=st.sampled_from(KeepAlive),
        cpu=st.sampled_from([0, 0, 400, 1000, 2001]),
        concurrency=st.sampled_from([1, 1, 2, 3]),
    )
    def add_pool(
        self,
        memory: int,
        hot: bool,
        min_warm: int,
        most: int | None,
        keep_alive: KeepAlive,
        cpu: int,
        concurrency: int,
    ) -> None:
        self.new_pool(
            PoolSettings(
                memory=memory,
                cpu=cpu,
                idle_timeout=10.0,
                hot=hot,
                min_warm=min_warm,
                max_containers=most,
                keep_alive=keep_alive,
                concurrency=concurrency if hot else 1,
            )
        )

    def new_pool(self, settings: PoolSettings) -> None:
        key = next(self.numbers)
        pool = self.happen(lambda: self.dispatch.pool(key, settings))
        self.models[pool] = ModelPool(pool)

    @rule(data=st.data(), retires=st.booleans())
    def find_or_retire_pool(self, data: st.DataObject, retires: bool) -> None:
        pool = data.draw(st.sampled_from(list(self.models)))
        if retires:
            self.happen(lambda: self.dispatch.retire(pool, self.now), ends=True)
            assert not self.models[pool].idle
            return
        known = pool in self.dispatch.pools.values()
        found = self.happen(lambda: self.dispatch.pool(pool.key, pool.settings))
        assert (found is pool) == known
        self.models.setdefault(found, ModelPool(found))

    # Events about calls.

    @rule(data=st.data(), number=st.sampled_from([1, 1, 2, 5, 20]))
    def arrive(self, data: st.DataObject, number: int) -> None:
        model = data.draw(st.sampled_from(list(self.models.values())))
        for call in itertools.islice(self.numbers, number):
            self.arrive_one(model, call)

    @rule(data=st.data())
    def arrive_everywhere(self, data: st.DataObject) -> None:
        for model in data.draw(st.permutations(list(self.models.values()))):
            self.arrive_one(model, next(self.numbers))

    def arrive_one(self, model: ModelPool, call: int) -> None:
        def event() -> None:
            if model.open or model.idle:
                top = model.open[-1] if model.open else model.idle[-1]
                slot = self.dispatch.arrive(model.pool, call, self.now)
                assert slot is top, "not the last one with room, or else the last idle one, was taken first"
                model.give(top, call)
                self.over.add(call)
                assert not self.dispatch.actions
                return
            model.line.append(call)
            assert self.dispatch.arrive(model.pool, call, self.now) is None

        self.happen(event)
        if model.pool.memory > MEMORY or model.pool.cpu > self.limits.cpu:
            assert call in self.over, "a call of a function larger than the machine waits"
        assert len(model.line) <= self.limits.max_waiting

    @precondition(lambda self: any(model.line for model in self.models.values()))
    @rule(data=st.data(), everybody=st.booleans())
    def leave(self, data: st.DataObject, everybody: bool) -> None:
        model = data.draw(st.sampled_from([model for model in self.models.values() if model.line]))
        for call in list(model.line) if everybody else [data.draw(st.sampled_from(model.line))]:
            if call in model.line:  # an earlier one's leaving may have led to its rejection
                assert self.dispatch.why(call) is not None
                model.line.remove(call)
                self.over.add(call)
            self.happen(lambda call=call: self.dispatch.gone(call, self.now))  # type: ignore[misc]
            assert self.dispatch.why(call) is None

    @precondition(lambda self: self.over)
    @rule(data=st.data())
    def leave_too_late(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(sorted(self.over)))
        self.happen(lambda: self.dispatch.gone(call, self.now))
        assert self.dispatch.why(call) is None

    # Events about containers.

    @precondition(lambda self: self.all_slots(*_MOVING))
    @rule(data=st.data())
    def proceed(self, data: st.DataObject) -> None:
        """One container does what it is about to: becomes ready, gives its call's answer, is gone."""
        self.proceed_one(self.some(data, self.all_slots(*_MOVING)))

    @precondition(lambda self: self.all_slots(*_MOVING))
    @rule()
    def all_proceed(self) -> None:
        for slot in self.all_slots(*_MOVING):
            self.proceed_one(slot)

    def proceed_one(self, slot: Slot) -> None:
        match slot.state:
            case SlotState.LAUNCHING:
                self.ready_one(slot)
            case SlotState.BUSY | SlotState.LEAVING:
                self.finish_one(slot, True)
            case SlotState.STOPPING:
                self.stopped_one(slot)
            case _:
                pass

    def ready_one(self, slot: Slot) -> None:
        model = self.models[slot.pool]
        model.launching.remove(slot)
        keeps = not model.line and not model.pool.ending
        if keeps:
            model.idle.append(slot)
        self.happen(lambda: self.dispatch.ready(slot, self.now))
        assert (slot in model.busy) + (slot in model.idle) + (slot in model.stopping) == 1, "a container was lost"

    @precondition(lambda self: self.all_slots(*_SERVING))
    @rule(data=st.data(), reusable=st.booleans())
    def finish_any(self, data: st.DataObject, reusable: bool) -> None:
        slot = self.some(data, self.all_slots(*_SERVING))
        self.finish_one(slot, reusable, data.draw(st.sampled_from(list(slot.in_hand))))

    def finish_one(self, slot: Slot, reusable: bool, call: int | None = None) -> None:
        """One of its calls, the first unless told otherwise, is over."""
        model = self.models[slot.pool]
        leaves = slot in model.leaving
        calls = model.leaving[slot] if leaves else model.busy[slot]
        over = calls[0] if call is None else call
        calls.remove(over)
        serves_on = reusable and model.pool.settings.hot
        if not serves_on or not calls:
            model.take_out(slot)
            if calls:
                self.orphans[slot] = calls
            elif serves_on and not leaves and not model.line and not model.pool.ending:
                model.idle.append(slot)
        elif not leaves and not model.line and slot not in model.open:
            model.open.append(slot)

        def event() -> None:
            self.dispatch.finished(slot, reusable, self.now, over)
            if slot.state is SlotState.LEAVING and not leaves:
                rivals = [
                    other for other in self.models.values() if other is not model and other.pool.claim is not None
                ]
                assert rivals or model.pool.meter.climb.retreat, "a container is given up for nobody"
                model.leaving[slot] = model.take_out(slot)

        self.happen(event)
        places = (model.busy, model.leaving, model.idle, model.stopping)
        assert sum(slot in place for place in places) == 1, "a container was lost"
        assert serves_on or slot in model.stopping, "a container was used again that must not be"
        assert not leaves or slot in model.leaving or slot in model.stopping, "a container came back that was to leave"

    def stopped_one(self, slot: Slot) -> None:
        self.models[slot.pool].stopping.remove(slot)
        self.happen(lambda: self.dispatch.stopped(slot, self.now))
        assert slot.state is SlotState.STOPPED

    @precondition(lambda self: self.all_slots(SlotState.LAUNCHING))
    @rule(data=st.data(), retry=st.sampled_from([True, True, False]))
    def launch_fails(self, data: st.DataObject, retry: bool) -> None:
        slot = self.some(data, self.all_slots(SlotState.LAUNCHING))
        self.end(slot, lambda: self.dispatch.launch_failed(slot, "no such image", self.now, retry=retry))

    @precondition(lambda self: self.all_slots(*_LIVE))
    @rule(data=st.data(), notice=st.booleans())
    def die(self, data: st.DataObject, notice: bool) -> None:
        """A container ends by itself, whatever it does, or is gone without any notice before."""
        slot = self.some(data, self.all_slots(*_LIVE))
        if notice:
            self.end(slot, lambda: self.dispatch.exited(slot, self.now))
            return

        def event() -> None:
            self.models[slot.pool].stopping.remove(slot)
            self.dispatch.stopped(slot, self.now)

        self.end(slot, event)

    def end(self, slot: Slot, event: Callable[[], None]) -> None:
        """The slot's container ends without being asked to."""
        model = self.models[slot.pool]
        if calls := model.take_out(slot):
            self.orphans[slot] = calls
        model.stopping.append(slot)
        self.happen(event)

    @precondition(lambda self: self.orphans)
    @rule(data=st.data(), reusable=st.booleans())
    def finish_after_exit(self, data: st.DataObject, reusable: bool) -> None:
        slot = self.some(data, list(self.orphans))
        calls = self.orphans[slot]
        assert list(slot.in_hand) == calls
        call = data.draw(st.sampled_from(calls))
        self.happen(lambda: self.dispatch.finished(slot, reusable, self.now, call))
        calls.remove(call)
        assert list(slot.in_hand) == calls
        if not calls:
            del self.orphans[slot]

    @precondition(lambda self: any(state in _ENDED for state in self.states.values()))
    @rule(data=st.data(), event=st.sampled_from(["ready", "failed", "exited", "stopped", "expire"]))
    def late_news(self, data: st.DataObject, event: str) -> None:
        """What is reported of a container that ends or has ended changes nothing, `stopped` of one that ends apart."""
        slot = self.some(data, [slot for slot, state in self.states.items() if state in _ENDED])
        if event == "stopped" and slot.state is SlotState.STOPPING:
            return
        before = (slot.state, self.dispatch.capacity.memory.reserved)
        match event:
            case "ready":
                self.happen(lambda: self.dispatch.ready(slot, self.now))
            case "failed":
                self.happen(lambda: self.dispatch.launch_failed(slot, None, self.now))
            case "exited":
                self.happen(lambda: self.dispatch.exited(slot, self.now))
            case "stopped":
                self.happen(lambda: self.dispatch.stopped(slot, self.now))
            case _:
                assert not self.happen(lambda: self.dispatch.expire(slot, self.now))
        assert (slot.state, self.dispatch.capacity.memory.reserved) == before

    @precondition(lambda self: self.all_slots(SlotState.IDLE))
    @rule(seconds=st.sampled_from([0.0, 9.9, 10.0]))
    def idle_containers_expire(self, seconds: float) -> None:
        if seconds:
            self.time_passes(seconds)
        for slot in self.all_slots(SlotState.IDLE):
            model = self.models[slot.pool]
            if slot not in model.idle:
                continue  # evicted since
            deadline = self.dispatch.idle_deadline(slot)
            due = self.now >= deadline
            assert deadline <= slot.since + 10.0 or slot.spared_at > slot.since, "it is kept beyond its idle time-out"
            assert deadline == slot.since + 10.0 or slot.pool.habits is not None or slot.spared_at > slot.since
            spared = len(model.idle) + len(model.busy) <= slot.pool.settings.min_warm
            expired = self.happen(lambda slot=slot: self.dispatch.expire(slot, self.now))  # type: ignore[misc]
            assert expired == (due and not spared)
            if expired:
                model.idle.remove(slot)
                model.stopping.append(slot)
            else:
                assert self.dispatch.idle_deadline(slot) > self.now

    @rule(data=st.data(), gap=st.sampled_from([1.5, 9.0, 30.0]))
    def call_regularly(self, data: st.DataObject, gap: float) -> None:
        """A pool is called again and again, so that its next call can be expected."""
        model = data.draw(st.sampled_from(list(self.models.values())))
        for _ in range(ENOUGH + 1):
            self.arrive_one(model, next(self.numbers))
            for _ in range(2):
                for slot in [*model.launching, *model.busy, *model.leaving, *model.stopping]:
                    self.proceed_one(slot)
            self.time_passes(gap)
            self.idle_containers_expire(0.0)

    @rule()
    def memory_is_short(self) -> None:
        kept = [slot for model in self.models.values() for slot in model.idle]
        stopped = self.happen(lambda: self.dispatch.relieve(self.now))
        assert set(stopped) <= set(kept)
        for slot in set(kept) - set(stopped):
            assert slot.state is SlotState.IDLE
        for slot in stopped:
            model = self.models[slot.pool]
            assert len(model.idle) + len(model.busy) >= slot.pool.settings.min_warm, "what is to be kept was stopped"

    # Time.

    @rule(seconds=st.sampled_from([0.001, 0.05, 0.3, 2.0, 15.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        until = self.now + seconds
        while self.dispatch.next_tick <= until:
            self.tick()
        self.now = until
        for model in self.models.values():
            self.note_need(model)

    def tick(self) -> None:
        due = self.dispatch.next_tick
        self.now = max(self.now, due)
        self.happen(lambda: self.dispatch.tick(self.now))
        assert self.dispatch.next_tick > self.now, "time is asked for that has passed already"

    # What holds always.

    @invariant()
    def books_are_right(self) -> None:
        capacity = self.dispatch.capacity
        slots = [slot for model in self.models.values() for slot in model.slots]
        for name, resource in (("memory", capacity.memory), ("cpu", capacity.cpu)):
            of = attrgetter(name)
            stopping = [of(slot.pool) for slot in slots if slot.state is SlotState.STOPPING]
            assert resource.limit == of(self.limits)
            assert resource.reserved == sum(of(slot.pool) for slot in slots)
            assert resource.stopping == sum(stopping)
            assert resource.leaving == sum(of(slot.pool) for slot in slots if slot.state is SlotState.LEAVING)
            assert resource.promised == sum(of(pool) * pool.promised for pool in self.models)
            assert 0 <= resource.reserved <= resource.limit
            assert resource.reserved - resource.stopping + resource.promised <= resource.limit, "promised too much"
        assert self.dispatch.capacity.launch_limit.in_flight == len(self.all_slots(SlotState.LAUNCHING))

    @invariant()
    def pools_are_as_modelled(self) -> None:
        for pool, model in self.models.items():
            assert list(pool.slots) == sorted(model.slots, key=list(pool.slots).index)
            assert all(slot.state is SlotState.IDLE for slot in model.idle)
            assert all(slot.state is SlotState.LAUNCHING for slot in model.launching)
            assert all(slot.state is SlotState.STOPPING for slot in model.stopping)
            for state, serving in ((SlotState.BUSY, model.busy), (SlotState.LEAVING, model.leaving)):
                assert all(slot.state is state and list(slot.in_hand) == calls for slot, calls in serving.items())
                assert all(0 < len(calls) <= pool.settings.concurrency for calls in serving.values())
            assert (pool.idle.length, pool.busy, pool.leaving, pool.launching) == (
                len(model.idle), len(model.busy), len(model.leaving), len(model.launching),
            )  # fmt: skip
            assert list(pool.open) == model.open
            assert set(model.open) == {
                slot for slot, calls in model.busy.items() if len(calls) < pool.settings.concurrency
            }
            assert pool.line.length == len(model.line)
            began = [slot.got_by(call) for slot, calls in model.busy.items() for call in calls]
            assert pool.settings.concurrency == 1 or pool.running == len(began)
            assert abs(pool.meter.began - sum(began)) < 1e-6, "ages are wrong"

    @invariant()
    def nobody_waits_for_what_is_there(self) -> None:
        for model in self.models.values():
            assert not (model.line and model.idle), "a call waits while a container of its pool is idle"
            assert not (model.line and model.open), "a call waits while a container of its pool has room"

    @invariant()
    def pools_are_held_while_they_have_anything(self) -> None:
        held = {*self.dispatch.pools.values(), *self.dispatch.retired}
        for pool, model in self.models.items():
            assert pool in held or not (model.slots or model.line)
            assert pool.forgotten == (pool not in held)
        holding = sum(bool(model.slots or model.line or model.pool.settings.min_warm) for model in self.models.values())
        assert len(self.dispatch.pools) <= max(self.limits.max_pools, holding + 1)

    @invariant()
    def pools_with_anything_may_not_be_forgotten(self) -> None:
        for pool, model in self.models.items():
            assert not (model.slots or model.line) or pool not in self.dispatch._empty
            assert not pool.promised or model.slots or model.line, "what it is promised would be lost with it"

    @invariant()
    def states_follow_the_table(self) -> None:
        for slot, before in self.states.items():
            reached = {before} | TRANSITIONS[before]
            if SlotState.STOPPING in reached:
                reached = reached | {SlotState.STOPPED}
            assert slot.state in reached, f"{before} to {slot.state}"
            self.states[slot] = slot.state

    @invariant()
    def who_waits_waits_for_something(self) -> None:
        """A pool with callers and no container has a launch coming, its turn coming, or a time to try again."""
        limit = self.dispatch.capacity.launch_limit
        for pool, model in self.models.items():
            if model.line and not model.live:
                backing_off = pool.failures.backing_off(self.now) and self.dispatch.next_tick <= pool.failures.retry_at
                own = backing_off or model.at_most
                assert own or pool.promised or pool.claim is not None, "a pool was forgotten in its need"
                if pool.claim is not None:
                    assert limit.in_flight or self.dispatch.capacity.memory.reserved, "it waits for nothing"

    @invariant()
    def memory_at_hand_is_not_withheld(self) -> None:
        """The pool that is in need for longest launches if it can, whoever claimed memory before and has gone."""
        needy = [model for model in self.models.values() if model.needy_since is not None and not model.pool.promised]
        first = min(needy, key=lambda model: model.needy_since or 0, default=None)
        if first is None or sum(model.needy_since == first.needy_since for model in needy) > 1:
            return
        capacity = self.dispatch.capacity
        if first.pool.claim is None or any(pool.promised for pool in self.models):
            return
        full = capacity.launch_limit.in_flight >= int(capacity.launch_limit.limit)
        short = capacity.memory.free < first.pool.memory or capacity.cpu.free < first.pool.cpu
        assert full or short, "there is room, and nobody gets it"

    # The end.

    def teardown(self) -> None:
        if not hasattr(self, "dispatch"):
            return
        self.let_everything_run()
        self.happen(lambda: self.dispatch.drain(self.now), ends=True)
        for slot in self.all_slots(*_SERVING):
            for _ in list(slot.in_hand):
                self.finish_one(slot, True)
        for slot, calls in self.orphans.items():
            for call in calls:
                self.dispatch.finished(slot, False, self.now, call)
            assert not slot.in_hand
        assert {slot.state for model in self.models.values() for slot in model.slots} <= {SlotState.STOPPING}
        for slot in self.all_slots(SlotState.STOPPING):
            self.stopped_one(slot)
        self.nothing_is_left()

    def let_everything_run(self) -> None:
        """With containers that work and end, everybody who waits is answered: nobody starves, nothing is wedged."""
        for _ in range(1000):
            waiting = [call for model in self.models.values() for call in model.line]
            if not waiting:
                return
            for slot in self.all_slots(SlotState.STOPPING):
                self.stopped_one(slot)
            for slot in self.all_slots(SlotState.LAUNCHING):
                self.now += 0.05
                if slot.state is SlotState.LAUNCHING:
                    self.ready_one(slot)
            for slot in self.all_slots(*_SERVING):
                for call in list(slot.in_hand):
                    self.now += 0.05
                    self.finish_one(slot, True, call)
            self.now += 0.05
            if self.dispatch.next_tick <= self.now or not self.all_slots(*SlotState):
                self.tick()
            for check in (self.books_are_right, self.pools_are_as_modelled, self.nobody_waits_for_what_is_there):
                check()
        raise AssertionError("calls wait for ever")

    def nothing_is_left(self) -> None:
        dispatch = self.dispatch
        for resource in (dispatch.capacity.memory, dispatch.capacity.cpu):
            assert (resource.reserved, resource.stopping, resource.promised) == (0, 0, 0)
        assert dispatch.capacity.launch_limit.in_flight == 0
        assert not dispatch.retired
        assert all(pool.empty and pool.claim is None and not pool.promised for pool in self.models)
        snapshot = dispatch.snapshot(self.now)
        assert (snapshot.running, snapshot.waiting, snapshot.launching) == (0, 0, 0)
        assert snapshot.memory_reserved == 0


TestDispatch = DispatchMachine.TestCase
