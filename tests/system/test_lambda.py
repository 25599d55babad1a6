"""Lambda functions through a real daemon: by runtimes as they are, and by ones that break the protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fnd.examples
from tests.http_caller import Answer, Ended
from tests.parts import missing, need_program
from tests.system.live_daemon import LiveDaemon, LiveFunction, eventually, live_daemon, message

pytestmark = pytest.mark.system

SETTINGS = """
start_timeout = 60.0
max_response_body_size = 1000000
"""
UNSANDBOXED = """
[plugins.process]
bubblewrap = "off"
"""
EXAMPLE = Path(fnd.examples.__file__).parent / "lambda-python"
SHELL = r"""#!/bin/sh
set -eu
API="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while :; do
  HEADERS=$(mktemp)
  EVENT=$(curl -sS -D "$HEADERS" "$API/next")
  ID=$(sed -n 's/^Lambda-Runtime-Aws-Request-Id: *\([A-Z0-9]*\).*/\1/p' "$HEADERS")
  rm "$HEADERS"
  curl -sS -o /dev/null -d "{\"handler\": \"$_HANDLER\", \"got\": $EVENT}" "$API/$ID/response"
done
"""


@pytest.fixture(scope="module", params=["sandboxed", "plain"])
def daemon(request: pytest.FixtureRequest) -> Iterator[LiveDaemon]:
    with live_daemon(settings=SETTINGS + (UNSANDBOXED if request.param == "plain" else "")) as daemon:
        yield daemon
        assert "Traceback" not in daemon.log


_made = iter(range(1000))


def runtime(daemon: LiveDaemon, mode: str = "", **fields: Any) -> LiveFunction:
    """Make a function of the runtime in programs/lambda_runtime.py."""
    name = f"f{next(_made)}"
    return daemon.function(name, "lambda_runtime.py", format="lambda", config={"MODE": mode}, **fields)


def of_directory(daemon: LiveDaemon, directory: Path, **fields: Any) -> LiveFunction:
    """Make a function of a directory."""
    runtime(daemon)  # which makes the app
    name = f"d{next(_made)}"
    body = {"name": name, "app_id": daemon.app_id, "image": f"process://{directory}", "format": "lambda", **fields}
    return LiveFunction(daemon, daemon.control.post("/v2/fns", body)["id"])


async def call(function: LiveFunction, event: Any) -> Answer:
    return await function.call(body=json.dumps(event).encode())


async def by_name(daemon: LiveDaemon, name: str, event: Any, headers: bytes = b"") -> Answer:
    caller = await daemon.caller()
    body = json.dumps(event).encode()
    answer = await caller.ask(b"POST", f"/2015-03-31/functions/{name}/invocations".encode(), headers, body)
    caller.close()
    return answer


async def test_it_is_hot(daemon: LiveDaemon) -> None:
    function = runtime(daemon)
    for number in range(5):
        answer = await call(function, {"number": number})
        assert (answer.status, json.loads(answer.body)) == (200, {"number": number})
        assert answer.headers[b"content-type"] == b"application/json"
        assert answer.headers[b"fnd-container"] == (b"warm" if number else b"cold")


async def test_it_finds_what_lambda_tells_a_function(daemon: LiveDaemon) -> None:
    function = runtime(daemon, memory=200)
    environment = json.loads((await call(function, {"do": "environment"})).body)
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "200"
    assert environment["AWS_LAMBDA_RUNTIME_API"].startswith("127.0.0.1:")
    assert environment["_HANDLER"].endswith("main.py")
    assert Path(environment["LAMBDA_TASK_ROOT"]).name in ("function", "lambda_runtime.py")


async def test_a_large_event_and_a_large_answer_go_through(daemon: LiveDaemon) -> None:
    event = {"text": "x" * 900_000}
    answer = await call(runtime(daemon), event)
    assert (answer.status, json.loads(answer.body) == event) == (200, True)


@pytest.mark.parametrize(
    ("do", "told", "status", "kept"),
    [
        ("error", "function failed", 502, True),
        ("unknown", "invalid function response", 502, False),
        ("skip", "invalid function response", 502, False),
        ("garbage", "invalid function response", 502, False),
        ("large", "function response body too large", 502, False),
        ("die", "error receiving function response", 502, False),
        ("never", "Timed out", 504, False),
    ],
)
async def test_a_failing_function_is_answered_for_and_the_next_call_works(
    daemon: LiveDaemon, do: str, told: str, status: int, kept: bool
) -> None:
    function = runtime(daemon, timeout=5 if do == "never" else 60)
    assert (await call(function, {})).status == 200
    answer = await call(function, {"do": do})
    assert (answer.status, message(answer)) == (status, told)
    answer = await call(function, {"a": 1})
    assert (answer.status, json.loads(answer.body)) == (200, {"a": 1})
    assert answer.headers[b"fnd-container"] == (b"warm" if kept else b"cold")


async def test_a_second_answer_ends_the_container_and_the_first_counts(daemon: LiveDaemon) -> None:
    function = runtime(daemon)
    answer = await call(function, {"do": "twice"})
    assert (answer.status, answer.body) == (200, b'"first"')
    await eventually(lambda: not function.containers())
    assert (await call(function, {})).status == 200


async def test_many_connections_are_bounded(daemon: LiveDaemon) -> None:
    function = runtime(daemon)
    await call(function, {})
    before = daemon.descriptors()
    answer = await call(function, {"do": "many"})
    assert daemon.descriptors() <= before + 20
    assert answer.status in (200, 502)


async def test_an_error_is_in_the_functions_log(daemon: LiveDaemon) -> None:
    function = runtime(daemon)
    answer = await call(function, {"do": "error"})
    call_id = answer.headers[b"fn-call-id"].decode()

    def logged() -> bool:
        lines = daemon.control.lines("GET", "/control/logs", fn=function.id, call=call_id, lines=100)
        return any(line["text"] == "invocation failed: Test.Error: as asked" for line in lines)

    await eventually(logged)


async def test_streamed_answers(daemon: LiveDaemon) -> None:
    function = runtime(daemon)
    answer = await call(function, {"do": "stream"})
    assert (answer.status, answer.body, answer.headers[b"content-type"]) == (200, b"onetwo", b"text/x")
    caller = await daemon.caller()
    with pytest.raises(Ended):
        await caller.ask(b"POST", function.target, body=b'{"do": "stream-error"}')
    caller.close()
    answer = await call(function, {"a": 1})
    assert (answer.status, answer.headers[b"fnd-container"]) == (200, b"warm")


@pytest.mark.parametrize(
    ("mode", "status", "told"),
    [
        ("init-error", 502, "Container failed to initialize: Test.Error: cannot start"),
        ("init-exit", 502, "Container failed to initialize, please ensure"),
    ],
)
async def test_a_function_that_cannot_start_is_told_of(daemon: LiveDaemon, mode: str, status: int, told: str) -> None:
    answer = await call(runtime(daemon, mode), {})
    assert answer.status == status
    assert message(answer).startswith(told)


async def test_a_function_that_hangs_at_its_start_is_told_of() -> None:
    with live_daemon(settings="start_timeout = 2.0\n") as daemon:
        answer = await call(runtime(daemon, "init-hang"), {})
    assert (answer.status, message(answer)[:36]) == (504, "Container initialization timed out, ")


async def test_through_a_trigger_it_is_an_http_event(daemon: LiveDaemon) -> None:
    function = runtime(daemon)
    target = daemon.trigger(function, f"t{next(_made)}")
    caller = await daemon.caller()
    answer = await caller.ask(b"PUT", target + b"?a=b", b"Content-Type: text/plain\r\nX-Y: z\r\n", b"hello")
    event = json.loads(answer.body)
    assert (answer.status, event["requestContext"]["http"]["method"], event["body"]) == (200, "PUT", "hello")
    assert (event["headers"]["x-y"], event["queryStringParameters"]) == ("z", {"a": "b"})
    caller.close()


# Calls by name.


async def test_it_is_called_by_name_as_lambdas_clients_do(daemon: LiveDaemon) -> None:
    function = runtime(daemon)
    name = daemon.control.get(f"/v2/fns/{function.id}")["name"]
    for named in (
        name,
        function.id,
        f"app:function:{name}",
        f"arn:aws:lambda:us-east-1:app:function:{name}",
        f"app%3Afunction%3A{name}:$LATEST",
    ):
        answer = await by_name(daemon, named, {"a": 1})
        assert (answer.status, json.loads(answer.body)) == (200, {"a": 1}), named
        assert answer.headers[b"x-amz-executed-version"] == b"$LATEST"
        assert b"x-amz-function-error" not in answer.headers


@pytest.mark.parametrize(
    ("do", "payload"),
    [
        ("error", {"errorMessage": "as asked", "errorType": "Test.Error"}),
        ("die", {"errorMessage": "error receiving function response", "errorType": "Runtime.ExitError"}),
        ("never", {"errorMessage": "Task timed out after 5.00 seconds", "errorType": "Sandbox.Timedout"}),
    ],
)
async def test_called_by_name_a_failure_is_an_answer(daemon: LiveDaemon, do: str, payload: dict[str, str]) -> None:
    function = runtime(daemon, timeout=5 if do == "never" else 60)
    answer = await by_name(daemon, function.id, {"do": do})
    assert (answer.status, answer.headers[b"x-amz-function-error"]) == (200, b"Unhandled")
    assert json.loads(answer.body) == payload
    record = daemon.control.get(f"/control/calls/{answer.headers[b'fn-call-id'].decode()}")
    assert record["state"] == "failed"


async def test_called_by_name_what_says_that_it_cannot_start_says_it_itself(daemon: LiveDaemon) -> None:
    answer = await by_name(daemon, runtime(daemon, "init-error").id, {})
    assert (answer.status, answer.headers[b"x-amz-function-error"]) == (200, b"Unhandled")
    assert json.loads(answer.body) == {"errorMessage": "cannot start", "errorType": "Test.Error"}


@pytest.mark.parametrize(
    ("name", "headers", "status", "error"),
    [
        ("{}", b"X-Amz-Invocation-Type: DryRun\r\n", 204, None),
        ("{}", b"X-Amz-Invocation-Type: Event\r\n", 400, b"InvalidParameterValueException"),
        ("{}", b"X-Amz-Invocation-Type: X\r\n", 400, b"InvalidParameterValueException"),
        ("{}", b"X-Amz-Client-Context: ?\r\n", 400, b"InvalidRequestContentException"),
        ("{}:7", b"", 404, b"ResourceNotFoundException"),
        ("nobody", b"", 404, b"ResourceNotFoundException"),
        ("other:function:f0", b"", 404, b"ResourceNotFoundException"),
    ],
)
async def test_errors_of_calls_by_name(
    daemon: LiveDaemon, name: str, headers: bytes, status: int, error: bytes | None
) -> None:
    function = runtime(daemon)
    named = daemon.control.get(f"/v2/fns/{function.id}")["name"]
    answer = await by_name(daemon, name.format(named), {}, headers)
    assert (answer.status, answer.headers.get(b"x-amzn-errortype")) == (status, error)
    if error:
        assert set(json.loads(answer.body)) == {"Type", "Message"}


# Runtimes as they are.


async def test_a_shell_script_and_curl_do(daemon: LiveDaemon, tmp_path: Path) -> None:
    need_program("curl", "curl")
    directory = daemon.directory / f"shell{next(_made)}"
    directory.mkdir()
    (directory / "bootstrap").write_text(SHELL)
    (directory / "bootstrap").chmod(0o755)
    (directory / "func.yaml").write_text("name: f\nruntime: shell\nentrypoint: ./bootstrap\ncmd: my.handler\n")
    function = of_directory(daemon, directory)
    for number in range(3):
        answer = await call(function, {"n": number})
        assert answer.status == 200, answer
        assert json.loads(answer.body) == {"handler": "my.handler", "got": {"n": number}}
        assert answer.headers[b"fnd-container"] == (b"warm" if number else b"cold")


@pytest.mark.registry
async def test_awslambdaric_and_the_example_as_they_are(daemon: LiveDaemon) -> None:
    function = of_directory(daemon, EXAMPLE, timeout=300)  # of which awslambdaric may take a part to be installed
    answer = await call(function, {"name": "Ada"})
    if answer.status == 502 and "No matching distribution found" in message(answer):
        missing("no package index with awslambdaric answers")
    assert (answer.status, json.loads(answer.body)) == (200, {"message": "Hello, Ada"})
    target = daemon.trigger(function, f"t{next(_made)}")
    caller = await daemon.caller()
    answer = await caller.ask(b"POST", target, b"Content-Type: application/json\r\n", b'{"name": "Eve"}')
    assert (answer.status, json.loads(answer.body)) == (200, {"message": "Hello, Eve"})
    assert answer.headers[b"fnd-container"] == b"warm"
    caller.close()
    answer = await by_name(daemon, function.id, {"requestContext": {}, "body": 1})
    assert answer.headers[b"x-amz-function-error"] == b"Unhandled"
    assert json.loads(answer.body)["errorType"] == "TypeError"


@pytest.mark.registry
async def test_awslambdaric_tells_why_a_handler_cannot_be_imported(daemon: LiveDaemon) -> None:
    directory = daemon.directory / f"broken{next(_made)}"
    directory.mkdir()
    (directory / "func.py").write_text("import nowhere_to_be_found\n")
    (directory / "requirements.txt").write_text((EXAMPLE / "requirements.txt").read_text())
    (directory / "func.yaml").write_text("name: f\nruntime: python\nentrypoint: python3 -m awslambdaric func.handler\n")
    answer = await call(of_directory(daemon, directory, timeout=300), {})
    if "No matching distribution found" in message(answer):
        missing("no package index with awslambdaric answers")
    assert answer.status == 502
    assert message(answer) == (
        "Container failed to initialize: Runtime.ImportModuleError: "
        "Unable to import module 'func': No module named 'nowhere_to_be_found'"
    )
