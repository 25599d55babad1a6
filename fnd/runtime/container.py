"""One container's task: start → ready → [idle (→ paused) → serve]* → stop, held open by `async with` to the end.

Calls do not run here: a call leases the container and speaks with its session in its own task. This task holds what
the call uses, and waits for whichever comes first: the container's own exit, its idle deadline, or being stopped.

A container that its one call alone is for (PerCallCodec) is ready before it starts: ready → start → serve → stop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

import trio

from fnd import errors
from fnd.hookspecs import CallRequest, CallResponse, Container, Exit, Session

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
    def launches_wait(self) -> bool: ...


class _CallToCome:
    """The session of a container that starts for its call: the call brings itself, and is given the real one."""

    def __init__(self) -> None:
        self.came = trio.Event()
        self.request: CallRequest | None = None
        self._opened = trio.Event()
        self._session: Session | None = None
        self._error: errors.APIError | None = None

    @property
    def reusable(self) -> bool:
        """Its one call is its last."""
        return False

    @property
    def opened(self) -> bool:
        """Whether the call has the real one."""
        return self._session is not None

    async def exchange(self, request: CallRequest) -> CallResponse:
        """Have the container started, and the exchange with it. Raises FunctionError."""
        self.request = request
        self.came.set()
        await self._opened.wait()
        if self._session is None:
            assert self._error is not None
            error, self._error = self._error, None
            raise error
        return await self._session.exchange(request)

    def open(self, session: Session) -> None:
        """The container runs, and is ready."""
        self._session = session
        self._opened.set()

    def fail(self, error: errors.APIError) -> None:
        """It does not, unless it did; `error` is the call's."""
        if not self._opened.is_set():
            self._error = error
            self._opened.set()


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
        """Why it never became ready, or, if it was, cannot be spoken with any more."""
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

    @property
    def stands_still(self) -> bool:
        """Whether it is paused altogether; `paused` is so from the first step of pausing to the last of resuming."""
        return self.paused and not self._power.locked()

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
                if self.pool.per_call:
                    await self._serve_one()
                else:
                    await self._run_started(None, self._serve)
            except errors.FunctionError as error:
                self.failure = error
        if self.failure is None and not self.ready and not self.stopped_on_purpose:
            self.failure = errors.ContainerFailed()

    async def _run_started(self, request: CallRequest | None, serve: Callable[[Container], Awaitable[None]]) -> None:
        """Start it, and hold it until it has exited or `serve` returns. Raises FunctionError."""
        failure: errors.FunctionError | None = None
        spec = self.pool.spec(self.id, self.log, request)
        async with self.pool.driver.start(spec) as self.container, trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_exit, self.container, nursery.cancel_scope)
            try:
                await serve(self.container)
            except errors.FunctionError as error:
                failure = error
                if self.ready:  # what can no longer be spoken with gets no call any more
                    self.keeper.container_exited(self)
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _watch_exit(self, container: Container, scope: trio.CancelScope) -> None:
        self.exit = await container.wait()
        self.keeper.container_exited(self)
        if self.slot.in_hand:
            # Its answer may be on the way, complete: it is in the socket's buffer whatever became of the process.
            with trio.move_on_after(self._last_answer_seconds()):
                await self._given_back.wait()
        scope.cancel()

    def _last_answer_seconds(self) -> float:
        if isinstance(self._session, _CallToCome):
            # That it exits is how it answers, and the caller may take what is left as slowly as its deadline allows.
            return inf if self._session.opened else 0.0
        return _LAST_ANSWER_SECONDS

    async def _serve_one(self) -> None:
        """Wait for the one call, and start for it. What fails then is the call's to tell. Cancelled: told so, too."""
        self._session = call = _CallToCome()
        self.ready_at = trio.current_time()
        self.keeper.container_ready(self)
        try:
            while call.request is None:
                with trio.CancelScope(
                    deadline=min(self.keeper.idle_deadline(self), trio.current_time() + _LOOK_SECONDS)
                ):
                    await call.came.wait()
                if call.request is None and self.keeper.expire(self):
                    return

            async def serve(container: Container) -> None:
                with trio.move_on_after(self.pool.timeouts.start) as starting:
                    async with self.pool.codec.open(container) as session:
                        starting.deadline = inf
                        call.open(session)
                        await trio.sleep_forever()
                if starting.cancelled_caught:
                    raise errors.ContainerStartTimedOut

            await self._run_started(call.request, serve)
        except errors.FunctionError as error:
            call.fail(error)
        finally:
            call.fail(errors.InternalError() if self.exit is None else errors.ContainerFailed())

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
        put_off = False
        while True:
            deadline = self.keeper.idle_deadline(self)
            if self.paused:
                with trio.CancelScope(deadline=deadline) as self._rest:
                    await trio.sleep_forever()
            else:
                pause_at = inf if put_off else self.keeper.idle_since(self) + until_pause
                await trio.sleep_until(min(deadline, pause_at, trio.current_time() + until_look))
            if self.keeper.expire(self):
                return
            if not self.paused and trio.current_time() >= self.keeper.idle_since(self) + until_pause:
                # Pausing is work, too, and who waits for a launch needs the machine now.
                put_off = self.keeper.launches_wait()
                if not put_off:
                    await self._pause(container)

    async def _pause(self, container: Container) -> None:
        self.paused = True
        with trio.fail_after(_PAUSE_SECONDS):
            async with self._power:
                await container.pause()
