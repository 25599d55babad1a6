"""An instance of a driver that is killed: a process of its own, which starts one container and lets it run."""

from __future__ import annotations

import runpy
import sys
from functools import reduce
from pathlib import Path

import trio

from fnd.testing.bench import DriverTests, Place, container_spec
from fnd.testing.log import KeptLog
from fnd.testing.roles import Role


def _suite(file: str, name: str) -> DriverTests:
    """Return an object of a class that a file defines."""
    first, *rest = name.split(".")
    suite_class = reduce(getattr, rest, runpy.run_path(file, run_name="conformance")[first])
    suite = suite_class()
    assert isinstance(suite, DriverTests)
    return suite


async def _start(suite: DriverTests, role: Role, image: str, container_id: str) -> None:
    driver = suite.make_driver(suite.context())
    log = KeptLog()
    async with driver.running(), driver.start(container_spec(container_id, image, log, environment={})):
        if Role.TALKS not in suite.cannot:
            await log.until(b"ready\n")
        print("started", flush=True)
        await trio.sleep_forever()


def _main(file: str, name: str, root: str, role: str, image: str, container_id: str) -> None:
    suite = _suite(file, name)
    type(suite)._place = Place(Path(root))
    trio.run(_start, suite, Role(role), image, container_id)


if __name__ == "__main__":
    _main(*sys.argv[1:])
