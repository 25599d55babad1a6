"""The process driver keeps what drivers promise, in each way of confining containers."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from fnd.hookspecs import Driver, DriverContext
from fnd.testing import DriverConformance
from fnd_process.driver import ProcessDriver
from tests.parts import need_program

pytestmark = pytest.mark.system


class ProcessConformance(DriverConformance):
    """What its ways have in common."""

    def make_driver(self, context: DriverContext) -> Driver:
        return ProcessDriver(context)

    async def leftovers(self, context: DriverContext) -> Collection[str]:
        directories = (context.runtime_directory, *context.data_directory.glob("*"))
        return [str(path) for directory in directories if directory.exists() for path in directory.iterdir()]


class TestInASandbox(ProcessConformance):
    settings = {"bubblewrap": "require", "cgroup": "off", "stop_grace": 0.2}

    @pytest.fixture(autouse=True)
    def _bubblewrap(self) -> None:
        need_program("bwrap", "bubblewrap")


class TestOnTheHost(ProcessConformance):
    settings = {"bubblewrap": "off", "cgroup": "off", "stop_grace": 0.2}
