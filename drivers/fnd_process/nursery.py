"""A nursery around someone else's code, whose exceptions must come out as they went in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def surrounding_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery that does not wrap what its body raises in a group; what its tasks raise, it does.

    The body ends the tasks before it ends itself, or they are waited for.
    """
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except BaseException as error:  # cancellation included: it goes on below
            failure = error
    if failure is not None:
        raise failure
