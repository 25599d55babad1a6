"""What a real function writes, in a real daemon: kept with its call, bounded whatever it is, and gone with the fn."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fnd.cli.own_daemon import OwnDaemon

pytestmark = pytest.mark.system

PROGRAM = Path(__file__).parent / "programs" / "chatty_function.py"
FUNCTION = "schema_version: 20180708\nname: chatty\nversion: 0.0.1\nruntime: command\nentrypoint: ./chatty.py\n"
MIB = 1 << 20


class Chatty:
    """The function, called and read by the command."""

    def __init__(self, daemon: OwnDaemon) -> None:
        self.daemon = daemon

    def fnd(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FND_")}
        command = [sys.executable, "-m", "fnd", "--control", str(self.daemon.control), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, env=environment, check=True, timeout=60)

    def call(self, body: bytes) -> str:
        """Call it; return the call's id."""
        called = self.fnd("invoke", "chat", "chatty", "--verbose", stdin=body)
        assert called.stdout == b"ok"
        (call_id,) = re.findall(rb"(?i)^fn-call-id: (\S+)", called.stderr, re.MULTILINE)
        return str(call_id.decode())

    def log(self, *arguments: str) -> list[dict[str, Any]]:
        written = self.fnd("logs", "chat", "chatty", "--output", "json", *arguments).stdout
        return [json.loads(line) for line in written.splitlines()]

    def memory(self) -> int:
        """Return the most bytes that the daemon has had resident."""
        status = json.loads(self.fnd("status", "--output", "json").stdout)
        text = Path(f"/proc/{status['pid']}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", text)[0]) * 1024

    @property
    def files(self) -> Path:
        (directory,) = (self.daemon.directory / "data" / "logs").iterdir()
        return directory


@pytest.fixture
def chatty(tmp_path: Path) -> Iterator[Chatty]:
    directory = tmp_path / "chatty"
    directory.mkdir()
    (directory / "func.yaml").write_text(FUNCTION)
    (directory / "chatty.py").write_bytes(PROGRAM.read_bytes())
    (directory / "chatty.py").chmod(0o755)
    with OwnDaemon() as daemon:
        daemon.start()
        chatty = Chatty(daemon)
        chatty.fnd("deploy", str(directory), "--app", "chat", "--create-app")
        yield chatty
        daemon.stop()
        assert daemon.remains() == []


def test_each_calls_lines_are_found_by_its_id(chatty: Chatty) -> None:
    first, second = chatty.call(b"one"), chatty.call(b"two")
    assert [(line["text"], line["call_id"]) for line in chatty.log()] == [("one", first), ("two", second)]
    assert [line["text"] for line in chatty.log("--call", second)] == ["two"]


def test_a_flood_is_cut_and_costs_the_daemon_next_to_nothing_and_the_next_call_is_whole(chatty: Chatty) -> None:
    chatty.call(b"before")
    before = chatty.memory()
    flood = chatty.call(b"flood")
    after = chatty.call(b"after")
    assert chatty.memory() - before < 16 * MIB
    lines = chatty.log("--call", flood, "--lines", "10000")
    assert lines[-1]["stream"] == "fnd"
    assert lines[-1]["text"] == f"output cut: this call wrote more than {MIB} bytes"
    assert sum(len(line["text"]) for line in lines) <= MIB + 100
    assert [line["text"] for line in chatty.log("--call", after)] == ["after"]
    assert sum(file.stat().st_size for file in chatty.files.iterdir()) < 2 * MIB


def test_what_is_no_text_is_kept_as_far_as_it_is(chatty: Chatty) -> None:
    binary = chatty.call(b"binary")
    text = bytes(range(128)).decode()
    deadline = time.monotonic() + 30
    while not (whole := "\n".join(line["text"] for line in chatty.log("--call", binary))).startswith(text):
        # Its last line has no end, and is only kept once none has come for a while.
        assert time.monotonic() < deadline, whole


def test_the_log_goes_with_the_function_and_is_there_after_a_restart(chatty: Chatty) -> None:
    chatty.call(b"one")
    chatty.daemon.stop()
    chatty.daemon.start()
    assert [line["text"] for line in chatty.log()] == ["one"]
    files = chatty.files
    chatty.fnd("fns", "delete", "chat", "chatty")
    chatty.fnd("apps", "delete", "chat")
    chatty.daemon.stop()
    assert not files.exists()
    chatty.daemon.start()
