"""Calls' records on disk: kept in the order in which the calls came, and never more than so many."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from structlog.testing import capture_logs

from fnd.errors import StoreUnavailable
from fnd.ids import made_at, new_id
from fnd.model import CallQuery, CallRecord, Situation
from fnd.store import CallHistory, Store
from tests.unit.store.conftest import file_size_limit

ALL = CallQuery(limit=1000)
MET = Situation(ahead=3, busy=2, launching=1, launched=0, mean_run=0.25, mean_start=0.5)


def record(**fields: Any) -> CallRecord:
    call_id = new_id()
    values: dict[str, Any] = {
        "id": call_id,
        "app_id": "A1",
        "app_name": "shop",
        "fn_id": "F1",
        "fn_name": "cart",
        "arrived_at": made_at(call_id),
        "state": "answered",
        "status": 200,
        "error": "",
        "cold": False,
        "resumed": False,
        "receive": 0.0,
        "queue": 0.5,
        "launch": 0.0,
        "run": 0.25,
        "waited_for": "busy containers",
        "container_id": "C1",
        "situation": MET,
    }
    return CallRecord(**values | fields)


def giving(*records: CallRecord) -> Callable[[], list[CallRecord]]:
    return lambda: list(records)


async def test_a_record_comes_back_as_it_was(store: Store) -> None:
    history = CallHistory(store, 10)
    kept = record(error="function failed", state="failed", status=502, cold=True, resumed=True)
    await history.add(giving(kept))
    assert await history.find(kept.id) == kept
    assert await history.newest(ALL) == [kept]


async def test_one_that_met_an_idle_container_met_nothing(store: Store) -> None:
    history = CallHistory(store, 10)
    kept = record(situation=None, waited_for="")
    await history.add(giving(kept))
    assert await history.find(kept.id) == kept


async def test_the_newest_come_first_and_the_oldest_go(store: Store) -> None:
    history = CallHistory(store, 3)
    records = [record() for _ in range(5)]
    await history.add(giving(*records[:2]))
    assert await history.newest(ALL) == [records[1], records[0]]
    await history.add(giving(*records[2:]))
    assert await history.newest(ALL) == [records[4], records[3], records[2]]
    assert await history.newest(CallQuery(limit=2)) == [records[4], records[3]]
    assert await history.find(records[0].id) is None


async def test_a_record_written_again_replaces_the_one_before(store: Store) -> None:
    history = CallHistory(store, 10)
    first = record()
    again = attrs.evolve(first, state="failed", status=444, error="The caller went away")
    await history.add(giving(first))
    await history.add(giving(again))
    assert await history.newest(ALL) == [again]


@pytest.mark.parametrize(
    "bad",
    [
        {"error": "no file \udcff here"},
        {"status": 1 << 80},
        {"fn_name": object()},
        {"app_name": None},
        {"arrived_at": "yesterday"},
        {"situation": attrs.evolve(MET, ahead=object())},  # type: ignore[arg-type]
    ],
    ids=lambda bad: next(iter(bad)),
)
async def test_a_record_that_cannot_be_written_costs_no_other_its_place(store: Store, bad: dict[str, Any]) -> None:
    history = CallHistory(store, 10)
    first, broken, last = record(), record(**bad), record()
    with capture_logs() as logs:
        await history.add(giving(first, broken, last))
    assert await history.newest(ALL) == [last, first]
    assert store.health.ok
    assert [line["call_id"] for line in logs] == [broken.id]


async def test_a_full_disk_is_not_taken_for_a_record_that_cannot_be_written(store: Store) -> None:
    history = CallHistory(store, 10)
    kept = record(error="x" * 8_000_000)  # too much to wait for the commit in memory
    size = store.path.with_name("fnd.db-wal").stat().st_size
    with file_size_limit(size), capture_logs() as logs, pytest.raises(StoreUnavailable):
        await history.add(giving(kept))
    assert [line["event"] for line in logs] == ["the store fails"]
    await history.add(giving(kept))
    assert await history.newest(ALL) == [kept]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (CallQuery(limit=9, app_id="A2"), ["other app"]),
        (CallQuery(limit=9, fn_id="F2"), ["other fn"]),
        (CallQuery(limit=9, failed=True), ["failed"]),
        (CallQuery(limit=9, slower=10.0), ["slow"]),
        (CallQuery(limit=9, slower=10.0, failed=True), []),
        (CallQuery(limit=9, app_id="A1", fn_id="F1"), ["slow", "failed"]),
    ],
)
async def test_what_is_asked_for_is_what_comes(store: Store, query: CallQuery, expected: list[str]) -> None:
    history = CallHistory(store, 10)
    records = [
        record(fn_name="other app", app_id="A2", fn_id="F9"),
        record(fn_name="other fn", fn_id="F2"),
        record(fn_name="failed", error="Timed out"),
        record(fn_name="slow", run=30.0),
    ]
    await history.add(giving(*records))
    assert [found.fn_name for found in await history.newest(query)] == expected
    assert [found.fn_name for found in reversed(records) if query.matches(found)] == expected


async def test_history_of_nothing_costs_no_write(store: Store) -> None:
    def never() -> list[CallRecord]:
        raise AssertionError("nobody wants it")

    await CallHistory(store, 0).add(never)


@pytest.mark.parametrize("call_id", ["", "nothing", "\udcff", "a" * 10_000])
async def test_a_call_that_never_was_has_no_record(store: Store, call_id: str) -> None:
    assert await CallHistory(store, 10).find(call_id) is None


async def test_a_damaged_record_is_the_stores_failure(store: Store) -> None:
    history = CallHistory(store, 10)
    kept = record()
    await history.add(giving(kept))
    other = sqlite3.connect(store.path)
    with other:
        other.execute("UPDATE calls SET situation = '{\"strange\": 1}'")
    other.close()
    with pytest.raises(StoreUnavailable):
        await history.find(kept.id)
    assert kept.id in store.health.error
