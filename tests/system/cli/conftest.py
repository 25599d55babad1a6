"""A real daemon, and the fnd command as a person types it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import attrs
import pytest

from fnd.cli.main import run
from fnd.cli.own_daemon import OwnDaemon

TIME_LIMIT = 120


@attrs.frozen
class Ended:
    """How a command ended."""

    code: int
    out: bytes
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@attrs.frozen
class Shell:
    """Runs fnd for one daemon."""

    daemon: OwnDaemon

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "fnd", "--control", str(self.daemon.control), *arguments]

    def __call__(self, *arguments: str, stdin: bytes | None = None, code: int = 0) -> Ended:
        """Return how the command ended, which must be with `code`: with `stdin` in a process of its own."""
        ended = self._here(arguments) if stdin is None else self._apart(arguments, stdin)
        assert ended.code == code, ended.err
        assert "Traceback" not in ended.err
        return ended

    def _apart(self, arguments: Sequence[str], stdin: bytes) -> Ended:
        result = subprocess.run(self.command(*arguments), input=stdin, capture_output=True, timeout=TIME_LIMIT)
        return Ended(result.returncode, result.stdout, result.stderr.decode())

    def _here(self, arguments: Sequence[str]) -> Ended:
        out, err = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
        with redirect_stdout(out), redirect_stderr(err):
            code = run(["--control", str(self.daemon.control), *arguments])
        written, told = out.buffer, err.buffer
        assert isinstance(written, io.BytesIO)
        assert isinstance(told, io.BytesIO)
        return Ended(code, written.getvalue(), told.getvalue().decode())


@pytest.fixture(scope="module")
def daemon() -> Iterator[OwnDaemon]:
    with OwnDaemon() as own:
        own.start()
        yield own
        own.stop()
        assert own.remains() == []


@pytest.fixture(scope="module")
def fnd(daemon: OwnDaemon) -> Shell:
    return Shell(daemon)


Deploy = Callable[..., str]


@pytest.fixture(scope="module")
def deploy(fnd: Shell, tmp_path_factory: pytest.TempPathFactory) -> Deploy:
    """Make and deploy a function of one program, whose source can be given; return its invoke URL."""

    def deploy(app: str, name: str, program: str | None = None, **fields: object) -> str:
        directory = tmp_path_factory.mktemp("function") / name
        fnd("init", str(directory), "--runtime", "command")
        if program is not None:
            (directory / "serve.py").write_text(program)
            (directory / "serve.py").chmod(0o755)
        with (directory / "func.yaml").open("a") as file:
            file.writelines(f"{field}: {value}\n" for field, value in fields.items())
        deployed = fnd("deploy", str(directory), "--app", app, "--create-app", "-o", "json").json
        url: str = deployed["invoke_url"]
        return url

    return deploy


@pytest.fixture(autouse=True)
def own_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("FND_") and name != "FND_REQUIRE_PARTS":
            monkeypatch.delenv(name)
