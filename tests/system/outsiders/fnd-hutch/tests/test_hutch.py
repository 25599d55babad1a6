"""The driver keeps what drivers promise, and serves functions."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest
from fnd_hutch.driver import HutchDriver

from fnd.hookspecs import Driver, DriverContext
from fnd.testing import Deploy, DriverConformance, Role, RunningDaemon, example

LEFT = "what leaves a container's session is not found again"


class TestHutch(DriverConformance):
    cannot = {Role.LEAVES_CHILDREN: LEFT, Role.FORKS: LEFT}

    def make_driver(self, context: DriverContext) -> Driver:
        return HutchDriver(context)

    async def leftovers(self, context: DriverContext) -> Collection[str]:
        directories = (context.runtime_directory, context.data_directory)
        return [str(path) for directory in directories if directory.exists() for path in directory.iterdir()]


@pytest.fixture(scope="session")
def fnd_settings() -> str:
    return "[plugins.hutch]\nniceness = 3\n"


def test_it_is_found(fnd_daemon: RunningDaemon) -> None:
    found = {plugin["name"]: plugin for plugin in fnd_daemon.control.get("/control/plugins")["plugins"]}
    hutch = found["hutch"]
    assert (hutch["distribution"], hutch["version"], hutch["state"]) == ("fnd-hutch", "1.0", "in use")
    assert hutch["offers"] == ["settings", "driver hutch"]
    assert [setting["name"] for setting in hutch["settings"]] == ["stop_grace", "niceness"]


@pytest.mark.parametrize("runtime", ["command", "json"])
def test_functions_are_served(fnd_deploy: Deploy, tmp_path: Path, runtime: str) -> None:
    hello = fnd_deploy(example(tmp_path / "hello", runtime), driver="hutch")
    for name in ("Ada", "Grace"):
        assert hello.call(f'{{"name": "{name}"}}').json() == {"message": f"Hello, {name}"}
    (container,) = hello.containers()
    assert container["calls"] == 2
    assert Path(f"/proc/{container['pid']}/stat").read_text().rpartition(")")[2].split()[16] == "3", "its niceness"
