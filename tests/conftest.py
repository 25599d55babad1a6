"""Real parts that tests of several kinds share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.private_docker import PrivateDocker, private_docker, python_image
from tests.private_podman import PrivatePodman, private_podman


@pytest.fixture(scope="session")
def docker() -> Iterator[PrivateDocker]:
    """An engine with an image that has a Python; skipped, with the reason, where there can be none."""
    with private_docker() as engine:
        python_image(engine)
        yield engine


@pytest.fixture(scope="session")
def podman() -> Iterator[PrivatePodman]:
    """A Podman with such an image; skipped, with the reason, where there can be none."""
    with private_podman() as engine:
        python_image(engine)
        yield engine
