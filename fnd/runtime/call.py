"""One call on its way: when it arrived, what it waited for, which container took it, and how long each part took.

When it is over it is kept for a while as it is: fnd.runtime.call_records makes its record of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from fnd import errors

if TYPE_CHECKING:
    from fnd.dispatch import WaitReason
    from fnd.http.wire import Headers
    from fnd.runtime.container import ContainerTask
    from fnd.runtime.pool import FunctionPool

_LINES: Final = b"Fn-Call-Id: %b\r\nFnd-Timing: queue=%.6f;launch=%.6f;run=%.6f\r\nFnd-Container: %b\r\n"
_AT_ONCE: Final = b"Fn-Call-Id: %b\r\nFnd-Timing: queue=0.000000;launch=0.000000;run=%.6f\r\nFnd-Container: warm\r\n"
"""The same for a call that did not wait, as most do not: formatting a float costs as much as all the rest."""


class Call:
    """A call, and its own place in the line: the dispatcher knows it by identity, the agent wakes it.

    Moments are trio times in seconds.
    """

    # Most calls leave most of this as it is, so that it need not be set for each.
    taken_at = 0.0
    """When a container took it; 0 before."""
    answered_at = 0.0
    """When its container was given back; 0 before."""
    launch = 0.0
    """How much of the wait its container was being launched for it, seconds."""
    cold = False
    """Whether its container was launched while, or because, it waited."""
    receive = 0.0
    """How long its body was awaited before it stood in line, seconds."""
    resumed = False
    """Whether its container was paused, and had to run on first."""
    cut_short = False
    """Whether its exchange was cancelled before its answer began: its time was over, or its caller gone."""
    status = 200
    """What it is answered with."""
    error = ""
    """What it failed with."""
    container_id = ""
    """Which container took it."""
    waited_for: WaitReason | None = None
    situation: tuple[int, int, int, int, float, float] | None = None
    """What it met when no container was idle: the fields of fnd.model.Situation, in their order."""
    container: ContainerTask | None = None
    """The one that was given to it, until it takes it."""
    _error: errors.APIError | None = None
    _task: trio.lowlevel.Task | None = None

    def __init__(self, call_id: str, pool: FunctionPool, arrived_at: float) -> None:
        self.id = call_id
        self.pool = pool
        self.arrived_at = arrived_at

    def give(self, container: ContainerTask, why: WaitReason) -> None:
        """A container takes the call, which waited for `why`; its task wakes, if it sleeps already."""
        self.container = container
        self.waited_for = why
        self._wake()

    def reject(self, error: errors.APIError) -> None:
        """No container will take it; its task raises `error`."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    @property
    def app_id(self) -> str:
        """Whose fn it calls."""
        return self.pool.version.app.id

    @property
    def fn_id(self) -> str:
        """Which fn it calls."""
        return self.pool.version.fn.id

    @property
    def total(self) -> float:
        """Seconds from its coming to its answer, or until now."""
        return self.receive + (self.answered_at or trio.current_time()) - self.arrived_at

    async def wait(self) -> ContainerTask:
        """Return the container that takes the call.

        Raises APIError if it is rejected. Cancelled: no container has it; `give` and `reject` must not follow.
        """
        if self.container is None and self._error is None:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        if self._error is not None:
            # The record that is kept must not keep the error, whose traceback holds the request and its body.
            error, self._error = self._error, None
            raise error
        container, self.container = self.container, None  # the record that is kept must not keep the container
        assert container is not None
        return container

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def failed(self, error: errors.APIError) -> Headers:
        """The call is over, answered with `error`; return what that answer carries beside the error's own headers."""
        self.answered_at = self.answered_at or trio.current_time()
        self.status = error.status
        self.error = error.message
        self.pool.record(self)
        self.pool.call_failed(self, error)
        return [
            (name, value) for name, _, value in (line.partition(b": ") for line in self.header_lines().splitlines())
        ]

    def header_lines(self) -> bytes:
        """Return what every answer to the call carries beside its own headers, as it goes out."""
        now = self.answered_at or trio.current_time()
        call_id = self.id.encode("ascii")
        if self.taken_at == self.arrived_at:
            return _AT_ONCE % (call_id, now - self.taken_at)
        if self.taken_at:
            run = now - self.taken_at
            queue = self.taken_at - self.arrived_at - self.launch
        else:
            run = 0.0
            queue = now - self.arrived_at
        return _LINES % (call_id, queue, self.launch, run, b"cold" if self.cold else b"warm")
