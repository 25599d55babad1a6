"""The agent: a call comes in, a container is found for it; what dispatch decides is done here, and nothing is decided.

Events of the running containers and calls go to the dispatcher, which answers with actions; they are done at once, in
the task that reported the event, since each is no more than starting, waking or cancelling a task.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from fnd import errors
from fnd.dispatch import (
    Assign,
    Dispatch,
    Forget,
    KeepAlive,
    Launch,
    PoolSettings,
    Reject,
    RejectReason,
    SlotState,
    Stop,
    WaitReason,
)
from fnd.hookspecs import ConcurrentCodec, PassingCodec
from fnd.ids import new_id
from fnd.log import get_logger
from fnd.runtime.call import Call
from fnd.runtime.container import ContainerTask
from fnd.runtime.events import Event, EventBus, EventKind
from fnd.runtime.pool import FunctionPool, PoolTimeouts
from fnd.runtime.statistics import AgentStatistics, ContainerStatistics, PoolStatistics

if TYPE_CHECKING:
    from fnd.catalog import FnVersion
    from fnd.dispatch import Action, Pool, Slot
    from fnd.hookspecs import Codec, Driver
    from fnd.runtime.call_records import CallRecords
    from fnd.runtime.function_logs import FunctionLogs

_REJECTIONS: Final[Mapping[RejectReason, type[errors.APIError]]] = {
    RejectReason.TOO_LARGE: errors.TooLargeForMachine,
    RejectReason.LINE_FULL: errors.TooManyRequests,
    RejectReason.DRAINING: errors.Draining,
}

_FINAL: Final = (errors.ImageUnusable, errors.ImagePullTimedOut, errors.ContainerStartTimedOut)
"""Failed launches that another attempt would only repeat, at the same cost."""

_log = get_logger(__name__)


class Agent:
    """Finds containers for calls. Made by `running_agent`; used on the trio thread alone."""

    def __init__(
        self,
        dispatch: Dispatch,
        *,
        drivers: Mapping[str, Driver],
        codecs: Mapping[str, Codec],
        default_driver: str,
        keep_alive: KeepAlive,
        timeouts: PoolTimeouts,
        logs: FunctionLogs,
        events: EventBus,
        records: CallRecords,
        on_fault: Callable[[Exception], None],
        nursery: trio.Nursery,
    ) -> None:
        self._dispatch = dispatch
        self._drivers = drivers
        self._codecs = codecs
        self._default_driver = default_driver
        self._keep_alive = keep_alive
        self._timeouts = timeouts
        self._logs = logs
        self._events = events
        self._records = records
        self.on_fault = on_fault
        """Told of what a driver or codec raises against its contract."""
        self._nursery = nursery
        self._pools: dict[str, FunctionPool] = {}
        self.now: Final[Callable[[], float]] = trio.lowlevel.current_clock().current_time
        """What trio.current_time tells, without its way to the clock."""
        self._ticking = trio.CancelScope()
        self._ticking_at = inf
        self._refusing = False

    # Calls.

    def pool(self, version: FnVersion) -> FunctionPool:
        """Return what calls of this version share, made at its first call.

        Raises Draining if no new calls are taken, ImageUnusable if no driver here makes containers of its image or no
        codec speaks its format.
        """
        if self._refusing:
            raise errors.Draining
        pool = self._pools.get(version.key)
        if pool is None or pool.decisions.forgotten:
            pool = self._pools[version.key] = self._make_pool(version)
        return pool

    def passes_requests(self, version: FnVersion) -> bool:
        """Whether this version's functions get whole requests, and all below their URLs is theirs."""
        return isinstance(self._codecs.get(version.fn.format), PassingCodec)

    def take(self, call: Call) -> ContainerTask | None:
        """Return a container for `call` if one is idle; then `release` must follow. If not, `wait` must."""
        pool = call.pool
        slot = self._dispatch.arrive(pool.decisions, call, call.arrived_at)
        if slot is None:
            return None
        call.taken_at = call.arrived_at
        container: ContainerTask = slot.container
        call.container_id = container.id
        container.begin(call)
        return container

    async def wait(self, call: Call) -> ContainerTask:
        """Return a container for a call that `take` had none for; then `release` must follow.

        Raises APIError if there will be none. Cancelled: the call has left the line, and no container is its own.
        """
        self._note_situation(call)
        self._perform()
        try:
            container = await call.wait()
        except trio.Cancelled:
            call.waited_for = self._dispatch.why(call)
            self._dispatch.gone(call, trio.current_time())
            self._perform()
            raise
        slot = container.slot
        call.container_id = container.id
        call.taken_at = slot.got_by(call)
        if slot.calls <= slot.pool.concurrency and container.ready_at > call.arrived_at:
            call.cold = True
            call.launch = container.ready_at - max(container.launched_at, call.arrived_at)
        container.begin(call)
        return container

    def release(self, call: Call, container: ContainerTask) -> None:
        """Give the container back, whatever became of the call."""
        call.answered_at = now = self.now()
        dispatch = self._dispatch
        dispatch.finished(container.slot, container.end(call, now), now, call)
        if dispatch.actions:
            self._perform()

    def retire(self, version: FnVersion) -> None:
        """The fn has changed or gone: this version serves who waits for it, and ends."""
        pool = self._pools.pop(version.key, None)
        if pool is not None:
            self._dispatch.retire(pool.decisions, trio.current_time())
            self._perform()

    def warm(self, version: FnVersion) -> None:
        """Keep the containers that the fn wants kept, from now on; that they cannot be had is logged."""
        obstacle: errors.APIError | None = None
        try:
            if self.pool(version).decisions.share > 1:
                obstacle = errors.TooLargeForMachine()
        except errors.APIError as error:
            obstacle = error
        if obstacle is not None:
            _log.warning("not kept warm", fn_id=version.fn.id, fn_name=version.fn.name, error=obstacle.message)
        self._perform()

    def refuse_calls(self) -> None:
        """Take no new call; those that are here go on."""
        self._refusing = True

    def reject_waiting(self) -> None:
        """Reject who waits for a container and stop what is idle; no container is launched any more."""
        self._dispatch.drain(trio.current_time())
        self._perform()

    def _note_situation(self, call: Call) -> None:
        """Keep what the call has just met, for whoever asks why it was slow."""
        pool = call.pool.decisions
        launched = 0
        for action in self._dispatch.actions:
            if type(action) is Launch and action.slot.pool is pool:
                launched += 1
        meter = pool.meter
        call.situation = (
            *(pool.line.length - 1, pool.busy, pool.launching - launched, launched),
            *(meter.mean_run, meter.mean_start),
        )

    def _make_pool(self, version: FnVersion) -> FunctionPool:
        fn = version.fn
        scheme, separator, _ = fn.image.partition("://")
        driver = self._drivers.get(scheme if separator else self._default_driver)
        if driver is None:
            known = ", ".join(sorted(self._drivers))
            raise errors.ImageUnusable(f"No driver here starts images of {fn.image!r}; there are drivers for: {known}")
        codec = self._codecs.get(fn.format)
        if codec is None:
            known = ", ".join(sorted(self._codecs))
            raise errors.ImageUnusable(f"No codec here speaks the format {fn.format!r}; there are: {known}")
        most = codec.concurrency if isinstance(codec, ConcurrentCodec) else 1
        if fn.concurrency > most:
            raise errors.ImageUnusable(
                f"The codec here that speaks the format {fn.format!r} serves {most} calls at once in a container, and "
                f"concurrency is {fn.concurrency}"
            )
        settings = PoolSettings(
            memory=fn.memory,
            cpu=fn.cpu,
            idle_timeout=fn.idle_timeout,
            hot=codec.hot,
            concurrency=fn.concurrency,
            min_warm=fn.min_warm,
            max_containers=fn.max_containers or None,
            keep_alive=self._keep_alive,
        )
        pool = FunctionPool(version, driver, codec, self._timeouts, self._events, self._records)
        pool.decisions = self._dispatch.pool(pool, settings)
        return pool

    # What dispatch decides.

    def _perform(self) -> None:
        dispatch = self._dispatch
        if dispatch.actions:
            for action in dispatch.actions:
                if type(action) is Assign:  # nearly all are
                    action.call.give(action.slot.container, action.why)
                else:
                    self._do(action)
            dispatch.actions.clear()
        if dispatch.tick_from < self._ticking_at:
            self._ticking.deadline = self._ticking_at = dispatch.tick_from

    def _do(self, action: Action) -> None:
        match action:
            case Launch(slot=slot):
                self._launch(slot)
            case Stop(slot=slot):
                slot.container.stop()
            case Reject(call=call, reason=reason, error=error):
                call.reject(_rejection(reason, error))
            case Forget(pool=decisions):
                pool = _function_pool(decisions)
                if self._pools.get(pool.version.key) is pool:
                    del self._pools[pool.version.key]

    async def keep_time(self) -> None:
        """Let the dispatcher look at what waits, whenever it asked to; until cancelled."""
        while True:
            self._ticking_at = self._dispatch.tick_from
            self._ticking = trio.CancelScope(deadline=self._ticking_at)
            with self._ticking:
                await trio.sleep_forever()
            self._dispatch.tick(trio.current_time())
            self._perform()

    # Containers.

    def _launch(self, slot: Slot) -> None:
        pool = _function_pool(slot.pool)
        container_id = new_id()
        fn = pool.version.fn
        log = self._logs.open(container_id, fn.app_id, fn.id)
        container = ContainerTask(self, pool, slot, container_id, log, trio.current_time())
        slot.container = container
        self._publish(EventKind.CONTAINER_LAUNCHED, container)
        self._nursery.start_soon(self._run_container, container)

    async def _run_container(self, container: ContainerTask) -> None:
        error: errors.APIError | None = None
        try:
            with container.log:
                await container.run()
            error = container.failure
        except Exception as fault:
            # A driver or codec has broken its contract; the daemon outlives it.
            _log.exception("container failed", container_id=container.id, fn_id=container.pool.version.fn.id)
            self.on_fault(fault)
            error = errors.InternalError()
        finally:
            self._container_gone(container, error)

    def _container_gone(self, container: ContainerTask, error: errors.APIError | None) -> None:
        now = trio.current_time()
        if error is not None and not container.ready:
            container.pool.failures += 1
            reason = container.exit.reason if container.exit is not None else ""
            self._publish(EventKind.LAUNCH_FAILED, container, error=error.message, reason=reason)
            self._dispatch.launch_failed(container.slot, error, now, retry=not isinstance(error, _FINAL))
        else:
            self._publish(EventKind.CONTAINER_STOPPED, container, calls=container.slot.calls, reason=_reason(container))
        self._dispatch.stopped(container.slot, now)
        self._perform()

    def container_ready(self, container: ContainerTask) -> None:
        """It can take calls. From its own task."""
        now = trio.current_time()
        self._publish(EventKind.CONTAINER_READY, container, seconds=now - container.launched_at)
        self._dispatch.ready(container.slot, now)
        self._perform()

    def container_exited(self, container: ContainerTask) -> None:
        """Its main process has ended. From its own task."""
        if container.ready:
            self._dispatch.exited(container.slot, trio.current_time())
            self._perform()

    def idle_since(self, container: ContainerTask) -> float:
        """Since when nobody has called it; inf while it is busy."""
        slot = container.slot
        return slot.since if slot.state is SlotState.IDLE else inf

    def idle_deadline(self, container: ContainerTask) -> float:
        """When it will have been idle for too long, if nothing happens; inf while it is busy."""
        return self._dispatch.idle_deadline(container.slot)

    def expire(self, container: ContainerTask) -> bool:
        """Return whether it has been idle for too long and gets no call any more."""
        expired = self._dispatch.expire(container.slot, trio.current_time())
        self._perform()
        return expired

    def launches_wait(self) -> bool:
        """Return whether more containers are wanted than the machine launches at once."""
        return self._dispatch.capacity.blocked is WaitReason.LAUNCH_LIMIT

    def relieve(self) -> None:
        """The machine is short of memory: stop some of the containers that are idle."""
        stopped = self._dispatch.relieve(trio.current_time())
        self._perform()
        fields = {"containers": len(stopped), "memory": sum(slot.pool.memory for slot in stopped)}
        self._events.publish(Event(EventKind.MEMORY_PRESSURE, fields))
        # It may be short for long: what cannot be helped is not worth a line every two seconds.
        (_log.warning if stopped else _log.debug)(EventKind.MEMORY_PRESSURE.value, **fields)

    def _publish(self, kind: EventKind, container: ContainerTask, **fields: str | float) -> None:
        version = container.pool.version
        common = {"container_id": container.id, "fn_id": version.fn.id, "fn_name": version.fn.name}
        self._events.publish(Event(kind, {**common, "app_name": version.app.name, **fields}))
        if kind is EventKind.LAUNCH_FAILED:
            _log.warning(kind.value, **common, **fields)
        else:
            _log.info(kind.value, **common, **fields)

    # What it says of itself.

    def calls(self) -> Iterator[Call]:
        """Yield the calls that wait for a container or have one; linear in pools, containers and waiters."""
        for pool in self._dispatch.held():
            for slot in pool.slots:
                yield from slot.in_hand
            for waiter in pool.line:
                assert isinstance(waiter.call, Call)
                yield waiter.call

    def statistics(self) -> AgentStatistics:
        """Return a snapshot of every pool and of the machine's capacity."""
        now = trio.current_time()
        known = self._dispatch.snapshot(now)
        return AgentStatistics(
            memory_limit=known.memory_limit,
            memory_reserved=known.memory_reserved,
            cpu_limit=known.cpu_limit,
            cpu_reserved=known.cpu_reserved,
            calls_running=known.running,
            calls_waiting=known.waiting,
            calls_total=known.calls,
            launches_total=known.launches,
            pools=tuple(_pool_statistics(pool, now) for pool in self._dispatch.held()),
        )


