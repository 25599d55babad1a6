"""Function logs: output is taken without waiting, belongs to its call, stays bounded, and is told live."""

from __future__ import annotations

import errno
import os
import tracemalloc
from pathlib import Path

import pytest
import trio
import trio.testing

from fnd.runtime.function_logs import (
    FN_PENDING_LIMIT,
    LINE_COST,
    LINGER,
    MAX_LINES,
    PENDING_LIMIT,
    SUBSCRIPTION_CAPACITY,
    FunctionLogs,
)
from fnd.runtime.log_files import LogLine

MIB = 1 << 20


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
async def logs(directory: Path, clock: Clock, nursery: trio.Nursery) -> FunctionLogs:
    """Running logs with a limit of 10,000 bytes a call."""
    logs = FunctionLogs(directory, per_call_limit=10_000, clock=clock)
    nursery.start_soon(logs.run)
    await trio.testing.wait_all_tasks_blocked()
    return logs


def texts(lines: list[LogLine]) -> list[str]:
    return [line.text for line in lines]


async def test_lines_have_their_call_time_stream_and_container(logs: FunctionLogs) -> None:
    with logs.open("C1", "A1", "F1") as log:
        log("stdout", b"starting\n")
        log.begin_call("K1")
        log("stderr", b"working\n")
    first, second = await logs.read("F1")
    assert (first.call_id, first.stream, first.container_id, first.text) == ("", "stdout", "C1", "starting")
    assert (second.call_id, second.stream, second.fn_id, second.text) == ("K1", "stderr", "F1", "working")
    assert 0 < first.at <= second.at


async def test_output_on_its_way_when_a_call_ends_is_the_calls_and_later_output_is_nobodys(
    logs: FunctionLogs, clock: Clock
) -> None:
    log = logs.open("C1", "A1", "F1")
    log.begin_call("K1")
    log.end_call()
    clock.now += LINGER
    log("stdout", b"late\n")
    clock.now += 0.001
    log("stdout", b"idle\n")
    log("stdout", b"still idle\n")
    log.begin_call("K2")
    log("stdout", b"next\n")
    assert [(line.text, line.call_id) for line in await logs.read("F1")] == [
        ("late", "K1"),
        ("idle", ""),
        ("still idle", ""),
        ("next", "K2"),
    ]


async def test_a_calls_history_is_found_by_its_id(logs: FunctionLogs) -> None:
    log = logs.open("C1", "A1", "F1")
    for call_id in ("K1", "K2", "K1"):
        log.begin_call(call_id)
        log("stdout", call_id.encode() + b"\n")
    assert texts(await logs.read("F1", "K1")) == ["K1", "K1"]
    assert texts(await logs.read("F1", "K1", lines=1)) == ["K1"]


async def test_a_call_that_writes_too_much_is_cut_with_a_mark_and_the_next_is_not(logs: FunctionLogs) -> None:
    log = logs.open("C1", "A1", "F1")
    log.begin_call("K1")
    for _ in range(100):
        log("stdout", b"x" * 999 + b"\n")
    log.begin_call("K2")
    log("stdout", b"fine\n")
    lines = await logs.read("F1")
    kept = [line for line in lines if line.call_id == "K1" and line.stream == "stdout"]
    assert sum(len(line.text) + LINE_COST for line in kept) <= 10_000 + LINE_COST
    (mark,) = [line for line in lines if line.stream == "fnd"]
    assert mark.text == "output cut: this call wrote more than 10000 bytes"
    assert mark.call_id == "K1"
    assert lines[-1].text == "fine"
    statistics = logs.statistics()
    assert statistics.cut > 80_000
    assert statistics.lost == 0


async def test_output_between_calls_is_bounded_too(logs: FunctionLogs, clock: Clock) -> None:
    log = logs.open("C1", "A1", "F1")
    log.begin_call("K1")
    log.end_call()
    clock.now += 10
    for _ in range(100):
        log("stdout", b"x" * 999 + b"\n")
    lines = await logs.read("F1")
    assert lines[-1].text == "output cut: the container between calls wrote more than 10000 bytes"
    assert len(lines) < 12


@pytest.mark.parametrize("data", [b"\n" * 20_000, b"x" * 20_000, b"x\n" * 10_000])
async def test_what_is_kept_of_a_call_counts_lines_by_what_they_cost(logs: FunctionLogs, data: bytes) -> None:
    log = logs.open("C1", "A1", "F1")
    log.begin_call("K1")
    log("stdout", data)
    kept = [line for line in await logs.read("F1", lines=MAX_LINES) if line.stream == "stdout"]
    cost = sum(len(line.text) + 1 + LINE_COST for line in kept)
    assert 9_000 < cost <= 10_000 + LINE_COST + 1


