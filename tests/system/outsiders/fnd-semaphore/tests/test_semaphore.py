"""The codec keeps what codecs promise, and serves functions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from fnd_semaphore.codec import HEAD, LARGEST, SemaphoreCodec

from fnd.hookspecs import Codec, CodecContext
from fnd.testing import Call, CodecConformance, Deploy, Deployed, Function, RunningDaemon, Wire

FUNCTION = Path(__file__).parent / "function"


def frame(kind: bytes, content: bytes = b"") -> bytes:
    return HEAD.pack(kind, len(content)) + content


class TestSemaphore(CodecConformance):
    def make_codec(self, context: CodecContext) -> Codec:
        return SemaphoreCodec(context)

    async def start(self, function: Function) -> Wire:
        return await function.accept(function.listen(function.environment["SEMAPHORE"]))

    async def take(self, wire: Wire) -> Call:
        body = b""
        while True:
            kind, size = HEAD.unpack(await wire.exactly(HEAD.size))
            if kind == b"E":
                return Call(body)
            body += await wire.exactly(size)

    def answer(self, call: Call, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
        parts = (body[at : at + LARGEST] for at in range(0, len(body), LARGEST))
        return frame(b"H", b"text/plain") + b"".join(frame(b"B", part) for part in parts) + frame(b"E")

    def failure(self, call: Call) -> bytes:
        return frame(b"F", b"no")

    def lies(self, call: Call) -> Mapping[str, bytes]:
        return {
            "another kind": frame(b"Z"),
            "a body without a head": frame(b"B", b"hello"),
            "a huge frame": HEAD.pack(b"H", 1 << 31),
            "a content type of two lines": frame(b"H", b"text/plain\r\nX: y"),
            "an end with content": frame(b"H", b"text/plain") + frame(b"E", b"x"),
            "an empty part": frame(b"H", b"text/plain") + frame(b"B"),
        }

    def endless(self, call: Call) -> Mapping[str, tuple[bytes, bytes]]:
        return {"a body": (frame(b"H", b"text/plain"), frame(b"B", b"x"))}


@pytest.fixture
def function(fnd_deploy: Deploy) -> Deployed:
    return fnd_deploy(FUNCTION)


def test_it_is_found(fnd_daemon: RunningDaemon) -> None:
    found = {plugin["name"]: plugin for plugin in fnd_daemon.control.get("/control/plugins")["plugins"]}
    assert found["semaphore"]["distribution"] == "fnd-semaphore"
    assert found["semaphore"]["offers"] == ["codec semaphore"]


@pytest.mark.parametrize("body", [b"", b"hello", bytes(range(256)) * 4000], ids=["empty", "short", "long"])
def test_bodies_pass_both_ways(function: Deployed, body: bytes) -> None:
    answer = function.call(body)
    assert (answer.status_code, answer.content) == (200, body)
    assert answer.headers["content-type"] == "text/plain"


@pytest.mark.parametrize("wrong", ["fail", "lie", "huge", "leave"])
def test_what_goes_wrong_fails_its_call_and_no_other(function: Deployed, wrong: str) -> None:
    assert function.call(wrong).status_code == 502
    assert function.call("hello").text == "hello"


def test_its_command_is_one_of_fnds(function: Deployed) -> None:
    command = [sys.executable, "-m", "fnd", "--control", str(function.daemon.own.control), "semaphore"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"