def _function_pool(decisions: Pool) -> FunctionPool:
    assert isinstance(decisions.key, FunctionPool)
    return decisions.key


def _pool_statistics(decisions: Pool, now: float) -> PoolStatistics:
    pool = _function_pool(decisions)
    app, fn, meter = pool.version.app, pool.version.fn, decisions.meter
    return PoolStatistics(
        app_id=app.id,
        app_name=app.name,
        fn_id=fn.id,
        fn_name=fn.name,
        image=fn.image,
        format=fn.format,
        memory=fn.memory,
        idle_timeout=fn.idle_timeout,
        retired=decisions.retired,
        waiting=decisions.line.length,
        calls=decisions.calls,
        failures=pool.failures,
        launches=decisions.launches,
        mean_run=meter.mean_run if meter.runs else None,
        mean_start=meter.mean_start if meter.starts else None,
        containers=tuple(_container_statistics(slot, now) for slot in decisions.slots),
    )


def _container_statistics(slot: Slot, now: float) -> ContainerStatistics:
    container: ContainerTask = slot.container
    return ContainerStatistics(
        id=container.id,
        state="paused" if container.stands_still and not slot.in_hand else slot.state.value,
        age=now - container.launched_at,
        in_state=now - slot.since,
        calls=slot.calls,
        pid=container.container.pid if container.container is not None else None,
        running=len(slot.in_hand),
        call_id=next((call.id for call in slot.in_hand), ""),
    )