async def test_bytes_that_are_no_text_are_kept_as_far_as_they_are(logs: FunctionLogs) -> None:
    logs.open("C1", "A1", "F1")("stdout", b"a\xff\x00\x1b[2J\n")
    assert texts(await logs.read("F1")) == ["a\ufffd\x00\x1b[2J"]


async def test_a_line_without_an_end_is_a_line_when_the_container_is_gone(logs: FunctionLogs) -> None:
    with logs.open("C1", "A1", "F1") as log:
        log("stderr", b"Segmentation fault")
        assert await logs.read("F1") == []
    assert texts(await logs.read("F1")) == ["Segmentation fault"]


async def test_a_line_without_an_end_is_a_line_after_a_while(
    logs: FunctionLogs, autojump_clock: trio.testing.MockClock
) -> None:
    async with logs.subscribe("F1") as stream:
        log = logs.open("C1", "A1", "F1")
        log("stdout", b"Password: ")
        assert (await stream.__anext__()).text == "Password: "


async def test_everything_taken_is_written_when_the_logs_end(directory: Path) -> None:
    logs = FunctionLogs(directory)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(logs.run)
        await trio.testing.wait_all_tasks_blocked()
        log = logs.open("C1", "A1", "F1")
        log("stdout", b"one\ntwo")
        nursery.cancel_scope.cancel()
    log("stdout", b"after the end")
    assert texts(await logs.read("F1")) == ["one", "two"]
    assert logs.statistics().pending == 0


async def test_a_flood_costs_bounded_memory_and_a_mark_and_no_other_function_suffers(directory: Path) -> None:
    logs = FunctionLogs(directory, per_call_limit=1 << 40)
    hostile = logs.open("C1", "A1", "hostile")
    good = logs.open("C2", "A1", "good")
    data = b"x" * 65535 + b"\n"
    tracemalloc.start()
    for _ in range(1000):  # nothing writes it meanwhile: as with a disk that hangs
        hostile("stdout", bytes(bytearray(data)))
    good("stdout", b"fine\n")
    assert tracemalloc.get_traced_memory()[0] < FN_PENDING_LIMIT + MIB
    tracemalloc.stop()
    assert logs.statistics().pending < FN_PENDING_LIMIT + MIB
    async with trio.open_nursery() as nursery:
        nursery.start_soon(logs.run)
        await trio.testing.wait_all_tasks_blocked()
        await logs.flush()
        hostile("stdout", b"after\n")
        assert texts(await logs.read("good")) == ["fine"]
        lost = logs.statistics().lost
        assert lost > 60_000_000
        mark, after = (await logs.read("hostile"))[-2:]
        assert (mark.stream, mark.text) == ("fnd", f"{lost} bytes of output lost: too much at once")
        assert after.text == "after"
        nursery.cancel_scope.cancel()


def test_many_functions_together_are_bounded(directory: Path) -> None:
    logs = FunctionLogs(directory, per_call_limit=1 << 40)
    for number in range(100):
        logs.open("C1", "A1", f"F{number}")("stdout", b"x" * MIB)
    assert logs.statistics().pending <= PENDING_LIMIT


