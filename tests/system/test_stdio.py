"""Functions that speak over standard input and output, through real daemons: in a shell, in Python, in C, in Docker."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from fnd.bundle import read_function_file
from fnd.cli.init import make_function
from fnd.ids import new_id
from fnd_docker.engine import KEPT_CONNECTIONS
from tests.http_caller import Answer
from tests.parts import need_program
from tests.private_docker import PrivateDocker, add_program
from tests.system.live_daemon import PROGRAMS, LiveDaemon, LiveFunction, eventually, live_daemon, message

pytestmark = pytest.mark.system

SETTINGS = """
start_timeout = 30.0
max_response_header_size = 4096
max_response_body_size = 20000000
"""
LOST = "error receiving function response"
INVALID = "invalid function response"


STDIO_IMAGE = "fnd-test/stdio:1"


@pytest.fixture(scope="module")
def daemon() -> Iterator[LiveDaemon]:
    with live_daemon(settings=SETTINGS) as daemon:
        yield daemon
        assert "Traceback" not in daemon.log


@pytest.fixture(scope="module")
def docker_daemon(docker: PrivateDocker) -> Iterator[LiveDaemon]:
    add_program(docker, STDIO_IMAGE, PROGRAMS / "stdio_function.py")
    with live_daemon(settings=f'{SETTINGS}\n[plugins.docker]\nhost = "{docker.host}"\n') as daemon:
        yield daemon
        assert "Traceback" not in daemon.log


@attrs.define
class Functions:
    """Makes functions of one test."""

    daemon: LiveDaemon
    in_docker: bool = False
    made: list[LiveFunction] = attrs.field(factory=list)

    def of(self, image: str, **fields: Any) -> LiveFunction:
        """Put an image into service."""
        if not self.daemon.app_id:
            self.daemon.app_id = self.daemon.control.post("/v2/apps", {"name": "app"})["id"]
        body = {"name": f"f{len(self.made)}", "app_id": self.daemon.app_id, "image": image, **fields}
        function = LiveFunction(self.daemon, self.daemon.control.post("/v2/fns", body)["id"])
        self.made.append(function)
        return function

    def program(self, format_: str, **fields: Any) -> LiveFunction:
        """Put the program that does as it is told into service."""
        if self.in_docker:
            return self.of(f"docker://{STDIO_IMAGE}", format=format_, **fields)
        directory = self.directory("python main.py", "python")
        shutil.copy(PROGRAMS / "stdio_function.py", directory / "main.py")
        return self.of(f"process://{directory}", format=format_, **fields)

    def script(self, text: str, **fields: Any) -> LiveFunction:
        """Put a shell script into service by the format default."""
        directory = self.directory("./main", "command")
        (directory / "main").write_text(f"#!/bin/sh\n{text}\n")
        (directory / "main").chmod(0o755)
        return self.of(f"process://{directory}", format="default", **fields)

    def place(self) -> Path:
        """Return where a function may lie that is none yet."""
        return self.daemon.directory / "functions" / new_id()

    def directory(self, entrypoint: str, runtime: str) -> Path:
        """Return a new directory, which lacks the program only."""
        directory = self.place()
        directory.mkdir(parents=True)
        (directory / "func.yaml").write_text(f"name: f\nruntime: {runtime}\nentrypoint: {entrypoint}\n")
        return directory


@asynccontextmanager
async def made_and_deleted(daemon: LiveDaemon, docker: PrivateDocker | None = None) -> AsyncIterator[Functions]:
    """Functions which are deleted at the end, when nothing may be left of them."""
    daemon.status()  # opens the control connection
    descriptors = daemon.descriptors() + (0 if docker is None else KEPT_CONNECTIONS)
    functions = Functions(daemon, in_docker=docker is not None)
    yield functions
    for function in functions.made:
        daemon.control.delete(f"/v2/fns/{function.id}")
    await eventually(lambda: not daemon.containers_left())
    await eventually(lambda: daemon.status()["memory_reserved"] == 0)
    assert docker is None or docker.containers() == []
    await eventually(lambda: daemon.descriptors() <= descriptors)


@pytest.fixture
async def functions(daemon: LiveDaemon) -> AsyncIterator[Functions]:
    """Functions as processes of this host."""
    async with made_and_deleted(daemon) as functions:
        yield functions


@pytest.fixture(params=["process", "docker"])
def anywhere(request: pytest.FixtureRequest) -> tuple[LiveDaemon, PrivateDocker | None]:
    """A daemon for functions of either driver."""
    if request.param == "process":
        return request.getfixturevalue("daemon"), None
    return request.getfixturevalue("docker_daemon"), request.getfixturevalue("docker")


@pytest.fixture
async def programs(anywhere: tuple[LiveDaemon, PrivateDocker | None]) -> AsyncIterator[Functions]:
    """Functions of either driver."""
    daemon, docker = anywhere
    async with made_and_deleted(daemon, docker) as functions:
        yield functions


def outcome(answer: Answer) -> tuple[int, bytes]:
    return answer.status, answer.body


# default.


async def test_a_shell_script_is_a_function(functions: Functions) -> None:
    function = functions.script('tr a-z A-Z; echo "$FN_METHOD $FN_HEADER_X_Y $FN_FORMAT"; echo logged >&2')
    for _ in range(2):
        answer = await function.call(body=b"hello ", headers=b"x-y: z\r\n")
        assert outcome(answer) == (200, b"HELLO POST z default\n")
        assert answer.headers[b"fnd-container"] == b"cold"
    trigger = functions.daemon.trigger(function, "upper")
    caller = await functions.daemon.caller()
    answer = await caller.ask(b"PUT", trigger, b"", b"a")
    assert answer.body == b"A" + b"PUT  default\n"
    caller.close()


async def test_any_program_is_a_function(programs: Functions) -> None:
    function = programs.program("default")
    for body in (b"", b"hello", bytes(range(256)) * 3_000):
        answer = await function.call(body=body)
        assert outcome(answer) == (200, body)
        assert answer.headers[b"fnd-container"] == b"cold"
    assert outcome(await function.call("tell FN_METHOD")) == (200, b"POST")
    assert message(await function.call("exit 3", body=b"x")) == "function failed: exit code 3"


async def test_a_call_finds_who_it_is_and_where_it_was_sent(functions: Functions) -> None:
    function = functions.script('echo "$FN_CALL_ID $FN_REQUEST_URL"; [ -n "$FN_DEADLINE" ] && [ -n "$FN_FN_ID" ]')
    answer = await function.call()
    call_id, url = answer.body.split()
    assert call_id == answer.headers[b"fn-call-id"]
    assert url == b"http://here" + function.target


async def test_how_a_script_exits_is_how_it_went(functions: Functions) -> None:
    assert message(await functions.script("echo ok; exit 3").call()) == "function failed: exit code 3"
    assert message(await functions.script("kill -9 $$").call()).startswith("function failed: ")
    assert outcome(await functions.script("exit 0").call(body=b"x" * 1_000_000)) == (200, b"")


async def test_large_bodies_go_through_a_script_both_ways(functions: Functions) -> None:
    body = bytes(range(256)) * 40_000
    target = functions.script("cat").target
    caller = await functions.daemon.caller()
    request = b"POST %b HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n%b" % (target, len(body), body)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.send, request)  # which would never end if nobody read the answer meanwhile
        assert outcome(await caller.answer()) == (200, body)
    caller.close()


async def test_a_script_that_does_not_end_is_given_up_at_its_deadline(functions: Functions) -> None:
    answer = await functions.script("sleep 1000", timeout=1).call()
    assert (answer.status, message(answer)) == (504, "Timed out")


async def test_many_calls_at_once_have_a_process_each(functions: Functions) -> None:
    function = functions.script("cat; echo $$")
    answers: list[tuple[int, bytes]] = []

    async def call(number: int) -> None:
        answer = await function.call(body=b"%d " % number)
        answers.append((answer.status, answer.body.split()[0]))

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(call, number)
    assert sorted(answers) == sorted((200, b"%d" % number) for number in range(20))


async def test_what_cannot_be_started_fails_its_call(functions: Functions) -> None:
    directory = functions.directory("./main", "command")
    (directory / "main").write_text("#!/nowhere/sh\n")
    (directory / "main").chmod(0o755)
    answer = await functions.of(f"process://{directory}", format="default").call()
    assert answer.status == 502


# json and http.


@pytest.mark.parametrize("format_", ["json", "http"])
async def test_a_hot_function_answers_call_after_call(programs: Functions, format_: str) -> None:
    function = programs.program(format_, max_containers=1)
    processes = set()
    for number in range(20):
        body = b"body %d" % number
        answer = await function.call(body=body)
        assert outcome(answer) == (200, body)
        assert answer.headers[b"fn-http-status"] == b"201"
        processes.add(answer.headers[b"fn-http-h-x-pid"])
    assert len(processes) == 1
    caller = await programs.daemon.caller()
    answer = await caller.ask(b"PUT", programs.daemon.trigger(function, format_), b"", b"x")
    assert (answer.status, answer.body) == (201, b"x")
    assert answer.headers[b"x-pid"] in processes
    caller.close()


@pytest.mark.parametrize("format_", ["json", "http"])
async def test_large_bodies_go_through_both_ways(programs: Functions, format_: str) -> None:
    function = programs.program(format_)
    for body in (b"x" * 100_000, b"y" * 5_000_000):
        assert outcome(await function.call(body=body)) == (200, body)
    (container,) = function.containers()
    assert container["calls"] == 2


HTTP_OK = r"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
JSON_OK = r'{"body":"ok"}\n'


@pytest.mark.parametrize(
    ("format_", "do", "status", "told"),
    [
        ("json", "raw Starting...\\n", 502, INVALID),
        ("json", f"raw {JSON_OK}{JSON_OK}", 502, INVALID),
        ("json", "raw {]\\n", 502, INVALID),
        ("json", "twice", 502, INVALID),
        ("json", "die", 502, LOST),
        ("json", "hang", 504, "Timed out"),
        ("json", "pour", 502, "function response body too large"),
        ("http", "raw Starting...\\n", 502, INVALID),
        ("http", f"raw {HTTP_OK}{HTTP_OK}", 502, INVALID),
        ("http", "raw HTTP/1.1 200 OK\\r\\n\\r\\n", 502, INVALID),
        ("http", "twice", 502, INVALID),
        ("http", "die", 502, LOST),
        ("http", "hang", 504, "Timed out"),
    ],
)
async def test_what_is_no_answer_fails_the_call_and_ends_the_container(
    programs: Functions, format_: str, do: str, status: int, told: str
) -> None:
    function = programs.program(format_, timeout=3 if do == "hang" else 30)
    await function.call()
    (container,) = function.containers()
    answer = await function.call(do)
    assert (answer.status, message(answer)) == (status, told)
    answer = await function.call(body=b"next")
    assert outcome(answer) == (200, b"next")
    assert container["id"] not in {container["id"] for container in function.containers()}


@pytest.mark.parametrize("format_", ["json", "http"])
async def test_what_comes_unasked_fails_the_next_call_and_ends_the_container(programs: Functions, format_: str) -> None:
    function = programs.program(format_)
    assert outcome(await function.call("later", body=b"x")) == (200, b"x")
    await trio.sleep(0.5)
    answer = await function.call(body=b"y")
    assert (answer.status, message(answer)) == (502, INVALID)
    assert outcome(await function.call(body=b"z")) == (200, b"z")


async def test_events_come_and_go_in_headers(functions: Functions) -> None:
    function = functions.program("cloudevents-1.0", max_containers=1)
    trigger = functions.daemon.trigger(function, "events")
    event = b"ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /c\r\nce-type: ask\r\ncontent-type: text/plain\r\n"
    caller = await functions.daemon.caller()
    for target, status in ((function.target, 200), (trigger, 201)):
        answer = await caller.ask(b"POST", target, event, b"hello")
        assert outcome(answer) == (status, b"hello")
        told = {name: value for name, value in answer.headers.items() if name.startswith(b"ce-")}
        assert told.pop(b"ce-id").isdigit()
        assert told == {b"ce-specversion": b"1.0", b"ce-source": b"/f", b"ce-type": b"answer"}
    assert (await caller.ask(b"POST", trigger, event.replace(b"ce-id", b"ce-no"), b"hello")).status == 400
    answer = await caller.ask(b"POST", trigger, event + b"ce-do: twice\r\n", b"hello")
    assert (answer.status, message(answer)) == (502, INVALID)
    caller.close()


async def test_an_event_of_fns_own_version_is_answered_like_any_call(programs: Functions) -> None:
    function = programs.program("cloudevent", max_containers=1)
    for _ in range(3):
        answer = await function.call(body=b"hello", headers=b"content-type: text/plain\r\n")
        assert outcome(answer) == (200, b"hello")
        assert answer.headers[b"fn-http-status"] == b"201"
    assert len(function.containers()) == 1


async def test_a_program_in_c_is_a_function(functions: Functions) -> None:
    need_program("cc", "gcc libc6-dev")
    directory = functions.directory("./main", "command")
    command = ["cc", "-O2", "-Wall", "-Werror", "-o", str(directory / "main"), str(PROGRAMS / "json_function.c")]
    await trio.run_process(command)
    function = functions.of(f"process://{directory}", format="json", max_containers=1, memory=32)
    for body in (b"hello", b'"\\\n}\n', "\u20ac".encode(), b"x" * 100_000):
        answer = await function.call(body=body)
        assert outcome(answer) == (200, body)
        assert (answer.headers[b"fn-http-status"], answer.headers[b"fn-http-h-x-language"]) == (b"201", b"C")
    assert message(await function.call(body=b"exit")) == LOST
    assert outcome(await function.call(body=b"again")) == (200, b"again")


@pytest.mark.parametrize(
    ("runtime", "body", "answer"),
    [("shell", b"Ada", b"Hello, Ada\n"), ("json", b'{"name": "Ada"}', b'{"message": "Hello, Ada"}')],
)
async def test_what_init_makes_runs_as_it_is(functions: Functions, runtime: str, body: bytes, answer: bytes) -> None:
    directory = functions.place()
    make_function(directory, runtime, "greeter")
    file = read_function_file(directory)
    function = functions.of(f"process://{directory}", format=file.format, memory=file.memory)
    for _ in range(2):
        assert outcome(await function.call(body=body)) == (200, answer)
