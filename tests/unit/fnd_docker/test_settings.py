"""The table [plugins.docker]: what cannot be used is refused by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fnd.hookspecs import ConfigurationError, DriverContext
from fnd_docker.driver import DockerDriver
from fnd_docker.settings import read_settings


@pytest.mark.parametrize(
    "table",
    [
        {"host": "http://x"},
        {"host": 5},
        {"host": "tcp://x"},
        {"certificates": "relative"},
        {"user": "root"},
        {"pids": 0},
        {"pids": True},
        {"open_files": 1},
        {"tmp_size": "64m"},
        {"network": ""},
        {"network": "a b"},
        {"network_always": 1},
        {"writable": "yes"},
        {"capabilities": 1},
        {"privilege_gain": None},
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(table: dict[str, Any]) -> None:
    (name,) = table
    with pytest.raises(ConfigurationError, match=rf"plugins\.docker\.{name} must be"):
        read_settings(table)


def test_what_is_no_setting_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"plugins\.docker\.socket is no setting; known are .*host"):
        read_settings({"socket": "/x"})


async def test_certificates_that_are_not_there_keep_the_daemon_from_starting(tmp_path: Path) -> None:
    settings = {"host": "tcp://engine:2376", "certificates": str(tmp_path)}
    driver = DockerDriver(DriverContext(tmp_path / "data", tmp_path / "run", settings))
    with pytest.raises(ConfigurationError, match=r"certificates: there is no .*ca\.pem"):
        async with driver.running():
            pass


async def test_certificates_that_cannot_be_used_do_so_as_well(tmp_path: Path) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text("no certificate")
    settings = {"host": "tcp://engine:2376", "certificates": str(tmp_path)}
    driver = DockerDriver(DriverContext(tmp_path / "data", tmp_path / "run", settings))
    with pytest.raises(ConfigurationError, match=rf"certificates: those in {tmp_path} cannot be used: "):
        async with driver.running():
            pass


def test_a_daemon_that_does_not_use_docker_does_not_load_what_speaks_with_it(tmp_path: Path) -> None:
    program = f"""
import sys, trio
from pathlib import Path
from fnd.hookspecs import DriverContext
from fnd_docker import fnd_driver
driver = fnd_driver(DriverContext(Path({str(tmp_path / "data")!r}), Path({str(tmp_path / "run")!r}), {{}}))
async def main():
    async with driver.running():
        await driver.clear()
        print(driver.protection()[0].by)
trio.run(main)
sys.exit("httpx" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "nobody has used" in done.stdout
    assert list(tmp_path.iterdir()) == []
