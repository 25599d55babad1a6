"""The driver keeps what fnd promises of drivers, and serves functions in a real daemon."""

from __future__ import annotations

from pathlib import Path

import pytest
from fnd_skeleton.driver import SkeletonDriver

from fnd.hookspecs import Driver, DriverContext
from fnd.testing import Deploy, DriverConformance, example


class TestSkeletonDriver(DriverConformance):
    """Promises that its containers cannot keep are named in `cannot`, by the role that their tests need."""

    def make_driver(self, context: DriverContext) -> Driver:
        return SkeletonDriver(context)


@pytest.mark.parametrize("runtime", ["command", "json"])
def test_functions_are_served(fnd_deploy: Deploy, tmp_path: Path, runtime: str) -> None:
    hello = fnd_deploy(example(tmp_path / "hello", runtime), driver="skeleton")
    for name in ("Ada", "Grace"):
        assert hello.call(f'{{"name": "{name}"}}').json() == {"message": f"Hello, {name}"}
    assert len(hello.containers()) == 1
