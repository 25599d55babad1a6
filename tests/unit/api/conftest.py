"""Stand-ins for what the daemon gives its routes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio
from litestar import Litestar
from litestar.datastructures import State

from fnd.api import problems
from fnd.api.control import control_router
from fnd.api.services import STATE_KEY, Services
from fnd.catalog import Catalog
from fnd.config import Settings, load_settings
from fnd.errors import ConfigurationError, StoreUnavailable
from fnd.hookspecs import Protection
from fnd.model import CallQuery, CallRecord
from fnd.runtime.call import Call
from fnd.runtime.call_records import CallRecords
from fnd.runtime.events import EventBus
from fnd.runtime.function_logs import FunctionLogStatistics
from fnd.runtime.log_files import LogLine
from fnd.runtime.statistics import AgentStatistics, ContainerStatistics, PoolStatistics
from fnd.runtime.subscription import Subscription
from fnd.store.store import StoreHealth


@attrs.define
class FakeStore:
    health: StoreHealth = attrs.field(factory=lambda: StoreHealth(ok=True, error=""))


@attrs.define
class FakeHistory:
    records: list[CallRecord] = attrs.field(factory=list)
    error: str = ""

    async def find(self, call_id: str) -> CallRecord | None:
        return next((record for record in await self.newest(CallQuery(limit=1000)) if record.id == call_id), None)

    async def newest(self, query: CallQuery) -> list[CallRecord]:
        await trio.lowlevel.checkpoint()
        if self.error:
            raise StoreUnavailable(self.error)
        return [record for record in self.records if query.matches(record)][: query.limit]


@attrs.define
class FakeAgent:
    in_flight: list[Call] = attrs.field(factory=list)

    def calls(self) -> list[Call]:
        return self.in_flight

    def statistics(self) -> AgentStatistics:
        container = ContainerStatistics(
            id="C1", state="idle", age=3.0, in_state=1.0, calls=7, pid=42, running=0, call_id=""
        )
        pool = PoolStatistics(
            app_id="A1",
            app_name="demo",
            fn_id="F1",
            fn_name="hello",
            image="process://hello@sha256:00",
            format="http-stream",
            memory=128,
            idle_timeout=30.0,
            retired=False,
            waiting=0,
            calls=7,
            failures=1,
            launches=2,
            mean_run=0.001,
            mean_start=0.1,
            containers=(container,),
        )
        return AgentStatistics(
            memory_limit=1024,
            memory_reserved=128,
            cpu_limit=2000,
            cpu_reserved=500,
            calls_running=1,
            calls_waiting=2,
            calls_total=7,
            launches_total=2,
            pools=(pool,),
        )


@attrs.define
class FakeDaemon:
    state: str = "ready"
    started_at: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    listeners: tuple[str, ...] = ("127.0.0.1:8080",)
    asked: list[str] = attrs.field(factory=list)
    reload_error: str = ""

    def stop(self) -> None:
        self.asked.append("stop")

    def drain(self) -> None:
        self.asked.append("drain")

    async def reload(self) -> None:
        self.asked.append("reload")
        if self.reload_error:
            raise ConfigurationError(self.reload_error)


@attrs.define
class FakeDriver:
    """Builds by telling what it was given."""

    scheme: str = "process"
    outcome: Callable[[Path, Callable[[str], None]], str] = lambda source, progress: "process://hello@sha256:00"
    built: list[Path] = attrs.field(factory=list)
    building: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(0))
    """Released once for each build that begins."""
    waits: bool = False

    def protection(self) -> tuple[Protection, ...]:
        return (Protection("network", True, "bubblewrap"),)

    async def build(self, source: Path, progress: Callable[[str], None]) -> str:
        self.built.append(source)
        progress("building")
        self.building.release()
        if self.waits:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        return self.outcome(source, progress)


@attrs.define
class FakeLogs:
    history: list[LogLine] = attrs.field(factory=list)
    asked: list[tuple[Any, ...]] = attrs.field(factory=list)
    subscriptions: list[Subscription[LogLine]] = attrs.field(factory=list)

    def statistics(self) -> FunctionLogStatistics:
        return FunctionLogStatistics(taken=3, cut=2, lost=1, pending=0, error="disk full")

    async def read(self, fn_id: str, call_id: str | None = None, lines: int = 100) -> list[LogLine]:
        self.asked.append(("read", fn_id, call_id, lines))
        return self.history[-lines:]

    @asynccontextmanager
    async def subscribe(
        self,
        fn_id: str | None = None,
        *,
        app_id: str | None = None,
        call_id: str | None = None,
        lines: int = 0,
    ) -> AsyncIterator[Subscription[LogLine]]:
        self.asked.append(("subscribe", fn_id, app_id, call_id, lines))
        subscription: Subscription[LogLine] = Subscription(1000, lambda line: 1, lambda count: self.history[0])
        for line in self.history:
            subscription.publish(line)
        self.subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self.subscriptions.remove(subscription)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"data_directory": tmp_path / "data", "runtime_directory": tmp_path / "run"}, None, {})


@pytest.fixture
def services(settings: Settings) -> Any:
    """Services with nothing behind them; typed loosely, for a test reaches into its stand-ins."""
    driver: Any = FakeDriver()
    store: Any = FakeStore()
    logs: Any = FakeLogs()
    history: Any = FakeHistory()
    return Services(
        settings=settings,
        store=store,
        catalog=Catalog(),
        agent=FakeAgent(),
        daemon=FakeDaemon(),
        drivers={"process": driver},
        codecs={"http-stream": Any},  # type: ignore[dict-item]
        logs=logs,
        events=EventBus(),
        records=CallRecords(100),
        history=history,
    )


@pytest.fixture
def application(services: Services) -> Litestar:
    return Litestar(
        [control_router],
        state=State({STATE_KEY: services}),
        exception_handlers={Exception: problems.answer},
        openapi_config=None,
    )


@pytest.fixture
async def client(application: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client
