"""The codec keeps what fnd promises of codecs, and functions of its format are served in a real daemon."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import pytest
from fnd_skeleton.codec import SkeletonCodec

from fnd.hookspecs import Codec, CodecContext
from fnd.testing import Call, CodecConformance, Deploy, Deployed, Wire

FUNCTION = Path(__file__).parent / "function"


class TestSkeletonCodec(CodecConformance):
    """The tests play the function; these methods say what the format looks like from there."""

    def make_codec(self, context: CodecContext) -> Codec:
        return SkeletonCodec(context)

    async def take(self, wire: Wire) -> Call:
        body = b""
        while size := int(await wire.until(b"\n")):
            body += await wire.exactly(size)
        return Call(body)

    def answer(self, call: Call, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
        parts = (body[at : at + 60_000] for at in range(0, len(body), 60_000))
        return b"".join(b"%d\n%b" % (len(part), part) for part in parts) + b"0\n"

    def lies(self, call: Call) -> Mapping[str, bytes]:
        return {"no number": b"x\nhello0\n", "a number below nothing": b"-1\n", "a huge part": b"99999999\n"}

    def endless(self, call: Call) -> Mapping[str, tuple[bytes, bytes]]:
        return {"a number": (b"", b"1"), "a body": (b"", b"1\nx")}


@pytest.fixture
def function(fnd_deploy: Deploy) -> Deployed:
    return fnd_deploy(FUNCTION)


@pytest.mark.parametrize("body", [b"", b"hello", bytes(range(256)) * 4000], ids=["empty", "short", "long"])
def test_bodies_pass_both_ways(function: Deployed, body: bytes) -> None:
    answer = function.call(body)
    assert (answer.status_code, answer.content) == (200, body)


def test_a_body_of_unknown_length_passes(function: Deployed) -> None:
    answer = function.call(iter([b"one", b"two"]))
    assert (answer.status_code, answer.content) == (200, b"onetwo")


def test_a_container_serves_one_call_after_another(function: Deployed) -> None:
    assert len({function.call("who").text for _ in range(5)}) == 1


@pytest.mark.parametrize("lie", ["no number", "negative", "huge", "endless number"])
def test_one_that_breaks_the_format_fails_its_call_and_no_other(function: Deployed, lie: str) -> None:
    before = function.call("who").text
    assert function.call(lie).status_code == 502
    answer = function.call("who")
    assert answer.status_code == 200
    assert answer.text != before, "the container is not used again"


def test_what_was_not_asked_for_is_no_other_calls_answer(function: Deployed) -> None:
    with contextlib.suppress(httpx.RemoteProtocolError):  # it may have begun to be answered when that comes
        function.call("two answers")
    assert "again" not in function.call("hello").text


def test_one_that_ends_fails_its_call_and_no_other(function: Deployed) -> None:
    assert function.call("exit").status_code == 502
    assert function.call("hello").text == "hello"


def test_what_it_writes_to_standard_error_is_its_log(function: Deployed) -> None:
    function.call("hello")
    assert "called with 5 bytes" in function.log()
