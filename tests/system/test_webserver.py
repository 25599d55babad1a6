"""Web servers as functions, through real daemons and both drivers: whole requests, streams, WebSocket, concurrency."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

import fnd.examples
from tests.http_caller import Answer, Caller
from tests.parts import missing, need_program
from tests.private_docker import PrivateDocker, add_program
from tests.system.live_daemon import PROGRAMS, LiveDaemon, LiveFunction, eventually, live_daemon, message

pytestmark = pytest.mark.system

SETTINGS = """
start_timeout = 30.0
max_response_header_size = 4096
max_response_body_size = 20000000
"""
IMAGE = "fnd-test/webserver:1"
NUMBERS = itertools.count()
EXAMPLES = Path(fnd.examples.__file__).parent


@pytest.fixture(scope="module")
def daemon() -> Iterator[LiveDaemon]:
    with live_daemon(settings=SETTINGS) as daemon:
        yield daemon
        assert "Traceback" not in daemon.log


@pytest.fixture(scope="module")
def docker_daemon(docker: PrivateDocker) -> Iterator[LiveDaemon]:
    add_program(docker, IMAGE, PROGRAMS / "web_server.py")
    with live_daemon(settings=f'{SETTINGS}\n[plugins.docker]\nhost = "{docker.host}"\n') as daemon:
        yield daemon
        assert "Traceback" not in daemon.log


class Site:
    """A web server behind a trigger, `/t/app/NAME`."""

    def __init__(self, daemon: LiveDaemon, name: str, image: str = "", **fields: Any) -> None:
        self.daemon = daemon
        fields = {"format": "webserver", "timeout": 20, **fields}
        if image:
            if not daemon.app_id:
                daemon.app_id = daemon.control.post("/v2/apps", {"name": "app"})["id"]
            body = {"name": name, "app_id": daemon.app_id, "image": image, **fields}
            self.function = LiveFunction(daemon, daemon.control.post("/v2/fns", body)["id"])
        else:
            self.function = daemon.function(name, "web_server.py", **fields)
        self.url = daemon.trigger(self.function, name)

    async def ask(self, path: bytes, method: bytes = b"GET", headers: bytes = b"", body: bytes = b"") -> Answer:
        """Ask for a path below its URL, on a connection of its own."""
        caller = await self.daemon.caller()
        answer = await caller.ask(method, self.url + path, headers, body)
        caller.close()
        return answer

    async def told(self, path: bytes, **fields: Any) -> dict[str, Any]:
        """Return what the server was told of a request that it does nothing with."""
        answer = await self.ask(path, **fields)
        assert answer.status == 200
        found: dict[str, Any] = json.loads(answer.body)
        return found


@pytest.fixture
async def made(daemon: LiveDaemon) -> AsyncIterator[list[Site]]:
    """Sites, deleted at the end, when nothing may be left of them."""
    daemon.status()
    descriptors = daemon.descriptors()
    sites: list[Site] = []
    yield sites
    for site in sites:
        daemon.control.delete(f"/v2/fns/{site.function.id}")
    await eventually(lambda: not daemon.containers_left())
    await eventually(lambda: daemon.descriptors() <= descriptors)


@pytest.fixture
def site(daemon: LiveDaemon, made: list[Site]) -> Site:
    made.append(Site(daemon, f"site-{next(NUMBERS)}"))
    return made[0]


@pytest.fixture
def busy_site(daemon: LiveDaemon, made: list[Site]) -> Site:
    """One that serves up to 8 calls at once."""
    made.append(Site(daemon, f"site-{next(NUMBERS)}", concurrency=8, max_containers=1))
    return made[0]


# Requests and answers.


async def test_a_request_arrives_as_it_was_sent_and_below_its_url(site: Site) -> None:
    told = await site.told(b"/a/b%20c?d=e&f", method=b"PATCH", headers=b"X-Y: z\r\nConnection: X-Hop\r\nX-Hop: 1\r\n")
    assert (told["method"], told["path"], told["query"], told["body"]) == ("PATCH", "/a/b%20c", "d=e&f", "")
    headers = {name.lower(): value for name, value in told["headers"]}
    assert (headers["x-y"], headers["host"]) == ("z", "here")
    assert headers["x-forwarded-prefix"] == site.url.decode()
    assert len(headers["fn-call-id"]) == 26
    assert "x-hop" not in headers
    assert (await site.told(b""))["path"] == "/"
    assert (await site.told(b"?q"))["query"] == "q"
    assert (await site.told(b"/body", method=b"POST", body=b"x" * 100))["body"] == "x" * 100


async def test_an_answer_comes_back_as_it_was_given(site: Site) -> None:
    for status in (200, 201, 302, 404, 500):
        answer = await site.ask(b"/status?%d" % status)
        assert (answer.status, answer.body, answer.headers[b"x-own"]) == (status, b"said", b"yes")
        assert len(answer.headers[b"fn-call-id"]) == 26
    assert (await site.ask(b"/status?304")).status == 304
    head = await site.ask(b"/large?1000", method=b"HEAD")
    assert (head.status, head.headers[b"content-length"], head.body) == (200, b"1000", b"")
    assert (await site.ask(b"/until-close")).body == b"all of it"
    assert len((await site.ask(b"/large?3000000")).body) == 3_000_000
    assert (await site.ask(b"/size", method=b"PUT", body=b"y" * 3_000_000)).body == b"3000000"
    assert len(site.function.containers()) == 1


async def test_a_fns_own_url_serves_all_that_is_below_it(site: Site) -> None:
    caller = await site.daemon.caller()
    answer = await caller.ask(b"DELETE", site.function.target + b"/deep/er?q=1")
    caller.close()
    told = json.loads(answer.body)
    assert (told["method"], told["path"], told["query"]) == ("DELETE", "/deep/er", "q=1")
    assert dict(told["headers"])["X-Forwarded-Prefix"] == site.function.target.decode()


async def test_other_functions_have_nothing_below_their_urls(daemon: LiveDaemon) -> None:
    function = daemon.function("plain")
    url = daemon.trigger(function, "plain")
    caller = await daemon.caller()
    assert message(await caller.ask(b"GET", url + b"/x")) == "Trigger not found"
    assert message(await caller.ask(b"POST", function.target + b"/x")) == "Fn not found"
    caller.close()


async def test_connections_to_the_server_are_used_again(site: Site) -> None:
    assert {(await site.told(b"/"))["connection"] for _ in range(5)} == {1}


# Streams and other protocols.


async def test_server_sent_events_come_as_they_are_sent(site: Site) -> None:
    caller = await site.daemon.caller()
    await caller.send(b"GET %b/events?3 HTTP/1.1\r\nHost: h\r\n\r\n" % site.url)
    _, headers = await caller.head()
    assert headers[b"content-type"] == b"text/event-stream"
    assert [part async for part in caller.chunks()] == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"]
    caller.close()


async def upgraded(site: Site, path: bytes = b"/socket") -> Caller:
    """Return a connection that speaks WebSocket."""
    caller = await site.daemon.caller()
    await caller.send(
        b"GET %b%b HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % (site.url, path)
    )
    status, headers = await caller.head()
    assert (status, headers[b"upgrade"].lower(), headers[b"connection"]) == (101, b"websocket", b"Upgrade")
    assert headers[b"sec-websocket-accept"] == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    return caller


async def test_a_web_socket_passes_both_ways(site: Site) -> None:
    caller = await upgraded(site)
    for number in range(3):
        frame = b"\x81\x03%d--" % number
        await caller.send(frame)
        assert await caller.exactly(5) == frame
    data = bytes(range(256)) * 4000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.send, data)
        assert await caller.exactly(len(data)) == data
    caller.close()
    await eventually(lambda: [c["state"] for c in site.function.containers()] == ["idle"])


async def test_a_web_socket_ends_with_its_callers_time_and_takes_nobody_with_it(
    daemon: LiveDaemon, made: list[Site]
) -> None:
    made.append(Site(daemon, "short", concurrency=4, timeout=2))
    caller = await upgraded(made[0])
    assert await caller.ended()
    caller.close()
    (container,) = made[0].function.containers()
    assert (container["state"], container["calls"]) == ("idle", 1)


async def test_an_upgrade_that_nobody_asked_for_is_no_answer(site: Site) -> None:
    answer = await site.ask(b"/switch")
    assert (answer.status, message(answer)) == (502, "invalid function response")


# Several at once.


async def test_a_container_serves_as_many_calls_at_once_as_its_fn_says(busy_site: Site) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(16):
            nursery.start_soon(busy_site.ask, b"/sleep?0.5")
    assert (await busy_site.ask(b"/most")).body == b"8"
    (container,) = busy_site.function.containers()
    assert container["calls"] == 17


async def test_a_fn_whose_format_serves_one_call_at_a_time_cannot_ask_for_more(daemon: LiveDaemon) -> None:
    with pytest.raises(Exception, match="concurrency 2 is too much for the format 'http-stream'"):
        daemon.function("greedy", concurrency=2)


async def test_a_call_that_times_out_ends_its_container_under_the_others(daemon: LiveDaemon, made: list[Site]) -> None:
    made.append(Site(daemon, "timeout", concurrency=4, max_containers=1, timeout=3))
    answers: list[Answer] = []
    await made[0].ask(b"/")

    async def ask(path: bytes) -> None:
        answers.append(await made[0].ask(path))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, b"/sleep?60")
        await trio.sleep(1.5)
        nursery.start_soon(ask, b"/sleep?2.5")
    assert [(answer.status, message(answer)) for answer in answers] == [
        (504, "Timed out"),
        (502, "the function's container was ended: another call that it served timed out"),
    ] or sorted(answer.status for answer in answers) == [502, 504]


async def test_a_caller_that_leaves_takes_nobody_with_it(busy_site: Site) -> None:
    caller = await busy_site.daemon.caller()
    await caller.send(b"GET %b/sleep?9 HTTP/1.1\r\nHost: h\r\n\r\n" % busy_site.url)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(busy_site.ask, b"/sleep?1")
        await eventually(lambda: any(c["running"] == 2 for c in busy_site.function.containers()))
        caller.close()
        await eventually(lambda: all(c["running"] == 1 for c in busy_site.function.containers()))
    assert len(busy_site.function.containers()) == 1


# Servers that do wrong.


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (b"/garbage", "invalid function response"),
        (b"/hang-up", "error receiving function response"),
        (b"/head", "function response header too large"),
        (b"/large?30000000", "function response body too large"),
        (b"/exit", "error receiving function response"),
    ],
)
async def test_a_server_that_does_wrong_is_answered_for(site: Site, path: bytes, says: str) -> None:
    answer = await site.ask(path)
    assert (answer.status, message(answer)) == (502, says)
    assert (await site.told(b"/"))["path"] == "/"


async def test_an_answer_that_nobody_asked_for_reaches_nobody(site: Site) -> None:
    for _ in range(2):
        answer = await site.ask(b"/forged")
        assert (answer.status, message(answer)) == (502, "invalid function response")
        assert (await site.told(b"/own"))["path"] == "/own"


# Readiness, ports, drivers.


async def test_a_server_is_ready_when_its_path_is_answered_well(daemon: LiveDaemon, made: list[Site]) -> None:
    made.append(Site(daemon, "slow", config={"FND_READY_PATH": "/ready"}))
    assert (await made[0].ask(b"/late")).body == b"late enough"


async def test_a_port_that_is_none_is_said_to_be(daemon: LiveDaemon, made: list[Site]) -> None:
    made.append(Site(daemon, "none", config={"PORT": "http"}))
    answer = await made[0].ask(b"/")
    assert (answer.status, message(answer)) == (502, "The configuration's PORT is 'http', which is no TCP port")


async def test_a_server_may_listen_on_a_port_of_its_own(daemon: LiveDaemon, made: list[Site]) -> None:
    made.append(Site(daemon, "port", config={"PORT": "8080"}, concurrency=4))
    made.append(Site(daemon, "other", config={"PORT": "8080"}))
    for site in made:
        told = [await site.told(b"/a?b") for _ in range(3)]
        assert [one["path"] for one in told] == ["/a"] * 3
        assert {one["connection"] for one in told} == {1}
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(made[0].ask, b"/sleep?0.5")
    assert (await made[0].ask(b"/most")).body == b"4"


@pytest.mark.parametrize("config", [{}, {"PORT": "8080"}], ids=["socket", "port"])
async def test_docker_containers_serve_on_either(docker_daemon: LiveDaemon, config: dict[str, str]) -> None:
    site = Site(docker_daemon, f"docker-{len(config)}", f"docker://{IMAGE}", config=config, concurrency=4)
    assert (await site.told(b"/a?b"))["path"] == "/a"
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(site.ask, b"/sleep?0.5")
    assert (await site.ask(b"/most")).body == b"4"
    caller = await upgraded(site)
    await caller.send(b"frame")
    assert await caller.exactly(5) == b"frame"
    caller.close()
    docker_daemon.control.delete(f"/v2/fns/{site.function.id}")


# Frameworks: the functions that `fnd init` makes.


async def greets(site: Site, name: str) -> bool:
    body = json.dumps({"name": name}).encode()
    answer = await site.ask(b"/", method=b"POST", headers=b"Content-Type: application/json\r\n", body=body)
    if answer.status == 502 and "No matching distribution found" in message(answer):
        missing("no package index with the framework answers")
    return (answer.status, json.loads(answer.body)) == (200, {"message": f"Hello, {name}"})


@pytest.mark.registry
@pytest.mark.parametrize("example", ["flask", "starlette"])
async def test_frameworks_serve_as_they_are(daemon: LiveDaemon, made: list[Site], example: str) -> None:
    made.append(Site(daemon, example, f"process://{EXAMPLES / example}", concurrency=4, timeout=300))
    site = made[0]
    assert await greets(site, "Ada")
    assert await greets(site, "Grace")
    if example == "flask":
        assert json.loads((await site.ask(b"/Eve")).body) == {"message": "Hello, Eve"}
        assert (await site.ask(b"/a/b")).status == 404
        return
    events = await site.ask(b"/events")
    assert events.body == b"data: Hello, Ada\n\ndata: Hello, Grace\n\ndata: Hello, world\n\n"
    caller = await upgraded(site, b"/talk")
    await caller.send(b"\x81\x83\x00\x00\x00\x00Ada")
    assert await caller.exactly(12) == b"\x81\x0aHello, Ada"
    caller.close()


async def test_nodes_http_serves_as_it_is(daemon: LiveDaemon, made: list[Site]) -> None:
    need_program("node", "nodejs")
    made.append(Site(daemon, "node", f"process://{EXAMPLES / 'node'}", concurrency=100, memory=256))
    assert await greets(made[0], "Ada")
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(greets, made[0], "Grace")
    assert len(made[0].function.containers()) == 1
