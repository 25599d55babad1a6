"""A doubly linked chain whose members carry the links: O(1) at both ends and out of the middle, nothing allocated.

A pool's idle containers are one (used from its last end: a stack) and its waiting calls another (from its first: a
line). A dict would do for either until it is emptied from the front for long: it scans the holes it leaves there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar


class Member:
    """Something that can stand in one chain at a time."""

    __slots__ = ("next", "previous")

    next: Any
    previous: Any


MemberT = TypeVar("MemberT", bound=Member)


class Chain(Generic[MemberT]):
    """Members in the order they were appended."""

    __slots__ = ("first", "last", "length")

    def __init__(self) -> None:
        self.first: MemberT | None = None
        self.last: MemberT | None = None
        self.length = 0

    def __iter__(self) -> Iterator[MemberT]:
        """Give every member, first to last; the chain must not change meanwhile."""
        member = self.first
        while member is not None:
            yield member
            member = member.next

    def append(self, member: MemberT) -> None:
        """Put `member`, which stands in no chain, at the end."""
        last = self.last
        member.previous = last
        member.next = None
        if last is None:
            self.first = member
        else:
            last.next = member
        self.last = member
        self.length += 1

    def pop(self) -> MemberT | None:
        """Take out and return the last member; None if there is none."""
        last = self.last
        if last is None:
            return None
        self.last = previous = last.previous
        if previous is None:
            self.first = None
        else:
            previous.next = None
        self.length -= 1
        return last

    def remove(self, member: MemberT) -> None:
        """Take out `member`, which stands in this chain, wherever it is."""
        previous = member.previous
        following = member.next
        if previous is None:
            self.first = following
        else:
            previous.next = following
        if following is None:
            self.last = previous
        else:
            following.previous = previous
        self.length -= 1
