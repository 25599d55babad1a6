"""What a function costs in memory that the daemon knows and nobody calls."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import create_engine, insert

from fnd.ids import new_id
from fnd.store.schema import apps, fns
from fnd.store.store import DATABASE_NAME
from tests.bench import processes
from tests.bench.figures import Figure, at_most
from tests.bench.stage import Stage

MOST_BYTES: Final = at_most(2000.0)
FUNCTIONS: Final = 100_000


def measure(stage: Stage) -> list[Figure]:
    """Return the figure: the memory of a daemon with 100,000 functions, less that of the same daemon with none."""
    directory = stage.directory / "known"
    with processes.daemon(directory) as daemon:
        daemon.status()
        without = daemon.resident()
    stage.say(f"storing {FUNCTIONS:,} functions")
    store_functions(directory / "data" / DATABASE_NAME, FUNCTIONS)
    with processes.daemon(directory) as daemon:
        known = daemon.status()["fns"]
        resident = daemon.resident()
        start_seconds = daemon.start_seconds
    return [
        Figure(
            name=f"memory of a known idle function at {known:,}",
            value=(resident - without) / known,
            unit="B",
            target=MOST_BYTES,
            detail=f"daemon {resident / 2**20:.0f} MiB, without them {without / 2**20:.0f} MiB; "
            f"ready after {start_seconds:.1f} s",
        )
    ]


def store_functions(database: Path, count: int) -> None:
    """Put `count` functions of one app into a daemon's database while it is stopped."""
    now = datetime.now(UTC)
    moments = {"created_at": now, "updated_at": now}
    app_id = new_id()
    app = {"id": app_id, "name": "known", "config": {}, "annotations": {}, "syslog_url": "", "shape": "", **moments}
    rows = [
        {
            "id": new_id(),
            "name": f"function-{number}",
            "app_id": app_id,
            "image": f"process://function-{number}@sha256:{number:064x}",
            "format": "http-stream",
            "memory": 128,
            "timeout": 30,
            "idle_timeout": 30,
            "config": {},
            "annotations": {},
            "shape": "",
            **moments,
        }
        for number in range(count)
    ]
    engine = create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        connection.execute(insert(apps), [app])
        connection.execute(insert(fns), rows)
    engine.dispose()
    with closing(sqlite3.connect(database)) as connection_to_file:
        connection_to_file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
