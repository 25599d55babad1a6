"""What is left, and descriptors that stay open, make a scenario fail; and the reports say all of it."""

from __future__ import annotations

import json
import socket
import tempfile
from pathlib import Path

from rich.console import Console

from tests.bench.report import Machine
from tests.faults import report
from tests.faults.result import Descriptors, Leavings, Result
from tests.faults.tally import Failure

MACHINE = Machine(processor="p", cores=2, memory=1024, system="Linux", python="3.11", trio="1", load=0.1)


def test_nothing_left_is_a_pass() -> None:
    result = Result("kill", "process")
    result.note_left(Leavings())
    result.note_descriptors(Descriptors(before=20, after=20))
    assert result.problems == []
    assert result.verdict == "passed"


def test_whatever_is_left_fails_it_and_is_named() -> None:
    result = Result("kill", "process")
    result.note_left(Leavings(processes=("12", "13"), cgroups=("/sys/fs/cgroup/x",)))
    assert result.problems == ["left: 2 processes: 12, 13", "left: 1 cgroups: /sys/fs/cgroup/x"]
    assert result.verdict == "FAILED"


def test_more_descriptors_than_may_be_kept_are_leaked() -> None:
    assert Descriptors(before=20, after=36, kept=16).leaked == 0
    assert Descriptors(before=20, after=38, kept=16).leaked == 2
    assert Descriptors(before=20, after=18).leaked == 0
    result = Result("kill", "docker")
    result.note_descriptors(Descriptors(before=20, after=21))
    assert result.problems == ["left: 1 descriptors of the daemon (20 before, 21 after)"]


def test_sockets_are_told_from_other_files() -> None:
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as bound:
        directory = Path(name)
        bound.bind(str(directory / "s"))
        (directory / "f").touch()
        assert Leavings.of_files([directory, directory / "s", directory / "f"]) == (
            (name, f"{name}/f"),
            (f"{name}/s",),
        )


def _results() -> list[Result]:
    failed = Result("kill", "process", facts=["kill -9 of 3"], problems=["left: 1 processes: 7"])
    failed.calls.add(None)
    failed.calls.add(Failure(502, "lost"))
    failed.left = Leavings(processes=("7",))
    failed.descriptors = Descriptors(20, 20)
    return [failed, Result("engine", "docker", skipped="dockerd is not installed")]


def test_the_terminal_is_told_counts_facts_and_what_is_wrong() -> None:
    console = Console(width=200, record=True)
    console.print(report.terminal(_results(), MACHINE))
    text = console.export_text()
    for told in ("kill -9 of 3", "failed: 1 × 502: lost", "WRONG: left: 1 processes: 7", "1 0 0 0 0 0", "FAILED"):
        assert told in text
    assert "dockerd is not installed" in text


def test_a_program_is_told_the_same() -> None:
    told = json.loads(report.to_json(_results(), MACHINE))
    kill, engine = told["results"]
    assert (kill["verdict"], kill["sent"], kill["answered"]) == ("failed", 2, 1)
    assert kill["failed"] == [{"status": 502, "why": "lost", "count": 1}]
    assert kill["left"]["processes"] == 1
    assert (engine["verdict"], engine["left"]) == ("skipped", None)
