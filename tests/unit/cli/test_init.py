"""`fnd init` makes a function that deploys as it is, and never writes over anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from fnd.bundle import read_function_file
from fnd.cli.exits import ExitCode
from fnd.cli.init import runtimes
from tests.unit.cli.scripted_daemon import Fnd


@pytest.mark.parametrize("runtime", runtimes())
def test_each_runtime_makes_a_function_with_the_name_of_its_directory(fnd: Fnd, tmp_path: Path, runtime: str) -> None:
    directory = tmp_path / "greeter"
    ended = fnd("init", str(directory), "--runtime", runtime)
    assert (ended.code, ended.out) == (0, "")
    assert "fnd deploy" in ended.err
    file = read_function_file(directory)
    assert file.name == "greeter"
    assert [(trigger.name, trigger.source) for trigger in file.triggers] == [("greeter", "/greeter")]
    assert "hello" not in (directory / "func.yaml").read_text()


def test_python_is_what_one_gets_and_it_uses_fns_own_kit(fnd: Fnd, tmp_path: Path) -> None:
    fnd("init", str(tmp_path / "f"))
    assert (tmp_path / "f" / "requirements.txt").read_text().startswith("fdk")
    assert "from fdk import" in (tmp_path / "f" / "func.py").read_text()


def test_a_program_is_executable(fnd: Fnd, tmp_path: Path) -> None:
    fnd("init", str(tmp_path / "f"), "--runtime", "command")
    (program,) = [path for path in (tmp_path / "f").iterdir() if path.read_bytes().startswith(b"#!")]
    assert program.stat().st_mode & 0o111 == 0o111


def test_the_current_directory_will_do(fnd: Fnd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "My function!").mkdir()
    monkeypatch.chdir(tmp_path / "My function!")
    assert fnd("init").code == 0
    assert read_function_file(Path()).name == "My-function"


def test_another_name_can_be_given(fnd: Fnd, tmp_path: Path) -> None:
    fnd("init", str(tmp_path / "f"), "--name", "other")
    assert read_function_file(tmp_path / "f").name == "other"


def test_a_name_that_no_function_can_have_writes_nothing(fnd: Fnd, tmp_path: Path) -> None:
    ended = fnd("init", str(tmp_path / "f"), "--name", "a b")
    assert ended.code == ExitCode.USAGE
    assert not (tmp_path / "f").exists()


def test_nothing_is_written_over(fnd: Fnd, tmp_path: Path) -> None:
    (tmp_path / "func.py").write_text("mine")
    ended = fnd("init", str(tmp_path))
    assert ended.code == ExitCode.USAGE
    assert "func.py" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["func.py"]
    assert (tmp_path / "func.py").read_text() == "mine"
