"""Alarms: deadlines that are cheap to move, watched by one task."""

from __future__ import annotations

from collections.abc import AsyncIterator
from math import inf

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fnd.alarms import Alarm, Alarms


class Bell(Alarm):
    """Notes when it expired."""

    def __init__(self, alarms: Alarms) -> None:
        super().__init__(alarms)
        self.rang: list[float] = []

    def expired(self) -> None:
        self.rang.append(trio.current_time())


@pytest.fixture
async def alarms() -> AsyncIterator[Alarms]:
    watched = Alarms()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.run)
        yield watched
        nursery.cancel_scope.cancel()


async def pass_time(clock: MockClock, seconds: float) -> None:
    """Let that much time pass, and everything happen that it brings."""
    await wait_all_tasks_blocked()
    clock.jump(seconds)
    await wait_all_tasks_blocked()


async def test_an_alarm_expires_at_its_deadline_and_only_once(alarms: Alarms, mock_clock: MockClock) -> None:
    bell = Bell(alarms)
    bell.set_deadline(10)
    await pass_time(mock_clock, 9.9)
    assert bell.rang == []
    await pass_time(mock_clock, 0.1)
    await pass_time(mock_clock, 100)
    assert bell.rang == [10]
    assert bell.deadline == inf


async def test_a_deadline_that_moved_later_is_kept(alarms: Alarms, mock_clock: MockClock) -> None:
    bell = Bell(alarms)
    bell.set_deadline(10)
    bell.set_deadline(30)
    await pass_time(mock_clock, 29)
    assert bell.rang == []
    await pass_time(mock_clock, 1)
    assert bell.rang == [30]


async def test_a_deadline_that_moved_earlier_wakes_the_watcher(alarms: Alarms, mock_clock: MockClock) -> None:
    bell = Bell(alarms)
    bell.set_deadline(30)
    await wait_all_tasks_blocked()
    bell.set_deadline(10)
    await pass_time(mock_clock, 10)
    assert bell.rang == [10]
    await pass_time(mock_clock, 100)
    assert bell.rang == [10]


async def test_a_disarmed_alarm_never_expires_and_can_be_set_again(alarms: Alarms, mock_clock: MockClock) -> None:
    bell = Bell(alarms)
    bell.set_deadline(10)
    bell.disarm()
    await pass_time(mock_clock, 20)
    assert bell.rang == []
    bell.set_deadline(25)
    await pass_time(mock_clock, 5)
    assert bell.rang == [25]


async def test_an_alarm_disarmed_and_set_to_the_same_time_expires_once(alarms: Alarms, mock_clock: MockClock) -> None:
    bell = Bell(alarms)
    bell.set_deadline(10)
    bell.disarm()
    bell.set_deadline(10)
    await pass_time(mock_clock, 10)
    assert bell.rang == [10]


async def test_a_deadline_in_the_past_expires_at_once(alarms: Alarms, mock_clock: MockClock) -> None:
    await pass_time(mock_clock, 50)
    bell = Bell(alarms)
    bell.set_deadline(10)
    await wait_all_tasks_blocked()
    assert bell.rang == [50]


async def test_alarms_expire_in_the_order_of_their_deadlines(alarms: Alarms, mock_clock: MockClock) -> None:
    order: list[int] = []

    class Ordered(Bell):
        def expired(self) -> None:
            order.append(numbers[self])

    numbers = {Ordered(alarms): number for number in (3, 1, 2)}
    for bell, number in numbers.items():
        bell.set_deadline(number)
    await pass_time(mock_clock, 5)
    assert order == [1, 2, 3]


async def test_an_alarm_can_set_itself_again_when_it_expires(alarms: Alarms, mock_clock: MockClock) -> None:
    class Ticking(Bell):
        def expired(self) -> None:
            super().expired()
            self.set_deadline(self.rang[-1] + 10)

    bell = Ticking(alarms)
    bell.set_deadline(10)
    for _ in range(3):
        await pass_time(mock_clock, 10)
    assert bell.rang == [10, 20, 30]


async def test_an_alarm_can_disarm_another_that_is_due_with_it(alarms: Alarms, mock_clock: MockClock) -> None:
    class Selfish(Bell):
        def expired(self) -> None:
            super().expired()
            other.disarm()

    selfish, other = Selfish(alarms), Bell(alarms)
    selfish.set_deadline(10)
    other.set_deadline(10)
    await pass_time(mock_clock, 10)
    assert selfish.rang == [10]
    assert other.rang == []


async def test_moving_a_deadline_later_costs_no_entry(alarms: Alarms) -> None:
    bell = Bell(alarms)
    for deadline in range(10, 10_000):
        bell.set_deadline(deadline)
    assert len(alarms) == 1


async def test_moving_a_deadline_back_and_forth_leaves_one_entry_in_the_end(
    alarms: Alarms, mock_clock: MockClock
) -> None:
    bell = Bell(alarms)
    bell.set_deadline(30)
    bell.set_deadline(10)
    bell.set_deadline(100)
    await pass_time(mock_clock, 10)
    await pass_time(mock_clock, 20)
    assert len(alarms) == 1
    await pass_time(mock_clock, 70)
    assert bell.rang == [100]
    assert len(alarms) == 0


async def test_alarms_that_come_and_go_leave_nothing_that_grows(alarms: Alarms) -> None:
    staying = [Bell(alarms) for _ in range(10)]
    for bell in staying:
        bell.set_deadline(1000)
    for _ in range(10_000):
        passing = Bell(alarms)
        passing.set_deadline(500)
        passing.disarm()
    assert len(alarms) < 200
