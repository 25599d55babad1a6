"""One dispatcher on a machine of 1,000 MiB, and what the tests do to it again and again."""

from __future__ import annotations

import itertools

import pytest

from fnd.dispatch import Action, Assign, Dispatch, Launch, Limits, Pool, PoolSettings, Slot
from fnd.simulation.virtual_shell import Behaviour, VirtualFunction, VirtualShell


class Bench:
    """A dispatcher and what it asked for; `now` is changed by the tests alone."""

    def __init__(self, limits: Limits) -> None:
        self.dispatch = Dispatch(limits)
        self.now = 0.0
        self._names = itertools.count()

    def pool(self, memory: int = 100, **settings: object) -> Pool:
        values = {"memory": memory, "idle_timeout": 10.0} | settings
        return self.dispatch.pool(f"fn {next(self._names)}", PoolSettings(**values))  # type: ignore[arg-type]

    def actions(self) -> list[Action]:
        """Return what is asked for since the last time."""
        done = list(self.dispatch.actions)
        self.dispatch.actions.clear()
        return done

    def launches(self) -> list[Slot]:
        return [action.slot for action in self.actions() if isinstance(action, Launch)]

    def assigned(self) -> list[object]:
        return [action.call for action in self.actions() if isinstance(action, Assign)]

    def busy(self, pool: Pool, call: object, start: float = 0.1) -> Slot:
        """Return a container of the pool that was launched, `start` seconds long, for the call and runs it."""
        assert self.dispatch.arrive(pool, call, self.now) is None
        (slot,) = self.launches()
        self.now += start
        self.dispatch.ready(slot, self.now)
        assert self.assigned() == [call]
        return slot

    def idle(self, pool: Pool, number: int = 1) -> list[Slot]:
        """Return so many containers of the pool, all idle, the last one given back last."""
        slots: list[Slot] = []
        for call in range(number):
            assert self.dispatch.arrive(pool, f"warm {call}", self.now) is None
            if not self.dispatch.actions:
                self.now += 10.0  # until the calls before have run for so long that another container is due
                self.dispatch.tick(self.now)
            (slot,) = self.launches()
            self.now += 0.1
            self.dispatch.ready(slot, self.now)
            assert self.assigned() == [f"warm {call}"]
            slots.append(slot)
        for slot in slots:
            self.dispatch.finished(slot, True, self.now)
        assert self.actions() == []
        return slots

    def another(self, first: Slot) -> Slot:
        """Return one more container of a pool whose only one is idle; then both are, this one given back last."""
        assert self.dispatch.arrive(first.pool, "one", self.now) is first
        assert self.dispatch.arrive(first.pool, "two", self.now) is None
        self.now += 10.0  # until the first has run for so long that another is due
        self.dispatch.tick(self.now)
        (second,) = self.launches()
        self.dispatch.ready(second, self.now)
        assert self.assigned() == ["two"]
        self.dispatch.finished(first, True, self.now)
        self.dispatch.finished(second, True, self.now)
        return second


def add_function(
    shell: VirtualShell, name: str, behaviour: Behaviour | None = None, **settings: object
) -> VirtualFunction:
    """Add a function of 128 MiB whose containers may be idle for 30 s, unless told otherwise."""
    values: dict[str, object] = {"memory": 128, "idle_timeout": 30.0} | settings
    return shell.function(name, behaviour or Behaviour(), PoolSettings(**values))  # type: ignore[arg-type]


@pytest.fixture
def bench() -> Bench:
    return Bench(Limits(memory=1000))
