"""The sockets the daemon listens on: opened, handed over, taken by somebody else, left behind, and gone at the end."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from fnd.api.doors import CONTROL, PUBLIC
from fnd.errors import AlreadyRunning, ConfigurationError
from fnd.listeners import address_of, open_listeners
from fnd.systemd import InheritedSocket
from fnd.testing import no_descriptor_left


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


async def addresses(
    directory: Path, listen: Sequence[str], inherited: Sequence[InheritedSocket] = ()
) -> list[tuple[str, str]]:
    """Open and close them; return their names and addresses."""
    async with open_listeners(listen, directory / "control.sock", inherited) as listeners:
        return [(listener.name, address_of(listener)) for listener in listeners]


async def test_each_address_is_listened_on_beside_the_control_socket(directory: Path) -> None:
    public = directory / "public.sock"
    with no_descriptor_left():
        async with open_listeners(["127.0.0.1:0", f"unix:{public}"], directory / "control.sock", ()) as listeners:
            assert [listener.name for listener in listeners] == [CONTROL, PUBLIC, PUBLIC]
            for listener in listeners:
                with socket.socket(listener.sock.family) as caller:
                    caller.connect(listener.sock.getsockname())
                assert not listener.sock.getblocking()
    assert list(directory.iterdir()) == []


async def test_the_control_socket_is_for_its_owner_alone(directory: Path) -> None:
    public = directory / "public.sock"
    async with open_listeners([f"unix:{public}"], directory / "control.sock", ()):
        assert stat.S_IMODE((directory / "control.sock").stat().st_mode) == 0o600
        assert stat.S_IMODE(public.stat().st_mode) == 0o666


async def test_the_umask_is_as_before(directory: Path) -> None:
    before = os.umask(0o027)
    try:
        await addresses(directory, [])
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


async def test_addresses_are_told_as_they_would_be_given(directory: Path) -> None:
    (_, control), (_, tcp) = await addresses(directory, ["127.0.0.1:0"])
    assert control == f"unix:{directory}/control.sock"
    host, _, port = tcp.rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) > 0


async def test_one_of_ipv6_is_told_in_brackets(directory: Path) -> None:
    try:
        socket.socket(socket.AF_INET6).close()
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    _, (_, address) = await addresses(directory, ["[::1]:0"])
    assert address.startswith("[::1]:")


async def test_an_address_that_is_taken_is_named(directory: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with no_descriptor_left(), pytest.raises(ConfigurationError, match=address):
            await addresses(directory, [address])
    assert list(directory.iterdir()) == []


async def test_a_host_that_is_none_is_named(directory: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.invalid:80"):
        await addresses(directory, ["nowhere.invalid:80"])


async def test_a_socket_that_was_left_behind_is_replaced(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(directory / "control.sock"))
    async with open_listeners([], directory / "control.sock", ()) as (control, *_):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(control.sock.getsockname())


@pytest.mark.parametrize("backlog", [10, 0])
async def test_one_that_somebody_listens_on_is_left_to_them(directory: Path, backlog: int) -> None:
    path = directory / "control.sock"
    with socket.socket(socket.AF_UNIX) as theirs, socket.socket(socket.AF_UNIX) as caller:
        theirs.bind(str(path))
        theirs.listen(backlog)
        caller.connect(str(path))  # with no backlog, that fills it
        with no_descriptor_left(), pytest.raises(AlreadyRunning, match=str(path)):
            await addresses(directory, [])
        assert path.is_socket()


async def test_what_is_no_socket_is_left_alone(directory: Path) -> None:
    path = directory / "control.sock"
    path.write_text("precious")
    with pytest.raises(ConfigurationError, match=str(path)):
        await addresses(directory, [])
    assert path.read_text() == "precious"


async def test_at_the_end_another_daemons_socket_is_left_alone(directory: Path) -> None:
    path = directory / "control.sock"
    async with open_listeners([], path, ()):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as theirs:
            theirs.bind(str(path))
    assert path.is_socket()


async def test_a_directory_that_is_not_there_is_told(directory: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        await addresses(directory / "nowhere", [])


async def test_sockets_handed_over_stand_for_the_configured_ones(directory: Path) -> None:
    with no_descriptor_left():
        web, control = socket.socket(), socket.socket(socket.AF_UNIX)
        web.bind(("127.0.0.1", 0))
        control.bind(str(directory / "given.sock"))
        port = web.getsockname()[1]
        given = [InheritedSocket(web, "web"), InheritedSocket(control, CONTROL)]
        assert await addresses(directory, ["nowhere.invalid:80"], given) == [
            (PUBLIC, f"127.0.0.1:{port}"),
            (CONTROL, f"unix:{directory}/given.sock"),
        ]
    assert [path.name for path in directory.iterdir()] == ["given.sock"], "what systemd made is systemd's to remove"


async def test_a_control_socket_alone_handed_over_leaves_the_addresses(directory: Path) -> None:
    control = socket.socket(socket.AF_UNIX)
    control.bind(str(directory / "given.sock"))
    found = await addresses(directory, ["127.0.0.1:0"], [InheritedSocket(control, CONTROL)])
    assert [name for name, _ in found] == [CONTROL, PUBLIC]
