"""What an operator asks of the daemon over its control socket, and what comes back."""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio
import trio.testing
from litestar import Litestar

from fnd import __version__, errors
from fnd.api.builds import MAX_BUILDS, Builder
from fnd.api.source_archive import ArchiveLimits
from fnd.clearing import clear_spool
from fnd.errors import BuildFailed
from fnd.ids import new_id
from fnd.runtime.call import Call
from fnd.runtime.call_records import CallRecords, record_of
from fnd.runtime.events import Event, EventBus, EventKind
from fnd.runtime.log_files import LogLine
from fnd.runtime.pool import FunctionPool, PoolTimeouts
from fnd.store.store import StoreHealth
from fnd_mock.codec import MockCodec
from fnd_mock.driver import MockDriver
from tests.agent_stage import version

Message = dict[str, Any]


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


FUNCTION = tar_of({"func.yaml": b"name: hello", "lib/module.py": b"pass"})


def lines_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


class Caller:
    """A caller that reads an answer as it comes, and can hang up."""

    def __init__(
        self, application: Litestar, path: str, query: str = "", body: bytes = b"", part: int = 1 << 20
    ) -> None:
        method = "POST" if body else "GET"
        self.scope: Any = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [],
            "client": None,
            "server": None,
            "state": {},
        }
        self.status = 0
        self.begun = False
        """Whether the body has begun, with nothing maybe: until then a server may keep the head back."""
        self._application: Any = application
        self._body = [body[start : start + part] for start in range(0, max(len(body), 1), part)]
        self._gone = trio.Event()
        self._send, self._parts = trio.open_memory_channel[bytes](math.inf)

    async def __call__(self) -> None:
        await self._application(self.scope, self._receive, self._take)
        self._send.close()

    def hang_up(self) -> None:
        self._gone.set()

    @property
    def unread(self) -> int:
        return sum(map(len, self._body))

    async def line(self) -> Any:
        return json.loads(await self._parts.receive())

    async def _receive(self) -> Message:
        if self._body:
            return {"type": "http.request", "body": self._body.pop(0), "more_body": bool(self._body)}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _take(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        self.begun = True
        if message["body"]:
            await self._send.send(message["body"])


async def test_status_tells_what_runs_what_is_reserved_and_what_protects(
    client: httpx.AsyncClient, services: Any
) -> None:
    status = (await client.get("/control/status")).json()
    assert status["version"] == __version__
    assert status["state"] == "ready"
    assert status["listeners"] == ["127.0.0.1:8080"]
    assert (status["memory_limit"], status["memory_reserved"]) == (1024, 128)
    assert (status["cpu_limit"], status["cpu_reserved"]) == (2000, 500)
    assert (status["calls_running"], status["calls_waiting"], status["calls_total"]) == (1, 2, 7)
    assert (status["containers"], status["pools"], status["launches_total"]) == (1, 1, 2)
    assert (status["apps"], status["fns"], status["triggers"]) == (0, 0, 0)
    assert status["formats"] == ["http-stream"]
    assert status["drivers"] == [
        {"scheme": "process", "protection": [{"name": "network", "in_force": True, "by": "bubblewrap"}]}
    ]
    assert status["store"] == {"ok": True, "error": ""}
    assert status["logs"] == {"taken": 3, "cut": 2, "lost": 1, "pending": 0, "error": "disk full"}
    assert status["uptime"] >= 0


async def test_status_tells_of_a_failing_store(client: httpx.AsyncClient, services: Any) -> None:
    services.store.health = StoreHealth(ok=False, error="disk full")
    assert (await client.get("/control/status")).json()["store"] == {"ok": False, "error": "disk full"}


async def test_pools_have_every_container_with_its_state_and_ages(client: httpx.AsyncClient) -> None:
    (pool,) = (await client.get("/control/pools")).json()["pools"]
    assert (pool["app_name"], pool["fn_name"]) == ("demo", "hello")
    (container,) = pool["containers"]
    assert container == {
        "id": "C1",
        "state": "idle",
        "age": 3.0,
        "in_state": 1.0,
        "calls": 7,
        "pid": 42,
        "running": 0,
        "call_id": "",
    }


async def test_doctor_checks_the_machine_and_has_the_drivers_protection(client: httpx.AsyncClient) -> None:
    diagnosis = (await client.get("/control/doctor")).json()
    outcomes = {check["name"]: check["outcome"] for check in diagnosis["checks"]}
    assert {"python", "open files", "inotify", "memory", "data directory", "socket paths"} <= outcomes.keys()
    assert set(outcomes.values()) <= {"ok", "warning", "problem"}
    assert [driver["scheme"] for driver in diagnosis["drivers"]] == ["process"]


@pytest.mark.parametrize(("what", "status"), [("drain", 202), ("stop", 202), ("reload", 204)])
async def test_the_daemon_is_asked_once(client: httpx.AsyncClient, services: Any, what: str, status: int) -> None:
    response = await client.post(f"/control/{what}")
    assert response.status_code == status
    assert services.daemon.asked == [what]


async def test_a_wrong_configuration_is_told_to_who_asked_for_the_reload(
    client: httpx.AsyncClient, services: Any
) -> None:
    services.daemon.reload_error = "memory: 'much' from fnd.toml cannot be used"
    response = await client.post("/control/reload")
    assert response.status_code == 400
    assert response.json()["message"] == services.daemon.reload_error


def call_of(app_id: str = "A1", **fields: Any) -> Call:
    """Return a call of a mock function, as far as it has come."""
    fn = version(id="F1", name="hello", app_id=app_id)
    fn = attrs.evolve(fn, app=attrs.evolve(fn.app, id=app_id, name="demo"))
    pool = FunctionPool(fn, MockDriver(), MockCodec(), PoolTimeouts(), EventBus(), CallRecords(0))
    call = Call(new_id(), pool, 10.0)
    for name, value in fields.items():
        setattr(call, name, value)
    return call


def ended(**fields: Any) -> Call:
    return call_of(**{"taken_at": 11.0, "answered_at": 11.5} | fields)


async def test_calls_are_those_that_go_on_those_in_memory_and_those_in_the_store(
    client: httpx.AsyncClient, services: Any
) -> None:
    stored, both, remembered, running = ended(), ended(), ended(), call_of(taken_at=trio.current_time())
    services.history.records = [record_of(both), record_of(stored)]
    both.failed(errors.CallerGone())
    services.records.add(both)
    services.records.add(remembered)
    services.agent.in_flight.append(running)
    answer = (await client.get("/control/calls")).json()
    assert answer["store_error"] == ""
    assert [(call["id"], call["state"]) for call in answer["calls"]] == [
        (running.id, "running"),
        (remembered.id, "answered"),
        (both.id, "failed"),
        (stored.id, "answered"),
    ]
    two = (await client.get("/control/calls", params={"limit": 2})).json()["calls"]
    assert [call["id"] for call in two] == [running.id, remembered.id]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"app": "A2"}, [1]),
        ({"fn": "F2"}, []),
        ({"failed": "true"}, [2]),
        ({"slower": 2}, [3]),
        ({"fn": "F1", "app": "A1", "limit": 2}, [3, 2]),
    ],
)
async def test_calls_can_be_narrowed(
    client: httpx.AsyncClient, services: Any, query: dict[str, Any], expected: list[int]
) -> None:
    calls = [ended(), ended(app_id="A2"), ended(error="Timed out"), ended(answered_at=20.0)]
    for call in calls:
        services.records.add(call)
    found = (await client.get("/control/calls", params=query)).json()["calls"]
    assert [call["id"] for call in found] == [calls[number].id for number in expected]


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 10_001}, {"slower": -1}, {"slower": "long"}, {"slower": "nan"}]
)
async def test_calls_that_cannot_be_are_refused(client: httpx.AsyncClient, query: dict[str, Any]) -> None:
    assert (await client.get("/control/calls", params=query)).status_code == 400


