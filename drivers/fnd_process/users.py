"""User ids for containers, one each, when the daemon is root: none can touch another's processes or files."""

from __future__ import annotations

import secrets
from typing import Final

from fnd_process.processes import all_pids, user_of

# systemd's UIDS-GIDS.md leaves these to nobody.
_FIRST: Final = 1_879_048_192
_BLOCKS: Final = 8192
BLOCK_SIZE: Final = 16_384


class Users:
    """A block of user ids that no process of this host has, given out one by one."""

    def __init__(self, first: int) -> None:
        self.first: Final = first
        self._next = first
        self._free: list[int] = []

    @classmethod
    def find(cls) -> Users:
        """Pick a block at random, so that another daemon, or what a killed one left, has another."""
        taken = {(user - _FIRST) // BLOCK_SIZE for pid in all_pids() if (user := user_of(pid)) is not None}
        while (block := secrets.randbelow(_BLOCKS)) in taken:
            pass
        return cls(_FIRST + block * BLOCK_SIZE)

    def take(self) -> int | None:
        """Return a user id that no container has, or None if all are taken."""
        if self._free:
            return self._free.pop()
        if self._next == self.first + BLOCK_SIZE:
            return None
        self._next += 1
        return self._next - 1

    def give_back(self, user: int) -> None:
        """Take back the id of a container of which nothing is left."""
        self._free.append(user)


def is_container_user(user: int) -> bool:
    """Whether an id is one that some daemon's containers may have."""
    return _FIRST <= user < _FIRST + _BLOCKS * BLOCK_SIZE
