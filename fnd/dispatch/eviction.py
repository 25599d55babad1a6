"""Which idle container to give up when another pool's calls need its memory: the one least worth keeping.

What keeping an idle container saves is its start, as often as it is needed; what it costs is what it has reserved, the
greater part of memory and processors counting. So

    worth = clock + mean start × (calls served ÷ seconds lived) ÷ share of the machine

"seconds of starting saved per second, per machine" above a clock, which is the worth of the last container evicted.
This is GreedyDual-Size with Frequency (Cherkasova 1998; for functions: Fuerst and Sharma, FaasCache, 2021), with a rate
in the place of its count, so that a long gone rush does not weigh. The clock makes what has not been used age by
exactly as much as the machine is pressed, and it keeps the order of two containers fixed while neither is used: a heap
will do, where policies that divide by the age (hyperbolic caching) must sample. Within a pool, the longest idle goes
first: under light load the last-in-first-out stack never reaches it. Containers within a pool's `min_warm` go last of
all.
"""

from __future__ import annotations

from fnd.dispatch.agenda import Agenda
from fnd.dispatch.pool import Pool
from fnd.dispatch.slot import Slot


class Evictions:
    """Pools with idle containers, by what their longest idle one is worth; those that reserve processors also apart.

    A pool is offered once and looked at again only when it comes up, its worth then computed anew: nothing is done
    when containers are used or come back. O(log n) amortised.
    """

    __slots__ = ("_offers", "_with_cpu", "clock")

    def __init__(self) -> None:
        self._offers: Agenda[Pool] = Agenda()
        self._with_cpu: Agenda[Pool] = Agenda()
        self.clock = 0.0

    def offer(self, pool: Pool, now: float) -> None:
        """Let the pool, which has an idle container, stand for eviction."""
        assert pool.idle.first is not None
        pool.offered = True
        standing = _standing(pool, pool.idle.first, now)
        self._offers.put(pool, standing)
        if pool.cpu:
            self._with_cpu.put(pool, standing)

    def withdraw(self, pool: Pool) -> None:
        """Take the pool out."""
        pool.offered = False
        self._offers.discard(pool)
        self._with_cpu.discard(pool)

    def least(self, now: float, *, with_cpu: bool = False) -> Slot | None:
        """Return the idle container least worth keeping, or None if there is none; it stays idle.

        `with_cpu`: of those that reserve processors.
        """
        offers = self._with_cpu if with_cpu else self._offers
        while (first := offers.first()) is not None:
            standing, pool = first
            slot = pool.idle.first
            if slot is None:
                self.withdraw(pool)
                continue
            current = _standing(pool, slot, now)
            if current <= standing:
                return slot
            offers.put(pool, current)
        return None

    def evict(self, slot: Slot, now: float) -> None:
        """Take the slot, as `least` returned it, off its pool's stack."""
        pool = slot.pool
        self.clock = max(self.clock, _standing(pool, slot, now)[1])
        pool.idle.remove(slot)
        pool.evicted_use = slot.since


def _standing(pool: Pool, slot: Slot, now: float) -> tuple[bool, float]:
    start = pool.meter.mean_start
    lived = max(now - slot.launched_at, start, 1e-6)
    worth = slot.inflation + start * max(slot.calls, 1) / lived / pool.share
    return pool.ready <= pool.settings.min_warm, worth
