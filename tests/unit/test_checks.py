"""What `fnd doctor` finds: a problem is told as one, with what to do, and what is well is not."""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fnd import checks
from fnd.checks import Check, check_machine


@pytest.fixture
def check(tmp_path: Path) -> Any:
    def check(name: str, data: Path = tmp_path / "data", runtime: Path = Path("/tmp/fnd-test")) -> Check:
        return {check.name: check for check in check_machine(data, runtime)}[name]

    return check


def test_whatever_is_not_well_has_advice_and_nothing_else_has(tmp_path: Path) -> None:
    for check in check_machine(tmp_path / "data", tmp_path / "run"):
        assert check.found
        assert (check.outcome == "ok") == (not check.advice)


def test_a_directory_that_is_still_to_be_made_is_well_and_not_made(check: Any, tmp_path: Path) -> None:
    assert check("data directory", data=tmp_path / "a" / "b").outcome == "ok"
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_directory_should_be_is_a_problem(check: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = check("data directory", data=tmp_path / "file" / "data")
    assert found.outcome == "problem"
    assert str(tmp_path / "file") in found.found
    assert "--data" in found.advice


def test_a_directory_that_cannot_be_written_is_a_problem(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert check("runtime directory").outcome == "problem"


def test_a_runtime_directory_with_a_path_too_long_for_sockets_is_a_problem(check: Any) -> None:
    found = check("socket paths", runtime=Path("/tmp") / ("d" * 60))
    assert found.outcome == "problem"
    assert "--runtime-directory" in found.advice


def test_few_open_files_are_told(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 1024))
    assert check("open files").outcome == "warning"
    unlimited = (256, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda which: unlimited)
    assert check("open files").outcome == "ok"


def test_a_python_without_environments_is_told(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = check("python environments")
    assert found.outcome == "warning"
    assert "ensurepip" in found.found


def test_a_missing_bubblewrap_is_told_with_how_to_get_it(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found = check("bubblewrap")
    assert (found.outcome, found.found) == ("warning", "not installed")
    assert "bubblewrap" in found.advice


def test_a_bubblewrap_that_does_not_work_is_not_believed(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, 1, b"", b"bwrap: No permissions\nmore")

    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/bwrap")
    monkeypatch.setattr(subprocess, "run", run)
    found = check("bubblewrap")
    assert found.outcome == "warning"
    assert found.found == "does not work: bwrap: No permissions"


def test_little_memory_is_told(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "memory_for_containers", lambda: 100)
    assert check("memory").outcome == "warning"
