"""When two functions with the same requirements.txt may share what it installs."""

from __future__ import annotations

from pathlib import Path

import pytest

from fnd.errors import BuildFailed
from fnd_process.environments import _key
from fnd_process.interpreters import Interpreter, find_interpreter

PYTHON = Interpreter(Path("/usr/bin/python3.11"), Path("/usr"), "3.11.2")


def shared(tmp_path: Path, requirements: str) -> bool:
    (tmp_path / "requirements.txt").write_text(requirements)
    return _key(tmp_path, PYTHON, "digest one") == _key(tmp_path, PYTHON, "digest two")


@pytest.mark.parametrize(
    "requirements",
    [
        "fdk\n",
        "fdk>=0.1.50\nrequests[socks]==2.31 ; python_version > '3'\n",
        "# see docs/readme\nfdk\n",
        "",
        "a @ git+https://x.org/y",
    ],
)
def test_names_alone_are_the_same_for_all(tmp_path: Path, requirements: str) -> None:
    assert shared(tmp_path, requirements)


@pytest.mark.parametrize(
    "requirements",
    [
        *("-r base.txt\n", "fdk\n-e .\n", "./wheels/x.whl\n", "wheels/x.whl\n", "/srv/x.whl\n", ".\n", "file:x.whl"),
        *("x @ file:///srv/x\n", "--find-links wheels\n", "  -c constraints.txt\n"),
    ],
)
def test_what_leads_to_other_files_is_the_functions_own(tmp_path: Path, requirements: str) -> None:
    assert not shared(tmp_path, requirements)


def test_another_interpreter_has_another_environment(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("fdk\n")
    newer = Interpreter(PYTHON.executable, PYTHON.prefix, "3.11.3")
    elsewhere = Interpreter(Path("/opt/bin/python3.11"), PYTHON.prefix, "3.11.2")
    assert len({_key(tmp_path, python, "digest") for python in (PYTHON, newer, elsewhere)}) == 3


def test_requirements_that_cannot_be_read_fail_the_build(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").mkdir()
    with pytest.raises(BuildFailed, match=r"requirements\.txt cannot be read: Is a directory"):
        _key(tmp_path, PYTHON, "digest")


def test_a_runtime_that_names_no_other_version_is_the_daemons_own() -> None:
    import sys

    major, minor, *_ = sys.version_info
    for runtime in ("python", f"python{major}", f"python{major}.{minor}"):
        found = find_interpreter(runtime)
        assert found.version == sys.version.split()[0]
        assert not found.executable.is_symlink()


def test_a_version_is_compared_by_its_numbers() -> None:
    with pytest.raises(BuildFailed, match=r"runtime python3\.1, which is not installed here; .*runtime: python3\."):
        find_interpreter("python3.1")


def test_what_a_sandbox_must_show_is_what_is_not_in_usr() -> None:
    assert PYTHON.prefixes == ()
    built = Interpreter(Path("/opt/python/3.12.1/bin/python3.12"), Path("/opt/python/current"), "3.12.1")
    assert built.prefixes == (Path("/opt/python/current"), Path("/opt/python/3.12.1"))
    assert Interpreter.from_json(built.to_json()) == built