async def test_a_store_that_fails_takes_only_its_own_calls_away(client: httpx.AsyncClient, services: Any) -> None:
    services.history.error = "disk full"
    call = ended()
    services.records.add(call)
    answer = (await client.get("/control/calls")).json()
    assert ([call["id"] for call in answer["calls"]], answer["store_error"]) == ([call.id], "disk full")
    assert (await client.get(f"/control/calls/{call.id}")).status_code == 200
    assert (await client.get("/control/calls/other")).status_code == 503


async def test_one_call_is_found_wherever_it_is(client: httpx.AsyncClient, services: Any) -> None:
    stored, remembered, waiting = ended(), ended(situation=(3, 2, 1, 0, 0.25, 0.5)), call_of()
    services.history.records = [record_of(stored)]
    services.records.add(remembered)
    services.agent.in_flight.append(waiting)
    for call, state in ((stored, "answered"), (remembered, "answered"), (waiting, "waiting")):
        found = (await client.get(f"/control/calls/{call.id}")).json()
        assert (found["id"], found["state"], found["fn_name"]) == (call.id, state, "hello")
    found = (await client.get(f"/control/calls/{remembered.id}")).json()
    assert (found["queue"], found["run"]) == (1.0, 0.5)
    assert found["situation"] == {
        "ahead": 3,
        "busy": 2,
        "launching": 1,
        "launched": 0,
        "mean_run": 0.25,
        "mean_start": 0.5,
    }
    assert (await client.get("/control/calls/nothing")).status_code == 404


