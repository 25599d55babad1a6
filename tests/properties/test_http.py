"""However the bytes of callers are cut into segments, and whatever they are, the server keeps to HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import pairwise

import attrs
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from fnd.http.connection import Connection
from fnd.http.request import Request, RequestLimits
from fnd.http.server import ServerLimits
from fnd.http.wire import Headers
from tests.http_caller import HOST, Ended, serving

TOKENS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
FRAMING = ("host", "content-length", "transfer-encoding", "expect", "connection", "upgrade")


@attrs.frozen
class Asked:
    """A request as its caller means it; `chunks` of a body in chunks, or None for one with a length."""

    method: bytes
    target: bytes
    headers: Headers
    body: bytes
    chunks: Sequence[int] | None = None

    def encode(self) -> bytes:
        """Return its bytes."""
        lines = [b"%b %b HTTP/1.1\r\n" % (self.method, self.target), HOST]
        lines += [b"%b: %b\r\n" % header for header in self.headers]
        if self.chunks is None:
            length = b"Content-Length: %d\r\n" % len(self.body) if self.body else b""
            return b"".join([*lines, length, b"\r\n", self.body])
        parts = []
        rest = self.body
        for size in self.chunks:
            part, rest = rest[:size], rest[size:]
            parts.append(b"%x\r\n%b\r\n" % (len(part), part) if part else b"")
        parts.append(b"%x\r\n%b\r\n" % (len(rest), rest) if rest else b"")
        return b"".join([*lines, b"Transfer-Encoding: chunked\r\n\r\n", *parts, b"0\r\n\r\n"])


names = st.text(TOKENS, min_size=1, max_size=12).filter(lambda name: name.lower() not in FRAMING).map(str.encode)
values = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20).map(str.encode)
requests = st.builds(
    Asked,
    method=st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"]),
    target=st.text(TOKENS.replace("#", "/?"), max_size=20).map(lambda path: b"/" + path.encode()),
    headers=st.lists(st.tuples(names, values), max_size=4),
    body=st.one_of(st.binary(max_size=50), st.integers(0, 20_000).map(bytes)),
    chunks=st.none() | st.lists(st.integers(1, 5000), max_size=5),
)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run on a clock that jumps to the next deadline whenever nothing else happens."""
    trio.run(scenario, clock=MockClock(autojump_threshold=0))


async def see(seen: list[Asked], connection: Connection, request: Request) -> None:
    parts = [request.first]
    while not request.complete:
        parts.append(await request.receive())
    headers = [header for header in request.headers if header[0].lower().decode() not in FRAMING]
    seen.append(Asked(request.method, request.target, headers, b"".join(parts)))
    await connection.respond(200, [], b"%d" % len(seen))


@given(st.lists(requests, min_size=1, max_size=6), st.lists(st.integers(0, 1 << 20), max_size=20))
def test_the_same_requests_are_read_however_their_bytes_are_cut_into_segments(
    asked: list[Asked], cuts: list[int]
) -> None:
    stream = b"".join(request.encode() for request in asked)
    places = sorted({cut % (len(stream) + 1) for cut in cuts} | {0, len(stream)})
    segments = [stream[start:end] for start, end in pairwise(places)]
    seen: list[Asked] = []

    async def scenario() -> None:
        async with serving(partial(see, seen)) as here, trio.open_nursery() as nursery:
            caller = await here.caller()

            async def send() -> None:
                for segment in segments:
                    await caller.send(segment)
                    await wait_all_tasks_blocked()

            nursery.start_soon(send)
            for number in range(len(asked)):
                assert (await caller.answer()).body == b"%d" % (number + 1)

    run(scenario)
    assert seen == [attrs.evolve(request, chunks=None) for request in asked]


words = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST / HTTP/1.1\r\n" + HOST,
        b"GET ",
        b"POST ",
        b"/ ",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"\r\n",
        b"\r",
        b"\n",
        b"\0",
        b": ",
        b" ",
        b";",
        b"0",
        b"5",
        b"fffffffffffffff",
        b"hello",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n",
        b"a" * 5000,
    ]
)
hostile = st.one_of(
    st.binary(max_size=2000),
    st.lists(words | st.binary(max_size=4), max_size=12).map(b"".join),
    st.tuples(requests.map(Asked.encode), st.integers(0, 200), st.binary(max_size=3)).map(
        lambda mutation: mutation[0][: mutation[1]] + mutation[2] + mutation[0][mutation[1] :]
    ),
)
REFUSALS = {400, 405, 408, 413, 414, 417, 431}


@given(st.lists(hostile, min_size=1, max_size=3))
@example([b"POST / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"])
def test_any_bytes_are_answered_by_the_handler_or_refused_and_harm_nobody_else(segments: list[bytes]) -> None:
    limits = ServerLimits(request=RequestLimits(start_line=1000, header=4000, body=8000))
    seen: list[Asked] = []

    async def scenario() -> None:
        async with serving(partial(see, seen), limits) as here:
            caller = await here.caller()
            statuses = []
            unread = "after b''"
            try:
                for segment in segments:
                    await caller.send(segment)
                    await wait_all_tasks_blocked()
            except trio.BrokenResourceError:
                pass  # refused already
            try:
                while True:
                    statuses.append((await caller.answer()).status)
            except trio.BrokenResourceError:
                pass  # it went on sending after the end
            except Ended as end:
                unread = str(end)
            assert unread == "after b''"
            *served, last = [status for status in statuses if status != 100] or [200]
            assert set(served) <= {200}
            assert last in REFUSALS | {200}
            assert (await (await here.caller()).ask()).status == 200

    with capture_logs() as logs:
        run(scenario)
    assert logs == []
