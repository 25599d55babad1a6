"""One resource of the machine: reserved before a launch, returned exactly once when all of the container is gone."""

from __future__ import annotations


class Resource:
    """The books of one: memory in MiB, or processors in thousandths of a core."""

    __slots__ = ("leaving", "limit", "promised", "reserved", "stopping")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reserved = 0
        """By launches and containers, those being stopped included."""
        self.stopping = 0
        """Of that, what containers being stopped will return."""
        self.leaving = 0
        """Of that, what containers will return that are given no other call, once those that they have are over."""
        self.promised = 0
        """What pools will launch with as soon as it is returned; never more than is free or being returned."""

    @property
    def free(self) -> int:
        """What may be reserved now."""
        return self.limit - self.reserved

    def shortfall(self, amount: int) -> int:
        """How much must still be made to stop before `amount` can be reserved or promised; 0 or less: nothing."""
        return amount - (self.limit - self.reserved + self.stopping - self.promised)
