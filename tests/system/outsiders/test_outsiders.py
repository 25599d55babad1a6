"""Plugins of other people's: built, installed beside fnd's own wheel, found, and held to what they promise."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parts import missing

pytestmark = [pytest.mark.system, pytest.mark.registry]

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
OUTSIDERS = ("fnd-hutch", "fnd-semaphore")


def run(*command: object, directory: Path, seconds: float = 600) -> subprocess.CompletedProcess[str]:
    """Run a command as its user would, with nothing of this process's environment that leads to fnd."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "FND_")) and name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    return subprocess.run(
        [str(word) for word in command],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
    )


def pip(*arguments: object, directory: Path) -> None:
    """Run pip; skip if there is no package index."""
    ended = run(*arguments, directory=directory)
    if ended.returncode and any(sign in ended.stderr for sign in ("No matching distribution", "Failed to establish")):
        missing("no package index answers")
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment, in which wheels of fnd and of the outsiders are installed."""
    root = tmp_path_factory.mktemp("outsiders")
    wheels = root / "wheels"
    sources = [ROOT, *(HERE / name for name in OUTSIDERS)]
    quietly = ["--quiet", "--disable-pip-version-check"]
    pip(sys.executable, "-m", "pip", "wheel", *quietly, "--no-deps", "--wheel-dir", wheels, *sources, directory=root)
    assert len(list(wheels.iterdir())) == len(sources)
    run(sys.executable, "-m", "venv", root / "venv", directory=root).check_returncode()
    programs = root / "venv" / "bin"
    # By their paths: an index may have another project of the same name.
    wanted = [f"{wheel}[testing]" for wheel in wheels.iterdir()]
    pinned = ["--constraint", ROOT / "requirements-dev.txt"]
    pip(programs / "python", "-m", "pip", "install", *quietly, *pinned, *wanted, directory=root)
    return programs


def test_they_are_found_beside_fnds_own(environment: Path, tmp_path: Path) -> None:
    ended = run(environment / "fnd", "--control", "none.sock", "plugins", "list", "-o", "json", directory=tmp_path)
    found = json.loads(ended.stdout)
    plugins = {plugin["name"]: plugin for plugin in found["plugins"]}
    assert {"process", "docker", "mock", "http_stream", "hutch", "semaphore"} <= plugins.keys()
    assert plugins["hutch"]["distribution"] == "fnd-hutch"
    assert plugins["hutch"]["offers"] == ["settings", "driver hutch"]
    assert plugins["semaphore"]["offers"] == ["codec semaphore"]
    assert {plugin["state"] for plugin in plugins.values()} == {"in use"}, ended.stdout
    assert found["commands"] == [{"name": "semaphore", "distribution": "fnd-semaphore", "reason": ""}]


@pytest.mark.parametrize("name", OUTSIDERS)
def test_their_tests_pass_in_a_real_daemon_and_against_the_kits(environment: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(HERE / name / "pyproject.toml", tmp_path)  # and not the package: what is installed is tested
    shutil.copytree(HERE / name / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    ended = run(environment / "pytest", "-q", "-rs", "-p", "no:cacheprovider", directory=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_what_a_new_plugin_begins_with_is_in_fnds_wheel(environment: Path, tmp_path: Path) -> None:
    for kind in ("driver", "codec"):
        run(environment / "fnd", "plugins", "new", kind, "oak", tmp_path / kind, directory=tmp_path).check_returncode()
        assert (tmp_path / kind / "fnd_oak" / f"{kind}.py").is_file()
        assert (tmp_path / kind / "tests" / f"test_{kind}.py").is_file()
