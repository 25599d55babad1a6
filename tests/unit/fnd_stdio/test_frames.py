"""Where a frame ends, whatever it holds and however it is cut: the quick way finds what the plain one does."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnd.hookspecs import FunctionBodyTooLarge, InvalidFunctionResponse
from fnd_stdio import frames
from fnd_stdio.frames import DEEPEST, FrameReader

WORDS = [b"{", b"}", b"[", b"]", b'"', b"\\", b'\\"', b"a", b'"a"', b'"}"', b"[]", b"{}", b",", b'"\\\\"', b" ", b"\n"]


def read(pieces: list[bytes]) -> tuple[int, bytes | str | None]:
    """Feed these pieces; return after how many there was something, and what."""
    reader = FrameReader(1 << 20)
    for number, piece in enumerate(pieces):
        try:
            frame = reader.feed(piece)
        except InvalidFunctionResponse:
            return number, "refused"
        if frame is not None:
            return number, frame
    return len(pieces), None


@given(words=st.lists(st.sampled_from(WORDS), max_size=60), cuts=st.lists(st.integers(0, 100), max_size=4))
def test_the_quick_way_and_the_plain_one_agree(words: list[bytes], cuts: list[int]) -> None:
    data = b"{" + b"".join(words)
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(bounds) if start < end]
    found = []
    for few in (1, 3, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(frames, "_FEW", few)
            found.append(read(pieces))
    assert found[0] == found[1] == found[2]


@given(
    value=st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    ),
    size=st.integers(1, 50),
)
def test_what_json_writes_is_a_frame_however_it_is_cut(value: object, size: int) -> None:
    data = json.dumps({"value": value}, ensure_ascii=False).encode()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert read(pieces) == (len(pieces) - 1, data)


@pytest.mark.parametrize("size", [1, 5000, 65536])
@pytest.mark.parametrize("pattern", [b"[],", b'"",', b'"}",', b"[" * 90 + b"]" * 90 + b",", b"1,"])
def test_large_ones_end_where_they_do(pattern: bytes, size: int) -> None:
    data = b'{"a":[' + pattern * (20_000 // len(pattern)) + b"0]}"
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert read(pieces) == (len(pieces) - 1, data)


@pytest.mark.parametrize("size", [1, 5000, 65536])
def test_what_goes_too_deep_is_refused(size: int) -> None:
    def nested(levels: int) -> bytes:
        return b'{"a":' + b"[" * (levels - 1) + b" " * 10_000 + b"]" * (levels - 1) + b"}"

    for levels, refused in ((DEEPEST, False), (2 * DEEPEST, True)):
        data = nested(levels)
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert (read(pieces)[1] == "refused") is refused


def test_one_that_comes_in_the_smallest_pieces_has_its_bound_too() -> None:
    reader = FrameReader(1000)
    with pytest.raises(FunctionBodyTooLarge):
        for piece in [b'{"', *[b"xy"] * 1000]:
            assert reader.feed(piece) is None
