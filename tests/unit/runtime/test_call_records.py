"""Calls that are over: kept as they are, told of on request, and written down off every call's way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from fnd.errors import FunctionFailed, StoreUnavailable
from fnd.ids import new_id
from fnd.model import CallQuery, CallRecord
from fnd.runtime.call import Call
from fnd.runtime.call_records import (
    FLUSH_SECONDS,
    PER_FLUSH,
    CallRecords,
    LostCalls,
    asked_for,
    record_of,
    worth_keeping,
)
from fnd.runtime.events import EventBus
from fnd.runtime.pool import FunctionPool, PoolTimeouts
from fnd_mock.codec import MockCodec
from fnd_mock.driver import MockDriver
from tests.agent_stage import version

ALL = CallQuery(limit=1000)


@attrs.define
class History:
    """Keeps what it is given, unless it is told to fail."""

    groups: list[list[str]] = attrs.field(factory=list)
    fails: int = 0

    async def add(self, records: Callable[[], Iterable[CallRecord]]) -> None:
        await trio.lowlevel.checkpoint()
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


def test_the_last_ones_are_kept_newest_first() -> None:
    records = CallRecords(3)
    calls = [over(records) for _ in range(5)]
    assert [record.id for record in records.newest(ALL)] == [call.id for call in reversed(calls[2:])]
    assert [record.id for record in records.newest(CallQuery(limit=1))] == [calls[4].id]
    assert records.find(calls[1].id) is None
    assert records.find(calls[2].id) == record_of(calls[2])


def test_the_newest_are_those_that_came_last_not_those_that_ended_last() -> None:
    records = CallRecords(3)
    first = Call(new_id(), FunctionPool(version(), MockDriver(), MockCodec(), PoolTimeouts(), EventBus(), records), 1.0)
    second = over(records)
    first.answered_at = 2.0
    records.add(first)
    assert [record.id for record in records.newest(ALL)] == [second.id, first.id]


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
async def flushing(keep: int = 1000, fails: int = 0) -> AsyncIterator[tuple[CallRecords, History]]:
    records, history = CallRecords(keep), History(fails=fails)
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


async def test_what_the_ring_has_overwritten_is_not_written(autojump_clock: MockClock) -> None:
    async with flushing(keep=2) as (records, history):
        calls = [over(records) for _ in range(5)]
        await trio.sleep(10)
        assert history.groups == [[calls[4].id, calls[3].id]]


async def test_without_a_ring_nothing_is_kept(autojump_clock: MockClock) -> None:
    async with flushing(keep=0) as (records, history):
        over(records)
        assert records.newest(ALL) == []
        await trio.sleep(10)
    assert history.groups == []


def test_of_too_many_those_that_failed_were_cold_or_slowest_are_written() -> None:
    records = CallRecords(10_000)
    ordinary = [over(records, run=0.001 * number) for number in range(PER_FLUSH + 100)]
    failed = over(records, run=0.0, error="Timed out")
    cold = over(records, run=0.0, cold=True)
    kept = worth_keeping([*ordinary, failed, cold])
    assert len(kept) == PER_FLUSH
    assert kept[:2] == [failed, cold]
    assert set(kept[2:]) == set(ordinary[102:])


def test_an_error_that_no_store_could_take_is_told_so_that_one_can() -> None:
    records = CallRecords(1)
    over(records).failed(FunctionFailed("no file \udcff here"))
    (record,) = records.newest(ALL)
    assert record.error == "no file \\udcff here"
    assert record.error.encode()


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
