"""What the tests with real parts share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.private_systemd import PrivateSystemd, private_systemd


@pytest.fixture(scope="session")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateSystemd]:
    """A systemd in namespaces of its own, stopped at the end; skipped, with the reason, where there can be none."""
    with private_systemd(tmp_path_factory.mktemp("systemd")) as systemd:
        yield systemd
