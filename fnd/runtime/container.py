"""One container's task: start → ready → [idle (→ paused) → serve]* → stop, held open by `async with` to the end.

Calls do not run here: a call leases the container and speaks with its session in its own task. This task holds what
the call uses, and waits for whichever comes first: the container's own exit, its idle deadline, or being stopped.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, Protocol

import trio

from fnd import errors
from fnd.hookspecs import Container, Exit, Session

if TYPE_CHECKING:
    from fnd.dispatch import Slot
    from fnd.runtime.call import Call
    from fnd.runtime.function_logs import ContainerLog
    from fnd.runtime.pool import FunctionPool

_LAST_ANSWER_SECONDS: Final = 1.0
"""How long a call may go on reading an answer after its container's main process has ended."""
_LOOK_SECONDS: Final = 5.0
"""How late a container may be that should leave earlier than its idle time-out, since it was used again."""
_PAUSE_SECONDS: Final = 10.0
"""How long a driver may take to pause a container before that counts as the container's failure."""


class Keeper(Protocol):
    """The agent, as a container sees it: told of what happens, asked what to do."""

    def container_ready(self, container: ContainerTask) -> None: ...
    def container_exited(self, container: ContainerTask) -> None: ...
    def idle_since(self, container: ContainerTask) -> float: ...
    def idle_deadline(self, container: ContainerTask) -> float: ...
    def expire(self, container: ContainerTask) -> bool: ...


class ContainerTask:
    """A container from the decision to launch it to its end. `slot` is its side in the dispatcher."""

    __slots__ = (
        "_given_back",
        "_life",
        "_power",
        "_rest",
        "_session",
        "container",
        "exit",
        "failure",
        "id",
        "keeper",
        "launched_at",
        "log",
        "lost_with",
        "paused",
        "pool",
        "ready_at",
        "slot",
        "stopped_on_purpose",
    )

    def __init__(
        self, keeper: Keeper, pool: FunctionPool, slot: Slot, container_id: str, log: ContainerLog, launched_at: float
    ) -> None:
        self.keeper = keeper
        self.pool = pool
        self.slot = slot
        self.id = container_id
        self.log = log
        self.launched_at = launched_at
        self.ready_at = inf
        self.container: Container | None = None
        self.exit: Exit | None = None
        """How its main process ended, once it has."""
        self.failure: errors.FunctionError | None = None
        """Why it never became ready."""
        self.lost_with: Call | None = None
        """The call because of which it is ended under others."""
        self.stopped_on_purpose = False
        self.paused = False
        """Whether it was idle for so long that it does not run: a call that takes it must `resume` it first."""
        self._power = trio.Lock()
        self._rest = trio.CancelScope()
        self._session: Session | None = None
        self._life = trio.CancelScope()
        self._given_back = trio.Event()

    @property
    def session(self) -> Session:
        """The conversation with it; there from ready on."""
        assert self._session is not None
        return self._session

    @property
    def ready(self) -> bool:
        """Whether it ever could take calls."""
        return self._session is not None

    def begin(self, call: Call) -> None:
        """A call has it from now on. What is written while several have it is none of theirs."""
        self.log.begin_call(call.id if len(self.slot.running) < 2 else "")

    def end(self, call: Call, now: float) -> bool:
        """The call gives it back. Return whether another may follow."""
        shared = len(self.slot.running) > 1
        if not shared:
            self.log.end_call()
        if self.exit is not None:
            if not shared:
                self._given_back.set()
            return False
        # A function that runs on beyond its time is ended, whoever else it serves.
        out_of_time = call.cut_short and now >= call.taken_at + self.pool.timeout
        reusable = self.session.reusable and not out_of_time
        if shared and not reusable and self.lost_with is None:
            self.lost_with = call
        return reusable

    def loss(self, error: errors.FunctionResponseLost) -> errors.FunctionError:
        """Return what to tell a call whose answer was lost with `error`."""
        if self.lost_with is None:
            return error
        timed_out = self.lost_with.cut_short
        return errors.ContainerEnded(
            f"{errors.ContainerEnded.default_message}: another call that it served "
            + ("timed out" if timed_out else "broke the protocol")
        )

    async def resume(self) -> None:
        """Let a paused container run on, once it is paused altogether.

        Raises what the driver raises against its contract; the container is then being stopped. Cancelled: it counts as
        paused.
        """
        assert self.container is not None
        async with self._power:
            try:
                await self.container.resume()
            except Exception:
                self.stop()
                raise
            self.paused = False
            self._rest.cancel()

    def stop(self) -> None:
        """End it, in whatever state it is; returns at once."""
        self.stopped_on_purpose = True
        self._life.cancel()

    async def run(self) -> None:
        """Live. Returns when everything of the container is gone; `failure` says why it never became ready.

        Raises what a driver or codec raises against its contract. Cancelled: everything of it is gone, too.
        """
        with self._life:
            try:
                await self.pool.prepare()
                spec = self.pool.spec(self.id, self.log)
                async with self.pool.driver.start(spec) as self.container, trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch_exit, self.container, nursery.cancel_scope)
                    try:
                        await self._serve(self.container)
                    except errors.FunctionError as error:
                        self.failure = error
                    nursery.cancel_scope.cancel()
            except errors.FunctionError as error:
                self.failure = error
        if self.failure is None and not self.ready and not self.stopped_on_purpose:
            self.failure = errors.ContainerFailed()

    async def _watch_exit(self, container: Container, scope: trio.CancelScope) -> None:
        self.exit = await container.wait()
        self.keeper.container_exited(self)
        if self.slot.in_hand:
            # Its answer may be on the way, complete: it is in the socket's buffer whatever became of the process.
            with trio.move_on_after(_LAST_ANSWER_SECONDS):
                await self._given_back.wait()
        scope.cancel()

    async def _serve(self, container: Container) -> None:
        with trio.move_on_after(self.pool.timeouts.start) as starting:
            async with self.pool.codec.open(container) as session:
                if starting.cancel_called:  # ready at the very moment at which it was given up
                    raise errors.ContainerStartTimedOut
                starting.deadline = inf
                self._session = session
                self.ready_at = trio.current_time()
                self.keeper.container_ready(self)
                await self._until_idle_too_long(container)
        if not self.ready and starting.cancelled_caught:
            raise errors.ContainerStartTimedOut

    async def _until_idle_too_long(self, container: Container) -> None:
        until_pause = self.pool.timeouts.pause
        # Nobody tells when it is used, nor when it becomes idle again: that would cost every call. What is to be done
        # then is done up to this much late, but for the idle time-out, which is never missed.
        until_look = min(until_pause, self.pool.version.fn.idle_timeout)
        if self.slot.pool.habits is not None:
            until_look = min(until_look, _LOOK_SECONDS)
        while True:
            deadline = self.keeper.idle_deadline(self)
            if self.paused:
                with trio.CancelScope(deadline=deadline) as self._rest:
                    await trio.sleep_forever()
            else:
                pause_at = self.keeper.idle_since(self) + until_pause
                await trio.sleep_until(min(deadline, pause_at, trio.current_time() + until_look))
            if self.keeper.expire(self):
                return
            if not self.paused and trio.current_time() >= self.keeper.idle_since(self) + until_pause:
                await self._pause(container)

    async def _pause(self, container: Container) -> None:
        self.paused = True
        with trio.fail_after(_PAUSE_SECONDS):
            async with self._power:
                await container.pause()
