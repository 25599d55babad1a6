"""What each kind of setting takes and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnd.setting_kinds import (
    MAX_UNIX_PATH,
    Choice,
    Directory,
    ListenAddress,
    Listeners,
    Seconds,
    Size,
    SocketPath,
    Switch,
    Tables,
    Whole,
    Word,
)

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ListenAddress("127.0.0.1", 8080)),
        ("localhost:0", ListenAddress("localhost", 0)),
        ("[::1]:8080", ListenAddress("::1", 8080)),
        ("unix:/run/fnd/calls.sock", ListenAddress(path=Path("/run/fnd/calls.sock"))),
    ],
)
def test_an_address_is_read_and_prints_as_it_was_written(text: str, address: ListenAddress) -> None:
    assert ListenAddress.parse(text) == address
    assert str(address) == text


def test_a_relative_socket_path_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert ListenAddress.parse("unix:a.sock").path == tmp_path / "a.sock"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("8080", "neither HOST:PORT nor unix:PATH"),
        (":8080", "neither HOST:PORT nor unix:PATH"),
        ("localhost", "neither HOST:PORT nor unix:PATH"),
        ("localhost:", "port is not a number"),
        ("localhost:65536", "port is not a number"),
        ("localhost:-1", "port is not a number"),
        ("localhost:٣", "port is not a number"),
        ("::1:8080", "goes in brackets"),
        ("[::g]:8080", "::g"),
        ("a b:8080", "not a host name"),
        ("http://a:80", "goes in brackets"),
        ("unix:", "not a path"),
        ("unix:/" + "x" * MAX_UNIX_PATH, "at most 107 bytes"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ListenAddress.parse(text)


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = ListenAddress.parse(text)
    except ValueError:
        return
    assert ListenAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    ("kind", "given_value", "value"),
    [
        (Whole(1, 10), "7", 7),
        (Whole(1, 10), 10, 10),
        (Size(0, 1 << 40), "64KiB", 65536),
        (Size(0, 1 << 40), "64 KiB", 65536),
        (Size(0, 1 << 40), 512, 512),
        (Size(0, 1 << 20, unit=MIB), "2GiB", 2048),
        (Size(0, 1 << 20, unit=MIB), "256", 256),
        (Seconds(), "0.5", 0.5),
        (Seconds(), 30, 30.0),
        (Switch(), "on", True),
        (Switch(), "NO", False),
        (Switch(), True, True),
        (Choice(("a", "b", "c")), "B", "b"),
        (Word("[a-z]+", "letters"), "abc", "abc"),
        (Directory(), "/var/lib/fnd", Path("/var/lib/fnd")),
        (Directory(), Path("/x"), Path("/x")),
        (SocketPath(), "/run/a.sock", Path("/run/a.sock")),
        (Listeners(), "127.0.0.1:1, [::1]:2 unix:/a", ("127.0.0.1:1", "[::1]:2", "unix:/a")),
        (Listeners(), ["127.0.0.1:1"], ("127.0.0.1:1",)),
        (Tables(), {"process": {"a": 1}}, {"process": {"a": 1}}),
    ],
)
def test_a_kind_reads_text_and_toml_values(kind: Any, given_value: object, value: object) -> None:
    read = kind.read(given_value)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Whole(1, 10), "0"),
        (Whole(1, 10), 11),
        (Whole(1, 10), True),
        (Whole(1, 10), 1.0),
        (Whole(1, 10), "1_0"),
        (Whole(1, 10), " 1"),
        (Size(0, 1000), "1KiB"),
        (Size(0, 1000, unit=MIB), "1KiB"),
        (Size(0, 1 << 40), "1KB"),
        (Size(0, 1 << 40), "-1"),
        (Seconds(), 0),
        (Seconds(), "-1"),
        (Seconds(), "nan"),
        (Seconds(), "inf"),
        (Seconds(), True),
        (Seconds(60), 61),
        (Seconds(), None),
        (Switch(), "maybe"),
        (Switch(), 1),
        (Choice(("a", "b")), "c"),
        (Choice(("a", "b")), 1),
        (Word("[a-z]+", "letters"), "abc1"),
        (Word("[a-z]+", "letters"), 1),
        (Directory(), ""),
        (Directory(), "a\0b"),
        (Directory(), 1),
        (SocketPath(), "/" + "x" * 200),
        (SocketPath(), 1),
        (Listeners(), ""),
        (Listeners(), []),
        (Listeners(), [1]),
        (Listeners(), "nowhere"),
        (Listeners(), 8080),
        (Tables(), {"process": 1}),
        (Tables(), "x"),
    ],
)
def test_a_kind_refuses_what_it_does_not_allow(kind: Any, value: object) -> None:
    with pytest.raises(ValueError):
        kind.read(value)


@pytest.mark.parametrize(
    ("size", "unit", "text"),
    [
        (0, 1, "0"),
        (1000, 1, "1000 bytes"),
        (8192, 1, "8 KiB"),
        (1 << 20, 1, "1 MiB"),
        (2048, MIB, "2 GiB"),
        (3 << 40, 1, "3 TiB"),
    ],
)
def test_a_size_is_shown_in_the_largest_unit_without_a_fraction(size: int, unit: int, text: str) -> None:
    assert Size(0, 1 << 50, unit=unit).text(size) == text


def test_a_size_says_what_it_allows_in_words() -> None:
    allowed = Size(0, 1 << 30, unit=MIB).allowed
    assert allowed == "a size from 0 to 1024 TiB: a number of MiB, or such as 64KiB, 16MiB or 2GiB"
