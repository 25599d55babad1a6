"""Commands run in this process, against a scripted daemon of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fnd.cli.main import run
from tests.unit.cli.scripted_daemon import Ended, Fnd, ScriptedDaemon, ScriptedServer


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ScriptedDaemon]:
    scripted = ScriptedDaemon(tmp_path / "control.sock")
    with ScriptedServer(scripted) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield scripted
        server.shutdown()
        thread.join()


@pytest.fixture
def fnd(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fnd:
    monkeypatch.setenv("FND_CONTROL", str(tmp_path / "control.sock"))

    def fnd(*arguments: str) -> Ended:
        capsys.readouterr()
        code = run(arguments)
        out, err = capsys.readouterr()
        return Ended(int(code), out, err)

    return fnd