async def test_a_full_disk_fails_nothing_and_is_marked_once_it_is_well_again(
    logs: FunctionLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logs.open("C1", "A1", "F1")
    log("stdout", b"one\n")
    await logs.flush()

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with logs.subscribe("F1") as stream:
        with monkeypatch.context() as context:
            context.setattr(os, "write", full)
            for text in (b"two\n", b"three\n"):
                log("stdout", text)
                await logs.flush()
            statistics = logs.statistics()
            assert "No space left" in statistics.error
            assert statistics.lost == len("twothree")
        log("stdout", b"four\n")
        lines = await logs.read("F1")
        assert texts(lines) == ["one", "8 bytes of output lost: the disk failed", "four"]
        assert logs.statistics().error == ""
        assert [(await stream.__anext__()).text for _ in range(3)] == ["two", "three", "four"]


async def test_a_directory_that_cannot_be_made_fails_nothing(tmp_path: Path, nursery: trio.Nursery) -> None:
    (tmp_path / "file").touch()
    logs = FunctionLogs(tmp_path / "file" / "logs")
    nursery.start_soon(logs.run)
    await trio.testing.wait_all_tasks_blocked()
    logs.open("C1", "A1", "F1")("stdout", b"x\n")
    assert await logs.read("F1") == []
    assert logs.statistics().error


async def test_listeners_get_what_they_asked_for(logs: FunctionLogs) -> None:
    async with (
        logs.subscribe() as everything,
        logs.subscribe("F1") as one_fn,
        logs.subscribe(app_id="A2") as one_app,
        logs.subscribe("F1", call_id="K2") as one_call,
    ):
        first, second = logs.open("C1", "A1", "F1"), logs.open("C2", "A2", "F2")
        first.begin_call("K1")
        first("stdout", b"a\n")
        second("stdout", b"b\n")
        first.begin_call("K2")
        first("stdout", b"c\n")
        await logs.flush()
        assert {(await everything.__anext__()).text for _ in range(3)} == {"a", "b", "c"}
        assert [(await one_fn.__anext__()).text for _ in range(2)] == ["a", "c"]
        assert (await one_app.__anext__()).text == "b"
        assert (await one_call.__anext__()).text == "c"


async def test_between_history_and_what_follows_nothing_is_missing_or_doubled(logs: FunctionLogs) -> None:
    logs.set_limits(MIB, 16 * MIB, 64 * MIB)
    log = logs.open("C1", "A1", "F1")
    log.begin_call("K1")
    for number in range(50):
        log("stdout", b"%d\n" % number)
    async with logs.subscribe("F1", lines=20) as stream:
        for number in range(50, 80):
            log("stdout", b"%d\n" % number)
        received = [(await stream.__anext__()).text for _ in range(50)]
    assert received == [str(number) for number in range(30, 80)]


async def test_a_slow_listener_loses_lines_and_is_told_how_many(logs: FunctionLogs) -> None:
    logs.set_limits(10 * MIB, 16 * MIB, 64 * MIB)
    log = logs.open("C1", "A1", "F1")
    async with logs.subscribe("F1") as stream:
        count = 2 * SUBSCRIPTION_CAPACITY // 10_000
        for _ in range(count):
            log("stdout", b"x" * 9_999 + b"\n")
            await logs.flush()
        received = 0
        line = await stream.__anext__()
        while line.stream != "fnd":
            received += 1
            line = await stream.__anext__()
        assert received < count
        assert line.text.startswith(f"{count - received} lines not shown")


async def test_listeners_streams_end_with_the_logs(directory: Path) -> None:
    logs = FunctionLogs(directory)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(logs.run)
        await trio.testing.wait_all_tasks_blocked()
        async with logs.subscribe() as stream:
            logs.open("C1", "A1", "F1")("stdout", b"last words")
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                assert [line.text async for line in stream] == ["last words"]
    async with logs.subscribe() as stream:
        assert [line async for line in stream] == []


async def test_streams_can_be_ended_while_functions_write_on(logs: FunctionLogs) -> None:
    async with logs.subscribe() as stream:
        logs.open("C1", "A1", "F1")("stdout", b"told\n")
        await logs.flush()
        logs.end_streams()
        assert [line.text async for line in stream] == ["told"]
    logs.open("C2", "A1", "F1")("stdout", b"kept\n")
    assert [line.text for line in await logs.read("F1")] == ["told", "kept"]


async def test_streams_can_be_ended_while_the_logs_go_on(logs: FunctionLogs) -> None:
    log = logs.open("C1", "A1", "F1")
    async with logs.subscribe("F1") as stream:
        log("stdout", b"told\n")
        await logs.flush()
        logs.end_streams()
        log("stdout", b"written\n")
        assert [line.text async for line in stream] == ["told"]
    assert texts(await logs.read("F1")) == ["told", "written"]


async def test_a_forgotten_fn_leaves_nothing_though_its_container_writes_on(
    logs: FunctionLogs, directory: Path
) -> None:
    log = logs.open("C1", "A1", "F1")
    log("stdout", b"one\n")
    logs.forget("F1")
    log("stdout", b"two\n")
    other = logs.open("C2", "A1", "F2")
    other("stdout", b"other\n")
    assert texts(await logs.read("F2")) == ["other"]
    assert [path.name for path in directory.iterdir()] == ["F2"]


async def test_new_limits_hold_from_the_next_call_on(logs: FunctionLogs) -> None:
    log = logs.open("C1", "A1", "F1")
    logs.set_limits(2_000, 16 * MIB, 64 * MIB)
    log.begin_call("K1")
    log("stdout", b"x" * 5_000)
    lines = await logs.read("F1")
    assert [len(line.text) for line in lines if line.stream == "stdout"] == [2_000]


async def test_reading_waits_for_nobody_when_the_logs_do_not_run(directory: Path) -> None:
    logs = FunctionLogs(directory)
    logs.open("C1", "A1", "F1")("stdout", b"x\n")
    assert await logs.read("F1") == []
