"""An earlier database is migrated and keeps its data, a later one is refused, and one that is current costs nothing."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from fnd.errors import ConfigurationError, StoreTooNew, StoreUnavailable
from fnd.model import App, CallQuery, Fn, Trigger
from fnd.store import CallHistory, open_store
from fnd.store.schema import HEAD, REVISIONS, metadata
from fnd.store.upgrade import MIGRATIONS, upgrade

DATA = Path(__file__).parent / "data"
OLD = DATA / "schema-0001.db"


@pytest.fixture
def old_directory(data_directory: Path) -> Path:
    """A data directory as fnd 0.0 left it."""
    data_directory.mkdir()
    shutil.copy(OLD, data_directory / "fnd.db")
    return data_directory


async def test_a_database_of_fnd_0_0_keeps_its_data(old_directory: Path) -> None:
    async with open_store(old_directory) as store:
        contents = await store.load()
    shop, weather = contents.apps
    assert shop == App(
        id="01JAPP0000000000000000SHOP",
        name="shop",
        config={"CURRENCY": "EUR", "LEVEL": "info"},
        annotations={"team": "payments"},
        created_at=datetime(2024, 10, 2, 8, 15, 30, 123456, tzinfo=UTC),
        updated_at=datetime(2024, 11, 5, 16, 20, tzinfo=UTC),
    )
    assert (weather.name, weather.syslog_url) == ("météo", "tcp://logs.example:514")
    cart, price = contents.fns
    assert cart == Fn(
        id="01JFN00000000000000000CART",
        name="cart",
        app_id=shop.id,
        image="process://cart@sha256:" + "3f" * 32,
        format="http-stream",
        memory=256,
        timeout=60,
        idle_timeout=120,
        config={"LEVEL": "debug"},
        annotations={"owner": {"name": "Zoë", "pager": [1, 2.5, None]}},
        created_at=datetime(2024, 10, 2, 8, 16, tzinfo=UTC),
        updated_at=datetime(2024, 12, 24, 18, 0, 0, 500000, tzinfo=UTC),
    )
    assert price.format == "http-stream"
    moment = datetime(2024, 10, 2, 8, 18, tzinfo=UTC)
    assert contents.triggers == [
        Trigger(
            id="01JTR00000000000000000CART",
            name="cart-http",
            app_id=shop.id,
            fn_id=cart.id,
            source="/cart",
            created_at=moment,
            updated_at=moment,
        )
    ]


async def test_a_database_from_before_fns_said_how_many_containers_they_want_keeps_its_data(
    data_directory: Path,
) -> None:
    data_directory.mkdir()
    shutil.copy(DATA / "schema-0002.db", data_directory / "fnd.db")
    assert _revision(data_directory) == "0002"
    moment = datetime(2026, 11, 25, 9, tzinfo=UTC)
    async with open_store(data_directory) as store:
        contents = await store.load()
    assert contents.apps == [App(id="01KAPP0000000000000000SHOP", name="shop", created_at=moment, updated_at=moment)]
    assert contents.fns == [
        Fn(
            id="01KFN00000000000000000CART",
            name="cart",
            app_id="01KAPP0000000000000000SHOP",
            image="docker://shop/cart:2",
            format="json",
            memory=512,
            timeout=3,
            idle_timeout=4,
            min_warm=0,
            max_containers=0,
            config={"A": "b"},
            created_at=moment,
            updated_at=moment,
        )
    ]


async def test_a_database_from_before_calls_had_records_keeps_its_data_and_takes_them(data_directory: Path) -> None:
    data_directory.mkdir()
    shutil.copy(DATA / "schema-0003.db", data_directory / "fnd.db")
    assert _revision(data_directory) == "0003"
    async with open_store(data_directory) as store:
        (fn,) = (await store.load()).fns
        assert (fn.name, fn.min_warm, fn.max_containers) == ("cart", 2, 5)
        assert fn.concurrency == 1
        assert await CallHistory(store, 10).newest(CallQuery(limit=10)) == []


async def test_a_migrated_database_is_current_and_used_as_any_other(old_directory: Path) -> None:
    async with open_store(old_directory):
        pass
    assert _revision(old_directory) == HEAD
    async with open_store(old_directory) as store:
        await store.apps.delete("01JAPP0000000000000000SHOP")
        assert (await store.load()).fns == []


async def test_a_migration_that_fails_leaves_the_database_as_it_was(old_directory: Path) -> None:
    with sqlite3.connect(old_directory / "fnd.db") as connection:
        connection.execute("ALTER TABLE fns ADD COLUMN format TEXT")  # in the way of 0002
    connection.close()
    before = _schema(old_directory)
    with pytest.raises(StoreUnavailable, match="duplicate column name: format"):
        async with open_store(old_directory):
            pass
    assert _schema(old_directory) == before
    assert _revision(old_directory) == "0001"


async def test_a_newer_database_is_refused_and_left_alone(data_directory: Path) -> None:
    async with open_store(data_directory):
        pass
    with sqlite3.connect(data_directory / "fnd.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StoreTooNew, match=rf"fnd\.db has schema 9999, and this fnd knows none after {HEAD}"):
        async with open_store(data_directory):
            pass
    assert _revision(data_directory) == "9999"


async def test_another_programs_database_is_refused_and_left_alone(data_directory: Path) -> None:
    data_directory.mkdir()
    with sqlite3.connect(data_directory / "fnd.db") as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    connection.close()
    with pytest.raises(ConfigurationError, match=r"not fnd's.*--data"):
        async with open_store(data_directory):
            pass


def test_opening_a_new_or_a_current_database_does_not_import_alembic(data_directory: Path) -> None:
    script = """
