"""The launcher: it hands its socket over before the function starts, and tells it what Lambda would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from fnd.runtime.socket_watcher import watching_sockets
from fnd_http_stream import listener as unix_listener
from fnd_lambda import handover
from fnd_lambda.codec import LambdaCodec
from tests.unit.fnd_lambda.container import codec

TELLS = "import json, os; print(json.dumps(dict(os.environ)))"


async def launched(variables: Mapping[str, str], command: list[str]) -> tuple[dict[str, Any], int, int, str]:
    """Return what a program told, its exit code, the port it was given, and what it wrote to standard error."""
    made = codec()
    assert isinstance(made, LambdaCodec)
    with tempfile.TemporaryDirectory() as directory:
        environment = {"PATH": os.environ["PATH"], **made.environment(directory), **variables}
        process = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-I", "-S", "-c", made.launcher, *command],
            env=environment,
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with trio.fail_after(20):
            async with watching_sockets() as watcher:
                await watcher.wait_for(Path(directory), unix_listener.SOCKET_NAME)
            assert process.poll() is None
            with unix_listener.connect(Path(directory)) as connection:
                listener = await handover.receive_listener(connection)
            port = listener._sock.getsockname()[1]
            out, err = await trio.to_thread.run_sync(process.communicate)
        listener.close()
        told = json.loads(out) if out else {}
        told["directory"] = directory
        return told, process.returncode, port, err.decode()


async def test_the_function_is_told_where_its_api_is_and_what_it_is() -> None:
    told, code, port, _ = await launched(
        {"FN_FN_NAME": "cart", "FN_MEMORY": "256"}, [sys.executable, "-c", TELLS, "func.handler"]
    )
    assert code == 0
    assert told["AWS_LAMBDA_RUNTIME_API"] == f"127.0.0.1:{port}"
    assert told["_HANDLER"] == "func.handler"
    assert told["LAMBDA_TASK_ROOT"] == told["directory"]
    assert told["AWS_LAMBDA_FUNCTION_NAME"] == "cart"
    assert told["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert told["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert told["AWS_LAMBDA_LOG_GROUP_NAME"] == "/aws/lambda/cart"
    assert told["AWS_REGION"] == told["AWS_DEFAULT_REGION"] == "us-east-1"
    assert "FND_LAMBDA_SOCKET" not in told


async def test_the_configuration_may_say_otherwise() -> None:
    told, _, port, _ = await launched(
        {"_HANDLER": "a.b", "AWS_REGION": "eu-north-1", "AWS_LAMBDA_RUNTIME_API": "elsewhere"},
        [sys.executable, "-c", TELLS],
    )
    assert (told["_HANDLER"], told["AWS_DEFAULT_REGION"]) == ("a.b", "eu-north-1")
    assert told["AWS_LAMBDA_RUNTIME_API"] == f"127.0.0.1:{port}"


async def test_a_command_that_is_not_there_is_told() -> None:
    _, code, _, err = await launched({}, ["/no/such/program"])
    assert (code, err) == (1, "/no/such/program cannot be started: No such file or directory\n")


def test_the_socket_has_a_name_that_fits() -> None:
    assert len(unix_listener.SOCKET_NAME) + len("phony") <= 14
