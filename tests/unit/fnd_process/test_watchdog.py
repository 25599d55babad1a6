"""The watchdog: whom it looks at, how often, and what it does."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from fnd_process import watchdog
from fnd_process.processes import Census
from fnd_process.watchdog import LONGEST, SHORTEST, SOCKET_FILES, Watchdog, Watched

MIB = 1 << 20


class StubTree:
    """The processes of a container, which use what a test says."""

    def __init__(self) -> None:
        self.killed = 0

    def members(self, census: Census | None = None) -> list[int]:
        return []

    def scratch(self) -> Sequence[Path]:
        return ()

    def terminate(self) -> bool:
        return True

    def pause(self, deadline: float) -> None:
        pass

    def resume(self) -> None:
        pass

    def kill(self, deadline: float) -> bool:
        self.killed += 1
        return True


@pytest.fixture
def uses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is used at each look; the last goes on."""
    amounts = [0]
    monkeypatch.setattr(watchdog, "memory_of", lambda *_: amounts.pop(0) if len(amounts) > 1 else amounts[0])
    return amounts


class Case:
    def __init__(self, directory: Path, memory: int | None = 100 * MIB, **fields: Any) -> None:
        self.tree = StubTree()
        self.reasons: list[str] = []
        defaults = {"sockets": directory, "temporary": None, "temporary_size": MIB}
        self.watched = Watched(tree=self.tree, memory=memory, report=self.reasons.append, **{**defaults, **fields})


def test_one_over_its_limit_is_killed_once_and_that_is_told(tmp_path: Path, uses: list[int]) -> None:
    case = Case(tmp_path)
    uses[:] = [100 * MIB, 101 * MIB]
    case.watched.look(Census())
    assert case.tree.killed == 0
    case.watched.look(Census())
    case.watched.look(Census())
    assert case.tree.killed == 1
    assert case.reasons == ["memory limit of 100 MiB exceeded: 101 MiB were in use"]


def test_the_nearer_the_limit_and_the_faster_it_grows_the_sooner_it_is_looked_at_again(
    tmp_path: Path, uses: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    case = Case(tmp_path)
    pauses = []
    for used in (10, 10, 30, 60, 90, 90):
        now[0] += 0.1
        uses[:] = [used * MIB]
        pauses.append(case.watched.look(Census()))
    assert pauses[1:] == [
        LONGEST,
        pytest.approx(70 / 200 / 2),  # 70 MiB are left, and it takes 200 MiB/s: half of that time
        pytest.approx(40 / 300 / 2),
        pytest.approx(10 / 300 / 2),
        LONGEST,
    ]


def test_slow_growth_does_not_put_the_next_look_off(tmp_path: Path, uses: list[int]) -> None:
    case = Case(tmp_path)
    uses[:] = [4096, 8192]
    case.watched.look(Census())
    assert case.watched.look(Census()) <= LONGEST


def test_one_that_is_paused_or_finished_with_is_not_looked_at(tmp_path: Path, uses: list[int]) -> None:
    case = Case(tmp_path)
    uses[:] = [200 * MIB]
    case.watched.paused = True
    case.watched.look(Census())
    assert case.tree.killed == 0
    case.watched.paused = False
    case.watched.finish()
    case.watched.look(Census())
    assert case.tree.killed == 0


def test_memory_that_the_kernel_counts_is_not_looked_at(tmp_path: Path, uses: list[int]) -> None:
    case = Case(tmp_path, memory=None)
    uses[:] = [200 * MIB]
    case.watched.look(Census())
    assert case.tree.killed == 0


def test_the_directory_for_sockets_is_for_sockets(tmp_path: Path, uses: list[int]) -> None:
    case = Case(tmp_path)
    for number in range(SOCKET_FILES):
        (tmp_path / str(number)).touch()
    case.watched.look(Census())
    assert case.tree.killed == 0
    (tmp_path / "one more").touch()
    case.watched.look(Census())
    assert case.tree.killed == 1
    assert case.reasons == ["more than 64 files or 1 MiB in the directory for its socket"]


def test_a_temporary_directory_on_the_disk_has_its_size(tmp_path: Path, uses: list[int]) -> None:
    (tmp_path / "sockets").mkdir()
    (tmp_path / "temporary").mkdir()
    case = Case(tmp_path / "sockets", temporary=tmp_path / "temporary", temporary_size=2 * MIB)
    (tmp_path / "temporary" / "file").write_bytes(os.urandom(MIB))
    case.watched.look(Census())
    assert case.tree.killed == 0
    (tmp_path / "temporary" / "more").write_bytes(os.urandom(2 * MIB))
    case.watched.look(Census())
    assert case.reasons == ["more than 20000 files or 2 MiB in its temporary directory"]


class Looks:
    """A container that only notes the times of the looks at it."""

    def __init__(self, pause: float) -> None:
        self.at: list[float] = []
        self._pause = pause

    def look(self) -> float:
        self.at.append(trio.current_time())
        return self._pause


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run at once what would be run in a thread, for which a clock that jumps does not wait."""

    async def run_sync(function: Any, *arguments: Any, **_: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


async def test_it_looks_soon_then_as_often_as_it_is_told_and_not_without_containers(
    autojump_clock: trio.testing.MockClock, no_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "_look_at", lambda containers: (min(each.look() for each in containers), 0.0))
    dog = Watchdog(trio.CapacityLimiter(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dog.run)
        await trio.sleep(100)
        start = trio.current_time()
        one = Looks(0.3)
        dog.add(one)  # type: ignore[arg-type]
        await trio.sleep(1)
        assert [round(at - start, 6) for at in one.at] == [0.02, 0.32, 0.62, 0.92]
        other = Looks(math.inf)
        dog.add(other)  # type: ignore[arg-type]
        await trio.sleep(0.1)
        assert other.at == [start + 1 + SHORTEST]  # a newcomer is looked at soon
        for each in (one, other):
            dog.discard(each)  # type: ignore[arg-type]
        looked = len(one.at)
        await trio.sleep(100)
        assert len(one.at) == looked
        nursery.cancel_scope.cancel()


async def test_looking_takes_no_more_than_its_share(
    autojump_clock: trio.testing.MockClock, no_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "_look_at", lambda containers: (containers[0].look(), 0.2))
    dog = Watchdog(trio.CapacityLimiter(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dog.run)
        one = Looks(0.01)
        dog.add(one)  # type: ignore[arg-type]
        await trio.sleep(5)
        assert [round(at, 6) for at in one.at] == [0.02, 2.02, 4.02]
        nursery.cancel_scope.cancel()


async def test_a_container_that_cannot_be_looked_at_keeps_no_other_from_it(
    tmp_path: Path, uses: list[int], autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(census: Census | None = None) -> list[int]:
        raise OSError(24, "Too many open files")

    blind, other = Case(tmp_path), Case(tmp_path)
    monkeypatch.setattr(blind.tree, "members", look)
    uses[:] = [200 * MIB]
    dog = Watchdog(trio.CapacityLimiter(1))
    dog.add(blind.watched)
    dog.add(other.watched)
    with trio.move_on_after(2):
        await dog.run()
    assert blind.tree.killed == 0
    assert other.tree.killed == 1
