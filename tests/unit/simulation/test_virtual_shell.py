"""The shell under virtual time: what it holds is small, whatever comes."""

from __future__ import annotations

from collections.abc import Iterator

from fnd.dispatch import Limits, PoolSettings
from fnd.simulation.virtual_shell import Arrival, Behaviour, VirtualFunction, VirtualShell


def shell_with_a_function() -> tuple[VirtualShell, VirtualFunction]:
    shell = VirtualShell(Limits(memory=1000))
    return shell, shell.function("fn", Behaviour(), PoolSettings(memory=100, idle_timeout=10.0))


def test_arrivals_are_asked_for_one_ahead() -> None:
    shell, function = shell_with_a_function()
    asked: list[int] = []

    def endless() -> Iterator[Arrival]:
        for second in range(10**9):
            asked.append(second)
            yield float(second), function, 0.5

    shell.feed(endless())
    shell.advance(3.0)
    assert asked == [0, 1, 2, 3, 4]
    assert function.tally.arrived == 4


def test_a_call_that_finds_no_idle_container_waits_for_the_first() -> None:
    shell, function = shell_with_a_function()
    call = shell.call(function)
    assert (call.waiting, shell.waiting.value, shell.outstanding) == (True, 1, 1)
    shell.advance(1.0)
    assert (call.waited, call.answered) == (0.1, 0.101)
    assert (shell.waiting.value, shell.outstanding, shell.containers.value) == (0, 0, 1)


def test_the_last_container_to_come_in_is_the_first_to_go_out_so_the_others_expire() -> None:
    shell, function = shell_with_a_function()
    for _ in range(5):
        shell.call(function, run=1.0)
    shell.advance(5.0)
    most = function.pool.live
    assert most > 1
    for second in range(5, 30):
        shell.at(float(second), lambda _: shell.call(function, run=0.1))
    shell.advance(20.0)
    assert (function.pool.live, function.tally.expired) == (1, most - 1)


def test_an_idle_deadline_moves_with_each_use() -> None:
    shell, function = shell_with_a_function()
    for second in (0, 9, 18):
        shell.at(float(second), lambda _: shell.call(function))
    shell.advance(28.0)
    assert (function.pool.live, function.tally.launches) == (1, 1)
    shell.advance(28.1)
    assert (function.pool.live, function.tally.expired) == (0, 1)
