"""Calls that are over: kept as they are, told of on request, and written down off every call's way."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from fnd.errors import FunctionFailed, StoreUnavailable
from fnd.ids import new_id
from fnd.model import CallQuery, CallRecord
from fnd.runtime.call import Call
from fnd.runtime.call_records import (
    AT_ONCE,
    FLUSH_SECONDS,
    MOST_UNWRITTEN,
    PER_FLUSH,
    CallRecords,
    LostCalls,
    asked_for,
    record_of,
    select,
)
from fnd.runtime.events import EventBus
from fnd.runtime.pool import FunctionPool, PoolTimeouts
from fnd_mock.codec import MockCodec
from fnd_mock.driver import MockDriver
from tests.agent_stage import version

ALL = CallQuery(limit=1000)


@attrs.define
class History:
    """Keeps what it is given, unless it is told to fail, or to take its time."""

    groups: list[list[str]] = attrs.field(factory=list)
    fails: int = 0
    slow: float = 0.0

    async def add(self, records: Callable[[], Iterable[CallRecord]]) -> None:
        await trio.sleep(self.slow)
        if self.fails:
            self.fails -= 1
            raise StoreUnavailable
        self.groups.append([record.id for record in records()])


def over(records: CallRecords, run: float = 0.1, **fields: Any) -> Call:
    """Return a call that has just ended."""
    pool = FunctionPool(version(), MockDriver(), MockCodec(), PoolTimeouts(), EventBus(), records)
    call = Call(new_id(), pool, 10.0)
    call.taken_at = 10.0
    call.answered_at = 10.0 + run
    for name, value in fields.items():
        setattr(call, name, value)
    pool.record(call)
    return call


async def newest(records: CallRecords, query: CallQuery = ALL) -> list[str]:
    return [record.id for record in await select(query, records)]


async def test_the_last_ones_are_kept_newest_first() -> None:
    records = CallRecords(3)
    calls = [over(records) for _ in range(5)]
    assert await newest(records) == [call.id for call in reversed(calls[2:])]
    assert await newest(records, CallQuery(limit=1)) == [calls[4].id]
    assert records.find(calls[1].id) is None
    assert records.find(calls[2].id) == record_of(calls[2])


async def test_the_newest_are_those_that_came_last_not_those_that_ended_last() -> None:
    records = CallRecords(3)
    first = Call(new_id(), FunctionPool(version(), MockDriver(), MockCodec(), PoolTimeouts(), EventBus(), records), 1.0)
    second = over(records)
    first.answered_at = 2.0
    records.add(first)
    assert await newest(records) == [second.id, first.id]


async def test_records_are_made_of_no_calls_but_those_that_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Call] = []

    def make(call: Call) -> CallRecord:
        made.append(call)
        return record_of(call)

    monkeypatch.setattr("fnd.runtime.call_records.record_of", make)
    records = CallRecords(1000)
    calls = [over(records, error="Timed out" if number % 100 == 0 else "") for number in range(1000)]
    await select(CallQuery(limit=3, failed=True), records)
    assert made == [calls[900], calls[800], calls[700]]
    made.clear()
    for query in (
        CallQuery(limit=3, slower=1.0),
        CallQuery(limit=3, app_id="other"),
        CallQuery(limit=3, fn_id="other"),
    ):
        assert await select(query, records) == []
    assert made == []


async def test_other_tasks_have_their_turn_while_many_records_are_made() -> None:
    turns = 0

    async def another() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    records = CallRecords(1000)
    for _ in range(1000):
        over(records)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(another)
        assert len(await select(ALL, records)) == 1000
        nursery.cancel_scope.cancel()
    assert turns > 500 / AT_ONCE


def test_a_record_tells_how_long_each_part_took() -> None:
    call = over(CallRecords(1), receive=0.5, launch=2.0, cold=True)
    call.arrived_at = 7.0
    record = record_of(call)
    assert (record.state, record.status, record.cold) == ("answered", 200, True)
    assert (record.receive, record.queue, record.launch) == (0.5, 1.0, 2.0)
    assert record.run == pytest.approx(0.1)
    assert record.total == pytest.approx(3.6)
    assert (record.app_name, record.fn_id, record.situation) == ("app", "fn-id", None)


async def test_one_that_no_container_took_has_only_waited(autojump_clock: MockClock) -> None:
    await trio.sleep(20)
    call = over(CallRecords(1), answered_at=0.0, taken_at=0.0)
    assert (record_of(call).state, record_of(call).queue, record_of(call).run) == ("waiting", 10.0, 0.0)
    call.failed(FunctionFailed("no more"))
    await trio.sleep(100)
    record = record_of(call)
    assert (record.state, record.status, record.error) == ("failed", 502, "no more")
    assert (record.queue, record.run) == (10.0, 0.0)


async def test_one_that_runs_says_so(autojump_clock: MockClock) -> None:
    await trio.sleep(20)
    call = over(CallRecords(1), answered_at=0.0)
    assert (record_of(call).state, record_of(call).status, record_of(call).run) == ("running", 0, 10.0)


@asynccontextmanager
async def flushing(keep: int = 1000, fails: int = 0, slow: float = 0.0) -> AsyncIterator[tuple[CallRecords, History]]:
    records, history = CallRecords(keep), History(fails=fails, slow=slow)
    async with records.flushing(history):
        yield records, history


async def test_new_ones_are_written_in_groups_each_once(autojump_clock: MockClock) -> None:
    async with flushing() as (records, history):
        calls = [over(records) for _ in range(3)]
        await trio.sleep(1.5 * FLUSH_SECONDS)
        calls += [over(records)]
        await trio.sleep(100)
        calls += [over(records)]
        await trio.sleep(100)
        names = [call.id for call in calls]
        assert [sorted(group) for group in history.groups] == [names[:3], names[3:4], names[4:]]


async def test_nothing_happens_while_nothing_is_called(autojump_clock: MockClock) -> None:
    async with flushing() as (records, history):
        over(records)
        await trio.sleep(1000)
        # Only what waits for an event, and not for a time, lets the clock go on by nothing but the test's own sleep.
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == float("inf")
        assert len(history.groups) == 1


async def test_what_is_there_at_the_end_is_written(autojump_clock: MockClock) -> None:
    async with flushing() as (records, history):
        call = over(records)
    assert history.groups == [[call.id]]


async def test_it_is_written_even_if_everything_is_cancelled(autojump_clock: MockClock) -> None:
    with trio.CancelScope() as scope:
        async with flushing() as (records, history):
            call = over(records)
            scope.cancel()
            await trio.sleep_forever()
    assert history.groups == [[call.id]]


async def test_a_store_that_fails_is_tried_again_ever_more_rarely_and_nothing_is_lost(
    autojump_clock: MockClock,
) -> None:
    async with flushing(fails=3) as (records, history):
        first = over(records)
        await trio.sleep(FLUSH_SECONDS * (1 + 2 + 4) + 0.1)
        second = over(records)
        assert (history.groups, history.fails) == ([], 0)
        await trio.sleep(FLUSH_SECONDS * 8)
        assert history.groups == [[second.id, first.id]]


async def test_all_that_came_while_the_store_failed_is_written_when_it_is_well(autojump_clock: MockClock) -> None:
    async with flushing(keep=0, fails=6) as (records, history):
        calls = []
        for _ in range(20):
            calls += [over(records).id for _ in range(PER_FLUSH)]
            await trio.sleep(FLUSH_SECONDS + 0.1)
        assert history.groups == []
        with capture_logs() as logs:
            await trio.sleep(1000)
        assert {call_id for group in history.groups for call_id in group} == set(calls)
        assert {len(group) for group in history.groups} == {PER_FLUSH}, "in groups that take no longer than others"
        assert logs == []


async def test_of_more_than_can_wait_for_the_store_the_oldest_go_and_that_is_told_once(
    autojump_clock: MockClock,
) -> None:
    async with flushing(keep=0, fails=7) as (records, history):
        calls = []
        for _ in range(MOST_UNWRITTEN // PER_FLUSH + 3):
            calls += [over(records).id for _ in range(PER_FLUSH)]
            await trio.sleep(FLUSH_SECONDS + 0.1)
        with capture_logs() as logs:
            await trio.sleep(1000)
        written = {call_id for group in history.groups for call_id in group}
        assert written == set(calls[3 * PER_FLUSH :])
        assert [(line["event"], line["count"]) for line in logs] == [
            ("calls' records are missing in the store", 3 * PER_FLUSH)
        ]


async def test_what_a_store_that_fails_to_the_end_never_took_is_told(autojump_clock: MockClock) -> None:
    with capture_logs() as logs:
        async with flushing(fails=1000) as (records, _):
            over(records)
            await trio.sleep(100)
            over(records)
    assert [line["count"] for line in logs] == [2]


async def test_a_write_that_is_cut_short_by_the_end_is_made_again(autojump_clock: MockClock) -> None:
    async with flushing(slow=10.0) as (records, history):
        call = over(records)
        await trio.sleep(FLUSH_SECONDS + 1)
        history.slow = 0.0
    assert history.groups == [[call.id]]


async def test_what_nobody_thought_of_costs_its_group_and_not_the_daemon(autojump_clock: MockClock) -> None:
    async with flushing() as (records, history):
        over(records, situation=("not", "a", "situation"))
        with capture_logs() as logs:
            await trio.sleep(10)
        assert [line["log_level"] for line in logs] == ["error", "warning"]
        call = over(records)
        await trio.sleep(10)
        assert history.groups == [[call.id]]


@pytest.mark.parametrize("keep", [0, 2])
async def test_what_is_kept_in_memory_makes_no_difference_to_what_is_written(
    keep: int, autojump_clock: MockClock
) -> None:
    async with flushing(keep) as (records, history):
        calls = [over(records) for _ in range(5)]
        assert await newest(records) == [call.id for call in reversed(calls)][:keep]
        await trio.sleep(10)
    assert history.groups == [[call.id for call in reversed(calls)]]


@pytest.mark.parametrize("seed", range(5))
async def test_of_too_many_those_that_failed_were_cold_or_slowest_are_written(
    seed: int, autojump_clock: MockClock
) -> None:
    async with flushing(keep=10) as (records, history):
        kinds: list[dict[str, Any]] = [{"run": 0.001 * number} for number in range(1000)]
        kinds += [{"run": 0.0, "error": "Timed out"}] * 20 + [{"run": 0.0, "cold": True}] * 30
        random.Random(seed).shuffle(kinds)
        calls = [(over(records, **kind), kind) for kind in kinds]
        await trio.sleep(10)
        (group,) = history.groups
        others = sorted(((kind["run"], call.id) for call, kind in calls if kind["run"]), reverse=True)
        expected = {call.id for call, kind in calls if not kind["run"] and len(kind) > 1}
        expected |= {call_id for _, call_id in others[: PER_FLUSH - 50]}
        assert (len(group), set(group)) == (PER_FLUSH, expected)
        over(records, run=0.0)
        await trio.sleep(10)
        assert [len(group) for group in history.groups] == [PER_FLUSH, 1], "each group has a choice of its own"


async def test_of_more_failures_than_are_written_the_slowest_are(autojump_clock: MockClock) -> None:
    async with flushing() as (records, history):
        for number in range(2 * PER_FLUSH):
            over(records, run=0.001 * number, error="Timed out")
            over(records, run=1000.0)
        last = over(records, run=100.0, error="Timed out")
        quick = over(records, run=0.0, error="Timed out")
        await trio.sleep(10)
        (group,) = history.groups
        assert (last.id in group, quick.id in group) == (True, False)
        assert all(records.find(call_id).error for call_id in group)  # type: ignore[union-attr]


async def test_an_error_that_no_store_could_take_is_told_so_that_one_can_in_record_and_event() -> None:
    records, events = CallRecords(1), EventBus()
    pool = FunctionPool(version(), MockDriver(), MockCodec(), PoolTimeouts(), events, records)
    with events.subscribe() as told:
        Call(new_id(), pool, 10.0).failed(FunctionFailed("no file \udcff here"))
        event = await anext(told)
    (record,) = await select(ALL, records)
    assert record.error == event.fields["error"] == "no file \\udcff here"


async def test_a_rejected_call_that_is_kept_does_not_keep_what_ended_it() -> None:
    call = over(CallRecords(1))
    call.reject(FunctionFailed())
    with pytest.raises(FunctionFailed):
        await call.wait()
    assert call._error is None


async def test_who_follows_is_told_of_each_call_as_it_ends_and_how_many_were_lost() -> None:
    records = CallRecords(10)
    over(records)
    with records.over.subscribe(capacity=2) as following:
        calls = [over(records) for _ in range(5)]
        assert [await following.__anext__() for _ in range(3)] == [*calls[:2], LostCalls(3)]


def test_who_follows_some_is_told_of_no_others() -> None:
    records = CallRecords(10)
    call = over(records, error="it failed")
    fn = call.pool.version.fn
    assert asked_for(CallQuery(limit=0, fn_id=fn.id, failed=True), call) == record_of(call)
    assert asked_for(CallQuery(limit=0, fn_id="another"), call) is None
    assert asked_for(CallQuery(limit=0, failed=True), over(records)) is None
    assert asked_for(CallQuery(limit=0, slower=1), call) is None
    assert asked_for(CallQuery(limit=0, fn_id="another"), LostCalls(3)) == LostCalls(3)