def log_line(text: str) -> LogLine:
    return LogLine(1.0, "F1", "C1", "K1", "stderr", text)


async def test_logs_are_the_end_of_a_functions_log(client: httpx.AsyncClient, services: Any) -> None:
    services.logs.history = [log_line("one"), log_line("two")]
    response = await client.get("/control/logs", params={"fn": "F1", "call": "K1", "lines": 1})
    assert [line["text"] for line in lines_of(response)] == ["two"]
    assert services.logs.asked == [("read", "F1", "K1", 1)]


@pytest.mark.parametrize("query", [{}, {"app": "A1"}, {"fn": "F1", "lines": 10_001}, {"fn": "F1", "lines": -1}])
async def test_logs_of_nothing_in_particular_are_refused(client: httpx.AsyncClient, query: dict[str, Any]) -> None:
    assert (await client.get("/control/logs", params=query)).status_code == 400


async def test_followed_logs_go_on_until_their_reader_goes_away(application: Litestar, services: Any) -> None:
    services.logs.history = [log_line("before")]
    caller = Caller(application, "/control/logs", "fn=F1&follow=true&lines=10")
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            assert (await caller.line())["text"] == "before"
            services.logs.subscriptions[0].publish(log_line("after"))
            assert (await caller.line())["text"] == "after"
            caller.hang_up()
    assert services.logs.asked == [("subscribe", "F1", None, None, 10)]
    assert services.logs.subscriptions == []


async def test_events_are_told_from_the_moment_the_answer_begins(application: Litestar, services: Any) -> None:
    caller = Caller(application, "/control/events")
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await trio.testing.wait_all_tasks_blocked()
            assert (caller.status, caller.begun) == (200, True)
            services.events.publish(Event(EventKind.CONTAINER_STOPPED, {"container_id": "C1"}))
            line = await caller.line()
            assert (line["kind"], line["container_id"]) == ("container.stopped", "C1")
            caller.hang_up()
    assert not services.events.listening


async def test_a_stream_ends_with_the_daemon(application: Litestar, services: Any) -> None:
    caller = Caller(application, "/control/events")
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await trio.testing.wait_all_tasks_blocked()
            services.events.close()


def spool(services: Any) -> list[Path]:
    directory: Path = services.settings.data_directory / "spool"
    return list(directory.iterdir()) if directory.exists() else []


async def test_a_build_gives_the_driver_the_unpacked_directory_and_tells_how_it_goes(
    client: httpx.AsyncClient, services: Any
) -> None:
    seen = {}

    def outcome(source: Path, progress: Callable[[str], None]) -> str:
        seen.update({str(path.relative_to(source)): path.is_file() for path in source.rglob("*")})
        progress("installing")
        return "process://hello@sha256:00"

    services.drivers["process"].outcome = outcome
    response = await client.post("/control/build", content=FUNCTION)
    assert lines_of(response) == [
        {"progress": "building"},
        {"progress": "installing"},
        {"image": "process://hello@sha256:00"},
    ]
    assert seen == {"func.yaml": True, "lib": False, "lib/module.py": True}
    assert spool(services) == []


def fail(source: Path, progress: Callable[[str], None]) -> str:
    raise BuildFailed("no such package: nonesuch")


def break_down(source: Path, progress: Callable[[str], None]) -> str:
    raise ZeroDivisionError("secret")


