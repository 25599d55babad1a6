"""A container's output, multiplexed by the engine, comes apart however it is cut on its way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnd_docker.frames import BadFrame, Frames

frames = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=300)), max_size=20)


def encoded(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4) + data


@given(frames, st.lists(st.integers(1, 50)))
def test_each_stream_comes_whole_and_in_order_however_it_is_cut(
    written: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    data = b"".join(encoded(stream, part) for stream, part in written)
    taken = {"stdout": b"", "stderr": b""}
    decoder = Frames()
    sizes = iter(cuts)
    while data:
        size = next(sizes, len(data))
        for name, part in decoder.feed(data[:size]):
            assert part
            taken[name] += part
        data = data[size:]
    assert taken["stdout"] == b"".join(part for stream, part in written if stream == 1)
    assert taken["stderr"] == b"".join(part for stream, part in written if stream == 2)


@given(st.binary(max_size=2000))
def test_whatever_comes_is_taken_or_refused(data: bytes) -> None:
    decoder = Frames()
    try:
        given_out = sum(len(part) for _, part in decoder.feed(data))
    except BadFrame:
        return
    assert given_out <= len(data)


@pytest.mark.parametrize("data", [b"HTTP/1.1 500", bytes([3, 0, 0, 0, 0, 0, 0, 1]), bytes([1, 0, 1, 0, 0, 0, 0, 1])])
def test_what_is_no_such_stream_is_refused(data: bytes) -> None:
    with pytest.raises(BadFrame):
        list(Frames().feed(data))


def test_a_frame_that_says_it_is_endless_is_not_gathered() -> None:
    decoder = Frames()
    assert list(decoder.feed(bytes([1, 0, 0, 0, 255, 255, 255, 255]))) == []
    assert list(decoder.feed(b"x" * 1000)) == [("stdout", b"x" * 1000)]