import sys, trio
from pathlib import Path
from fnd.store import open_store

async def main():
    for _ in range(2):
        async with open_store(Path(sys.argv[1])) as store:
            assert (await store.load()).apps == []
    assert not [name for name in sys.modules if name.split(".")[0] in ("alembic", "mako")]

trio.run(main)
"""
    subprocess.run([sys.executable, "-c", script, str(data_directory)], check=True)


def test_the_revisions_that_are_known_are_those_that_there_are() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert tuple(script.revision for script in reversed(list(scripts.walk_revisions()))) == REVISIONS
    assert scripts.get_current_head() == HEAD


def test_migrations_and_a_new_database_come_to_the_same_schema(tmp_path: Path) -> None:
    shutil.copy(OLD, tmp_path / "migrated.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    with engine.begin() as connection:
        upgrade(connection, tmp_path / "migrated.db")
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        migrated = _description(connection)
    engine.dispose()
    engine = create_engine(f"sqlite:///{tmp_path / 'new.db'}")
    with engine.begin() as connection:
        upgrade(connection, tmp_path / "new.db")
        new = _description(connection)
    engine.dispose()
    assert migrated == new


def _description(connection: Connection) -> dict[str, object]:
    """Columns in order, indexes and foreign keys of each table, as SQLite has them."""
    description: dict[str, object] = {}
    for name in connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")):
        for pragma in ("table_info", "foreign_key_list"):
            description[f"{pragma} {name}"] = connection.exec_driver_sql(f"PRAGMA {pragma}({name})").fetchall()
        indexes = connection.exec_driver_sql(f"PRAGMA index_list({name})").fetchall()
        description[f"indexes {name}"] = sorted(
            (index[2:], connection.exec_driver_sql(f"PRAGMA index_info({index[1]})").fetchall()) for index in indexes
        )
    return description


def _revision(directory: Path) -> str:
    connection = sqlite3.connect(directory / "fnd.db")
    try:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])
    finally:
        connection.close()


def _schema(directory: Path) -> list[tuple[str]]:
    connection = sqlite3.connect(directory / "fnd.db")
    try:
        return connection.execute("SELECT sql FROM sqlite_master").fetchall()
    finally:
        connection.close()
