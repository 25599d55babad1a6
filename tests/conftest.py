"""Real parts that tests of several kinds share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.private_docker import PrivateDocker, private_docker, python_image


@pytest.fixture(scope="session")
def docker() -> Iterator[PrivateDocker]:
    """An engine with an image that has a Python; skipped, with the reason, where there can be none."""
    with private_docker() as engine:
        python_image(engine)
        yield engine
