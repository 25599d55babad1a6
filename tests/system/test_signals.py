"""Signals to the daemon, at the moments at which they could be missed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fnd.cli.own_daemon import OwnDaemon

pytestmark = pytest.mark.system


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="fnd-") as directory:
        yield Path(directory)


def test_a_stop_while_it_starts_is_orderly(directory: Path) -> None:
    command = [sys.executable, "-m", "fnd", "serve", "--listen", "127.0.0.1:0", "--data", str(directory / "data")]
    command += ["--runtime-directory", str(directory / "run")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FND_")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, start_new_session=True) as daemon:
        deadline = time.monotonic() + 60
        while not (directory / "data" / "fnd.db").exists() and time.monotonic() < deadline:
            assert daemon.poll() is None
            time.sleep(0.001)  # it tells nobody that it begins
        daemon.send_signal(signal.SIGTERM)
        _, log = daemon.communicate(timeout=60)
    assert daemon.returncode == 0, log.decode()
    assert log.decode().splitlines()[-1].endswith("stopped")
    assert not (directory / "run" / "control.sock").exists()


def test_a_stop_as_soon_as_it_is_ready_is_orderly() -> None:
    with OwnDaemon() as daemon:
        daemon.start()
        daemon.stop()
        assert daemon.remains() == []