def _rejection(reason: RejectReason, error: object) -> errors.APIError:
    # One for each caller: a raised exception gathers a traceback.
    if isinstance(error, errors.FunctionError):
        return type(error)(error.message, payload=error.payload)
    if isinstance(error, errors.APIError):
        return type(error)(error.message)
    return _REJECTIONS.get(reason, errors.InternalError)()


def _reason(container: ContainerTask) -> str:
    if container.exit is None:
        return "stopped"
    ended = container.exit
    return ended.reason or (f"signal {ended.signal}" if ended.signal is not None else f"exit code {ended.code}")


@asynccontextmanager
async def running_agent(
    dispatch: Dispatch,
    *,
    drivers: Mapping[str, Driver],
    codecs: Mapping[str, Codec],
    default_driver: str,
    keep_alive: KeepAlive,
    timeouts: PoolTimeouts,
    logs: FunctionLogs,
    events: EventBus,
    records: CallRecords,
    on_fault: Callable[[Exception], None] = lambda fault: None,
) -> AsyncIterator[Agent]:
    """Run an agent for as long as the context is open; leaving it ends every container and waits for their ends."""
    async with trio.open_nursery() as nursery:
        agent = Agent(
            dispatch,
            drivers=drivers,
            codecs=codecs,
            default_driver=default_driver,
            keep_alive=keep_alive,
            timeouts=timeouts,
            logs=logs,
            events=events,
            records=records,
            on_fault=on_fault,
            nursery=nursery,
        )
        nursery.start_soon(agent.keep_time)
        yield agent
        nursery.cancel_scope.cancel()