@pytest.mark.parametrize(
    ("outcome", "told"), [(fail, "no such package: nonesuch"), (break_down, "the daemon's log has the cause")]
)
async def test_a_failed_build_ends_with_the_reason(
    client: httpx.AsyncClient, services: Any, outcome: Any, told: str
) -> None:
    services.drivers["process"].outcome = outcome
    lines = lines_of(await client.post("/control/build", content=FUNCTION))
    assert told in lines[-1]["error"]
    assert "secret" not in str(lines)
    assert spool(services) == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "not a tar archive"),
        (b"no tar", "not a tar archive"),
        (tar_of({"../evil": b""}), "../evil"),
        (tar_of({"deeper/func.yaml": b""}), "no func.yaml"),
    ],
)
async def test_what_cannot_be_a_function_is_refused_before_the_driver_sees_it(
    client: httpx.AsyncClient, services: Any, body: bytes, told: str
) -> None:
    response = await client.post("/control/build", content=body)
    assert response.status_code == 400
    assert told in response.json()["message"]
    assert services.drivers["process"].built == []
    assert spool(services) == []


async def test_an_unknown_driver_is_told_with_those_there_are(client: httpx.AsyncClient) -> None:
    response = await client.post("/control/build", params={"driver": "docker"}, content=FUNCTION)
    assert response.status_code == 400
    assert "docker" in response.json()["message"]
    assert "process" in response.json()["message"]


class TestBuilder:
    """What a build must not take: more room than allowed, or anything for longer than it lasts."""

    @pytest.fixture
    def builder(self, services: Any) -> Builder:
        limits = ArchiveLimits(packed_size=20_000, unpacked_size=1000, entries=5)
        builder = Builder(services.settings.data_directory, limits)
        object.__setattr__(services, "builder", builder)
        return builder

    async def test_a_body_over_the_limit_is_refused_while_it_comes(
        self, application: Litestar, services: Any, builder: Builder
    ) -> None:
        caller = Caller(application, "/control/build", body=bytes(30_000), part=1000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            assert "20000 bytes" in (await caller.line())["message"]
        assert caller.status == 413
        assert caller.unread == 9000
        assert spool(services) == []

    async def test_content_over_the_limit_is_refused(
        self, client: httpx.AsyncClient, services: Any, builder: Builder
    ) -> None:
        response = await client.post("/control/build", content=tar_of({"func.yaml": bytes(1001)}))
        assert response.status_code == 413
        assert spool(services) == []

    async def test_a_caller_that_goes_away_ends_its_build(
        self, application: Litestar, services: Any, builder: Builder
    ) -> None:
        services.drivers["process"].waits = True
        caller = Caller(application, "/control/build", body=FUNCTION)
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(caller)
                assert await caller.line() == {"progress": "building"}
                assert len(spool(services)) == 1
                caller.hang_up()
        assert spool(services) == []

    async def test_more_builds_than_allowed_wait_before_their_bodies_are_read(
        self, application: Litestar, services: Any, builder: Builder
    ) -> None:
        driver = services.drivers["process"]
        driver.waits = True
        callers = [Caller(application, "/control/build", body=FUNCTION) for _ in range(MAX_BUILDS + 1)]
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for caller in callers:
                    nursery.start_soon(caller)
                for _ in range(MAX_BUILDS):
                    await driver.building.acquire()
                await trio.testing.wait_all_tasks_blocked()
                assert len(driver.built) == len(spool(services)) == MAX_BUILDS
                next(caller for caller in callers if caller.status == 200).hang_up()
                await driver.building.acquire()
                nursery.cancel_scope.cancel()
        assert spool(services) == []

    async def test_what_a_killed_daemon_left_is_cleared(self, services: Any) -> None:
        left = services.settings.data_directory / "spool" / "left"
        left.mkdir(parents=True)
        clear_spool(services.settings.data_directory)
        assert spool(services) == []

    async def test_a_spool_that_cannot_be_written_is_told(
        self, client: httpx.AsyncClient, services: Any, builder: Builder
    ) -> None:
        services.settings.data_directory.mkdir()
        (services.settings.data_directory / "spool").write_text("in the way")
        response = await client.post("/control/build", content=FUNCTION)
        assert response.status_code == 500
        assert "spool" in response.json()["message"]
