"""Plugins are told of calls that are over; whatever they do with that, no call and no daemon waits for them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import attrs
import pytest
import trio

from fnd.hookspecs import CallRecord
from fnd.ids import new_id
from fnd.plugins import Plugin
from fnd.runtime import call_listeners
from fnd.runtime.call import Call
from fnd.runtime.call_records import CallRecords
from fnd.runtime.events import EventBus
from fnd.runtime.pool import FunctionPool, PoolTimeouts
from fnd_mock.codec import MockCodec
from fnd_mock.driver import MockDriver
from tests.agent_stage import version

LIMIT = 30


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_listeners, "GATHER_SECONDS", 0.001)


@attrs.define
class Listener:
    """Keeps what it is told, after it has done as it is told."""

    do: Callable[[], object] = lambda: None
    calls: list[str] = attrs.field(factory=list)
    groups: list[int] = attrs.field(factory=list)
    missed: int = 0
    closed: int = 0
    threads: set[threading.Thread] = attrs.field(factory=set)

    def calls_over(self, calls: Sequence[CallRecord], missed: int, /) -> None:
        self.threads.add(threading.current_thread())
        self.do()
        self.calls += [call.id for call in calls]
        self.groups.append(len(calls))
        self.missed += missed

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def plugin() -> Plugin:
    return Plugin("outsider", "", "")


class Feeding:
    """Calls that end, with what listens to them."""

    def __init__(self, records: CallRecords) -> None:
        self._records = records
        self._pool = FunctionPool(version(), MockDriver(), MockCodec(), PoolTimeouts(), EventBus(), records)

    def over(self, count: int = 1) -> list[str]:
        """Let calls end; return their ids."""
        ids = []
        for _ in range(count):
            call = Call(new_id(), self._pool, 10.0)
            call.taken_at, call.answered_at = 10.0, 10.1
            self._records.add(call)
            ids.append(call.id)
        return ids


async def until(holds: Callable[[], object]) -> None:
    with trio.fail_after(LIMIT):
        while not holds():  # noqa: ASYNC110 - what is waited for happens in another thread
            await trio.sleep(0.001)


async def test_each_call_is_told_once_and_in_order(plugin: Plugin) -> None:
    listener = Listener()
    records = CallRecords(0)
    async with call_listeners.telling({plugin: listener}) as records.listeners:
        first = Feeding(records).over(3)
        await until(lambda: len(listener.calls) == 3)
        second = Feeding(records).over(2)
        await until(lambda: len(listener.calls) == 5)
    assert listener.calls == first + second
    assert (listener.missed, listener.closed) == (0, 1)
    assert threading.main_thread() not in listener.threads
    assert plugin.status().state == "in use"


async def test_what_is_left_at_the_end_is_told_before_it_is_closed(plugin: Plugin) -> None:
    listener = Listener()
    records = CallRecords(0)
    async with call_listeners.telling({plugin: listener}) as records.listeners:
        ids = Feeding(records).over(2500)
    assert listener.calls == ids
    assert listener.groups == [1000, 1000, 500]
    assert listener.closed == 1


async def test_it_is_told_of_what_is_left_when_it_is_cancelled_as_well(plugin: Plugin) -> None:
    listener = Listener()
    records = CallRecords(0)
    with trio.CancelScope() as scope:
        async with call_listeners.telling({plugin: listener}) as records.listeners:
            Feeding(records).over(2)
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert (len(listener.calls), listener.closed) == (2, 1)


@pytest.mark.parametrize(
    ("do", "error"),
    [(lambda: 1 // 0, "ZeroDivisionError: integer division or modulo by zero"), (sys.exit, "SystemExit")],
)
async def test_one_that_raises_is_named_and_told_of_the_next(
    plugin: Plugin, do: Callable[[], object], error: str
) -> None:
    listener, other = Listener(do), Listener()
    records = CallRecords(0)
    async with call_listeners.telling({plugin: listener, Plugin("b", "", ""): other}) as records.listeners:
        Feeding(records).over()
        await until(lambda: plugin.status().troubles)
        listener.do = lambda: None
        ids = Feeding(records).over()
        await until(lambda: listener.calls)
    assert listener.calls == ids
    assert len(other.calls) == 2
    (trouble,) = plugin.status().troubles
    assert (trouble.where, trouble.error, trouble.count) == ("call listener", error, 1)


@contextmanager
def hanging() -> Iterator[threading.Event]:
    """Give what a listener waits for until the end of the context."""
    let_go = threading.Event()
    try:
        yield let_go
    finally:
        let_go.set()


async def test_one_that_hangs_keeps_nothing_waiting_and_misses_the_oldest(
    plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_listeners, "WAITING", 10)
    monkeypatch.setattr(call_listeners, "LAST_SECONDS", 0.05)
    records, other = CallRecords(0), Listener()
    with hanging() as let_go:
        listener = Listener(let_go.wait)
        async with call_listeners.telling({plugin: listener, Plugin("b", "", ""): other}) as records.listeners:
            Feeding(records).over()
            await until(lambda: listener.threads)
            kept = Feeding(records).over(15)[5:]
            await until(lambda: other.calls)
            let_go.set()
            await until(lambda: len(listener.calls) == 11)
    assert listener.calls[1:] == kept
    assert listener.missed == 5
    assert plugin.status().troubles[0].error == "it is too slow: it was not told of 5 calls"


async def test_one_that_never_returns_is_left_behind(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_listeners, "LAST_SECONDS", 0.05)
    records = CallRecords(0)
    with hanging() as let_go:
        listener = Listener(let_go.wait)
        async with call_listeners.telling({plugin: listener}) as records.listeners:
            Feeding(records).over()
            await until(lambda: listener.threads)
        assert listener.closed == 0
    assert plugin.status().troubles[0].error.startswith("it was left behind")


async def test_one_that_is_slow_is_named_while_it_is(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_listeners, "SLOW_SECONDS", 0.01)
    records = CallRecords(0)
    with hanging() as let_go:
        listener = Listener(let_go.wait)
        async with call_listeners.telling({plugin: listener}) as records.listeners:
            Feeding(records).over()
            await until(lambda: plugin.status().troubles)
            assert plugin.status().troubles[0].error == "slow: it has not returned for 0.01 s"
            let_go.set()
            await until(lambda: plugin.status().troubles[0].count == 2)
    assert plugin.status().troubles[0].error.startswith("slow: it took 0.")
