"""A daemon that is killed loses nothing that it had acknowledged, and leaves no lock."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from fnd.store import open_store

pytestmark = pytest.mark.system

WRITER = """
import sys
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
import trio
from fnd.ids import new_id
from fnd.model import App
from fnd.store import open_store

async def main():
    async with open_store(Path(sys.argv[1])) as store:
        for number in count():
            now = datetime.now(UTC)
            await store.apps.insert(App(id=new_id(), name=f"app-{number}", created_at=now, updated_at=now))
            print(number, flush=True)

trio.run(main)
"""


def run_until_killed(directory: Path) -> list[str]:
    """Return the apps that a writer acknowledged before it was killed."""
    acknowledged = []
    with subprocess.Popen([sys.executable, "-c", WRITER, str(directory)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            acknowledged.append(f"app-{int(line)}")
            if len(acknowledged) == 20:
                writer.kill()
    assert writer.returncode == -signal.SIGKILL
    return acknowledged


async def test_what_was_acknowledged_survives_the_daemons_being_killed(tmp_path: Path) -> None:
    acknowledged = run_until_killed(tmp_path)
    async with open_store(tmp_path) as store:
        kept = {app.name for app in (await store.load()).apps}
    assert set(acknowledged) <= kept
    assert len(kept) <= len(acknowledged) + 1, "at most the one that was under way"
    with sqlite3.connect(tmp_path / "fnd.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
