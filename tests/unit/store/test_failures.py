"""A store that fails says so, leaves what it had, and works again by itself when it can."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from fnd.errors import AlreadyRunning, ConfigurationError, StoreUnavailable
from fnd.model import App
from fnd.store import ListQuery, Store, StoreHealth, open_store
from tests.unit.store.conftest import file_size_limit

Make = Callable[..., App]
ALL = ListQuery(per_page=100)
HEALTHY = StoreHealth(ok=True, error="")


async def test_a_database_locked_by_another_program_can_be_read_and_is_written_again_when_free(
    store: Store, make_app: Make
) -> None:
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable) as failure:
        await store.apps.insert(make_app())
    assert failure.value.status == 503
    assert not store.health.ok
    assert "fnd.db failed: database is locked" in store.health.error

    assert (await store.apps.list(ALL)).items == []
    assert not store.health.ok, "a read that succeeds says nothing of writes"

    other.execute("ROLLBACK")
    other.close()
    await store.apps.insert(make_app())
    assert store.health == HEALTHY


async def test_a_full_disk_refuses_writes_and_nothing_is_half_done(store: Store, make_app: Make) -> None:
    kept = await store.apps.insert(make_app(name="kept"))
    with file_size_limit(store.path.with_name("fnd.db-wal").stat().st_size):
        with pytest.raises(StoreUnavailable):
            await store.apps.insert(make_app(name="lost", config={"A": "x" * 100_000}))
        assert not store.health.ok
        assert (await store.apps.list(ALL)).items == [kept]
    after = await store.apps.insert(make_app(name="after"))
    assert store.health == HEALTHY
    assert (await store.apps.list(ALL)).items == [after, kept]


async def test_a_damaged_file_is_an_error_until_it_is_whole_again(data_directory: Path, make_app: Make) -> None:
    async with open_store(data_directory) as store:
        for number in range(100):
            await store.apps.insert(make_app(name=f"app-{number}", config={"A": "x" * 500}))
    async with open_store(data_directory) as store:
        whole = store.path.read_bytes()
        with store.path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xaa" * (len(whole) - 4096))
        with pytest.raises(StoreUnavailable):
            await store.apps.list(ALL)
        assert "malformed" in store.health.error
        with store.path.open("r+b") as file:
            file.write(whole)
        assert len((await store.apps.list(ALL)).items) == 100
        assert store.health == HEALTHY


async def test_a_value_that_fnd_did_not_write_is_an_error_that_shows_it(store: Store, make_app: Make) -> None:
    app = await store.apps.insert(make_app())
    for column, value in (("config", "{"), ("config", "[1]"), ("created_at", "yesterday")):
        with sqlite3.connect(store.path) as other:
            old = other.execute(f"SELECT {column} FROM apps").fetchone()
            other.execute(f"UPDATE apps SET {column} = ?", [value])
        with pytest.raises(StoreUnavailable):
            await store.apps.get(app.id)
        assert value in store.health.error
        with sqlite3.connect(store.path) as other:
            other.execute(f"UPDATE apps SET {column} = ?", old)
        other.close()
    assert await store.apps.get(app.id) == app


async def test_a_file_that_lost_its_name_is_not_written_to(store: Store, make_app: Make) -> None:
    elsewhere = store.path.with_name("elsewhere.db")
    store.path.rename(elsewhere)
    with pytest.raises(StoreUnavailable):
        await store.apps.insert(make_app())
    assert "cannot be found" in store.health.error
    assert not store.path.exists()
    elsewhere.rename(store.path)
    await store.apps.insert(make_app())
    assert store.health == HEALTHY


async def test_a_file_put_in_the_databases_place_is_not_taken_for_it(store: Store, make_app: Make) -> None:
    store.path.rename(store.path.with_name("elsewhere.db"))
    store.path.write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        await store.apps.insert(make_app())
    assert "restart fnd" in store.health.error


async def test_a_directory_in_use_is_refused_naming_the_holder(data_directory: Path, store: Store) -> None:
    with pytest.raises(AlreadyRunning, match=rf"process {os.getpid()}\) uses .*data: stop it, or .* --data"):
        async with open_store(data_directory):
            pass


async def test_a_directory_is_free_again_after_the_daemon(data_directory: Path) -> None:
    for _ in range(2):
        async with open_store(data_directory):
            pass


async def test_a_directory_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigurationError, match=r"file/data cannot be used: Not a directory.*--data"):
        async with open_store(file / "data"):
            pass


async def test_a_file_that_is_no_database_is_refused(data_directory: Path) -> None:
    data_directory.mkdir()
    (data_directory / "fnd.db").write_bytes(b"hello" * 1000)
    with pytest.raises(StoreUnavailable, match=r"fnd\.db cannot be opened: file is not a database"):
        async with open_store(data_directory):
            pass
    (data_directory / "fnd.db").unlink()
    async with open_store(data_directory) as store:
        assert store.health == HEALTHY


async def test_news_of_health_are_told_once_each(store: Store, make_app: Make) -> None:
    told: list[StoreHealth] = []
    store.on_health = told.append
    elsewhere = store.path.with_name("elsewhere.db")
    await store.apps.insert(make_app(name="before"))
    store.path.rename(elsewhere)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await store.apps.list(ALL)
    elsewhere.rename(store.path)
    for _ in range(3):
        await store.apps.list(ALL)
    assert [health.ok for health in told] == [False, True]
    assert "cannot be found" in told[0].error


async def test_a_start_that_cannot_load_says_why(store: Store, make_app: Make) -> None:
    await store.apps.insert(make_app())
    with sqlite3.connect(store.path) as other:
        other.execute("UPDATE apps SET created_at = 'yesterday'")
    other.close()
    with pytest.raises(StoreUnavailable, match=r"fnd\.db is damaged: 'yesterday' is not a time"):
        await store.load()
