"""The management API over a real store and catalog, with stand-ins for the agent and the daemon, for tests to ask."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import attrs
import httpx
import trio

from fnd.api.app import make_application
from fnd.api.services import Services
from fnd.catalog import Catalog, FnVersion
from fnd.config import load_settings
from fnd.hookspecs import Codec, Protection
from fnd.http.asgi_types import ASGIApplication
from fnd.runtime.call import Call
from fnd.runtime.call_records import CallRecords
from fnd.runtime.events import EventBus
from fnd.runtime.function_logs import FunctionLogs
from fnd.runtime.statistics import AgentStatistics, PoolStatistics
from fnd.store import CallHistory, Store, open_store

FORMATS = ("http-stream", "json")


class Agent:
    """Tells of pools that a test puts in."""

    def __init__(self) -> None:
        self.pools: list[PoolStatistics] = []

    def calls(self) -> list[Call]:
        return []

    def statistics(self) -> AgentStatistics:
        """Return statistics as of a machine with one GiB for containers."""
        return AgentStatistics(
            memory_limit=1024,
            memory_reserved=256,
            cpu_limit=2000,
            cpu_reserved=500,
            calls_running=1,
            calls_waiting=2,
            calls_total=30,
            launches_total=4,
            pools=tuple(self.pools),
        )


@attrs.define
class Daemon:
    """Does nothing it is asked for."""

    state: str = "ready"
    started_at: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    listeners: tuple[str, ...] = ("127.0.0.1:8080",)

    def stop(self) -> None:
        """Stay."""

    def drain(self) -> None:
        """Stay."""

    async def reload(self) -> None:
        """Stay."""
        await trio.lowlevel.checkpoint()


class Driver:
    """Builds anything into the same image."""

    scheme = "process"

    def protection(self) -> Iterable[Protection]:
        """Return one, for status."""
        return (Protection("network", in_force=True, by="nothing"),)

    async def build(self, source: Path, progress: Any) -> str:
        """Return the image."""
        await trio.lowlevel.checkpoint()
        return "process://built@sha256:00"


@attrs.frozen
class Answer:
    """What an application answered, as it went out."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """Return a header's value."""
        return dict(self.headers).get(name)


async def exchange(
    application: ASGIApplication,
    method: str,
    target: bytes,
    headers: Iterable[tuple[bytes, bytes]] = ((b"host", b"fnd.test"),),
    parts: Sequence[bytes] = (b"",),
    cut_short: bool = False,
) -> Answer:
    """Send one request as the server's bridge would, then hang up; return what was answered until then.

    `cut_short` hangs up while more is to come of the body.
    """
    path, _, query = target.partition(b"?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in headers],
        "client": None,
        "server": None,
        "state": {"fnd.listener": "public", "fnd.peer_uid": None},
    }
    left = list(parts)
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        await trio.lowlevel.checkpoint()
        if left:
            return {"type": "http.request", "body": left.pop(0), "more_body": cut_short or bool(left)}
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    await application(scope, receive, send)
    start, *bodies = sent
    assert start["type"] == "http.response.start"
    return Answer(start["status"], list(start["headers"]), b"".join(message["body"] for message in bodies))


@attrs.frozen(eq=False)
class Management:
    """The API and what is behind it."""

    application: ASGIApplication
    services: Services
    client: httpx.AsyncClient
    retired: list[FnVersion]

    @property
    def store(self) -> Store:
        """The store behind it."""
        return self.services.store

    @property
    def catalog(self) -> Catalog:
        """The catalog behind it."""
        return self.services.catalog

    async def ask(self, method: str, path: str, body: Any = None, *, status: int = 200, **query: Any) -> Any:
        """Return the JSON of an answer that must have `status`; None if it has no body."""
        response = await self.client.request(method, path, json=body, params=query)
        assert response.status_code == status, (response.status_code, response.text)
        return response.json() if response.content else None

    async def refusal(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, str]:
        """Return status and message of an answer that must be a refusal."""
        response = await self.client.request(method, path, json=body, params=query)
        assert response.status_code >= 400, response.text
        assert response.headers["content-type"] == "application/json; charset=utf-8"
        problem = response.json()
        assert list(problem) == ["message"]
        return response.status_code, problem["message"]

    async def check_catalog(self) -> None:
        """Check that the catalog is what one made of the store's contents would be."""
        contents = await self.store.load()
        fresh = Catalog(contents.apps, contents.fns, contents.triggers)
        assert self.catalog.counts() == fresh.counts()
        for app in contents.apps:
            assert self.catalog.app_named(app.name) == self.catalog.app_of(app.id) == app
            assert {fn.id for fn in self.catalog.fns_of(app.id)} == {fn.id for fn in fresh.fns_of(app.id)}
        for fn in contents.fns:
            ours, theirs = self.catalog.fn(fn.id), fresh.fn(fn.id)
            assert ours is not None
            assert theirs is not None
            assert (ours.fn, ours.app, ours.key) == (theirs.fn, theirs.app, theirs.key)
        names = {app.id: app.name for app in contents.apps}
        for trigger in contents.triggers:
            match = self.catalog.trigger(names[trigger.app_id], trigger.source)
            assert match is not None
            assert match.trigger == trigger


@asynccontextmanager
async def managing(directory: Path, listen: str = "127.0.0.1:8080") -> AsyncIterator[Management]:
    """Yield the API over a store in `directory`, with function logs that are being written."""
    settings = load_settings(
        {"data_directory": directory / "data", "runtime_directory": directory / "run", "listen": (listen,)}, None, {}
    )
    codec: Any = object()
    codecs: dict[str, Codec] = dict.fromkeys(FORMATS, codec)
    driver: Any = Driver()
    async with open_store(settings.data_directory, busy_timeout=0.01) as store, trio.open_nursery() as nursery:
        logs = FunctionLogs(settings.data_directory / "logs")
        nursery.start_soon(logs.run)
        services = Services(
            settings=settings,
            store=store,
            catalog=Catalog(),
            agent=Agent(),
            daemon=Daemon(listeners=(listen,)),
            drivers={"process": driver},
            codecs=codecs,
            logs=logs,
            events=EventBus(),
            records=CallRecords(0),
            history=CallHistory(store, 1000),
        )
        retired: list[FnVersion] = []
        services.catalog.on_retired = retired.append
        application = make_application(services)
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://fnd.test:8080") as client:
            yield Management(application, services, client, retired)
        nursery.cancel_scope.cancel()
