"""The one thread from which all processes are started.

A process whose parent-death signal is set dies with the *thread* that started it, so that thread must live as long as
the daemon; and a start blocks until the new process has executed its program, which the trio thread has no time for.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, TypeVar

import trio

T = TypeVar("T")


class Spawner:
    """Runs functions, one after another, in a thread that lives from entry to exit of its `with`."""

    def __init__(self) -> None:
        self._executor: Final = ThreadPoolExecutor(1, "fnd-process-spawner")

    def __enter__(self) -> Spawner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=False)

    async def run(self, function: Callable[[], T]) -> T:
        """Return (or raise) what `function` does.

        Cancelled before its turn, it never runs. Once it runs, it is waited for and its result returned, whatever is
        cancelled: a started process must not be lost.
        """
        future = self._executor.submit(function)
        done = trio.Event()
        token = trio.lowlevel.current_trio_token()
        future.add_done_callback(lambda _: token.run_sync_soon(done.set))
        try:
            await done.wait()
        except trio.Cancelled:
            if future.cancel():
                raise
            with trio.CancelScope(shield=True):
                await done.wait()
        return future.result()
