"""A daemon to be killed: starts one container with this driver, says so, and lets it run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import trio

from tests.system.fnd_process.workbench import Log, Workbench


async def main(root: Path, way: str, image: str) -> None:
    bench = Workbench(root, way, {})
    async with bench.driver.running():
        log = Log()
        spec = bench.spec(image, log=log)
        async with bench.driver.start(spec):
            await log.until("ready")
            print(json.dumps({"id": spec.container_id}), flush=True)
            await trio.sleep_forever()


trio.run(main, Path(sys.argv[1]), sys.argv[2], sys.argv[3])
