"""The socket watcher, on real directories and the one inotify instance it has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from fnd.runtime.socket_watcher import InotifySocketWatcher, watching_sockets
from fnd.testing import no_descriptor_left

NAME = "lsnr.sock"


async def waits(watcher: InotifySocketWatcher, directory: Path, nursery: trio.Nursery, name: str = NAME) -> trio.Event:
    """Begin to wait; return an event that tells when that has ended."""
    returned = trio.Event()

    async def wait() -> None:
        await watcher.wait_for(directory, name)
        returned.set()

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    return returned


async def arrives(event: trio.Event) -> None:
    with trio.fail_after(20):
        await event.wait()


async def test_a_name_that_is_there_already_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / NAME).touch()
    async with watching_sockets() as watcher:
        with trio.fail_after(20):
            await watcher.wait_for(tmp_path, NAME)


@pytest.mark.parametrize("how", ["bind", "link", "dangling link", "rename", "file"])
async def test_it_returns_once_the_name_appears_however_it_does(tmp_path: Path, how: str) -> None:
    async with watching_sockets() as watcher, trio.open_nursery() as nursery:
        returned = await waits(watcher, tmp_path, nursery)
        assert not returned.is_set()
        match how:
            case "bind":
                with trio.socket.socket(trio.socket.AF_UNIX) as sock:
                    await sock.bind(str(tmp_path / NAME))
            case "link":
                (tmp_path / "other").touch()
                (tmp_path / NAME).symlink_to("other")
            case "dangling link":
                (tmp_path / NAME).symlink_to("nothing")
            case "rename":
                (tmp_path / "other").touch()
                (tmp_path / "other").rename(tmp_path / NAME)
            case _:
                (tmp_path / NAME).touch()
        await arrives(returned)


async def test_other_names_do_not_end_it(tmp_path: Path) -> None:
    async with watching_sockets() as watcher, trio.open_nursery() as nursery:
        returned = await waits(watcher, tmp_path, nursery)
        other = await waits(watcher, tmp_path, nursery, "other")
        (tmp_path / f"phony{NAME}").touch()
        (tmp_path / "other").touch()
        await arrives(other)
        assert not returned.is_set()
        (tmp_path / NAME).touch()
        await arrives(returned)


async def test_a_name_that_came_and_went_is_waited_for_again(tmp_path: Path) -> None:
    async with watching_sockets() as watcher, trio.open_nursery() as nursery:
        returned = await waits(watcher, tmp_path, nursery)
        other = await waits(watcher, tmp_path, nursery, "other")
        (tmp_path / NAME).touch()
        (tmp_path / NAME).unlink()
        (tmp_path / "other").touch()  # told after it
        await arrives(other)
        await wait_all_tasks_blocked()
        assert not returned.is_set()
        (tmp_path / NAME).touch()
        await arrives(returned)


async def test_several_wait_in_one_directory_and_each_leaves_alone(tmp_path: Path) -> None:
    async with watching_sockets() as watcher, trio.open_nursery() as nursery:
        first, second = [await waits(watcher, tmp_path, nursery) for _ in range(2)]
        with trio.CancelScope() as leaving:
            async with trio.open_nursery() as leavers:
                await waits(watcher, tmp_path, leavers)
                leaving.cancel()
        (tmp_path / NAME).touch()
        await arrives(first)
        await arrives(second)
        assert watcher._waiting == {}


async def test_a_cancelled_wait_watches_nothing_any_more(tmp_path: Path) -> None:
    async with watching_sockets() as watcher:
        async with trio.open_nursery() as nursery:
            await waits(watcher, tmp_path, nursery)
            assert watches(watcher) == 1
            nursery.cancel_scope.cancel()
        assert watches(watcher) == 0
        assert watcher._waiting == {}


async def test_a_directory_that_goes_while_it_waits_leaves_nothing(tmp_path: Path) -> None:
    async with watching_sockets() as watcher:
        async with trio.open_nursery() as nursery:
            directory = tmp_path / "own"
            directory.mkdir()
            await waits(watcher, directory, nursery)
            directory.rmdir()
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert watcher._waiting == {}
        (tmp_path / NAME).touch()
        with trio.fail_after(20):
            await watcher.wait_for(tmp_path, NAME)


async def test_more_events_than_the_kernel_keeps_lose_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with watching_sockets() as watcher, trio.open_nursery() as nursery:
        returned = await waits(watcher, tmp_path, nursery)
        other = await waits(watcher, tmp_path, nursery, "other")
        (tmp_path / NAME).touch()
        os.read(watcher._descriptor, 65536)  # lost
        watcher._handle(b"\xff\xff\xff\xff" + (0x4000).to_bytes(4, "little") + bytes(8))  # and told so: inotify(7)
        await arrives(returned)
        assert not other.is_set()
        (tmp_path / "other").touch()
        await arrives(other)


async def test_a_thousand_containers_need_one_inotify_instance(tmp_path: Path) -> None:
    async with watching_sockets() as watcher:
        with no_descriptor_left():
            async with trio.open_nursery() as nursery:
                returned = []
                for number in range(1000):
                    directory = tmp_path / str(number)
                    directory.mkdir()
                    nursery.start_soon(watcher.wait_for, directory, NAME)
                    returned.append(directory)
                await wait_all_tasks_blocked()
                for directory in returned:
                    (directory / NAME).touch()
        assert watches(watcher) == 0


async def test_what_is_no_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with watching_sockets() as watcher:
        with pytest.raises(NotADirectoryError):
            await watcher.wait_for(tmp_path / "file", NAME)
        with pytest.raises(FileNotFoundError):
            await watcher.wait_for(tmp_path / "nothing", NAME)
        assert watcher._waiting == {}


async def test_it_closes_its_descriptor() -> None:
    async with watching_sockets():
        pass
    with no_descriptor_left():
        async with watching_sockets():
            pass


def watches(watcher: InotifySocketWatcher) -> int:
    """Return how many directories the kernel watches for it."""
    return Path(f"/proc/self/fdinfo/{watcher._descriptor}").read_text().count("inotify wd:")
