"""The mock driver keeps what drivers promise, as far as something without processes can."""

from __future__ import annotations

from pathlib import Path

from fnd.hookspecs import Driver, DriverContext
from fnd.testing import DriverConformance, Role
from fnd_mock.driver import MockDriver

NO_PROCESS = "mock containers are not processes"
NO_OUTPUT = "mock containers write nothing"

IMAGES = {
    Role.WAITS: "mock://waits",
    Role.EXITS: "mock://exits?exit_after=0.01&exit_code=7",
    Role.UNUSABLE: "mock://unusable?wings=2",
}


class TestMockDriver(DriverConformance):
    cannot = {
        Role.SERVES: "mock containers have no socket",
        Role.COPIES: "mock containers have no streams",
        Role.KILLED: NO_PROCESS,
        Role.TALKS: NO_OUTPUT,
        Role.CHATTERS: NO_OUTPUT,
        Role.REPORTS: NO_PROCESS,
        Role.STUBBORN: NO_PROCESS,
        Role.LEAVES_CHILDREN: NO_PROCESS,
        Role.TAKES_MEMORY: NO_PROCESS,
        Role.FORKS: NO_PROCESS,
        Role.COMPUTES: NO_PROCESS,
        Role.BUILT: "mock images are not built",
    }

    def make_driver(self, context: DriverContext) -> Driver:
        return MockDriver()

    async def image(self, driver: Driver, role: Role, directory: Path) -> str:
        return IMAGES[role]
