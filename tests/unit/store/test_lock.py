"""One daemon to a directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from fnd.errors import AlreadyRunning
from fnd.store.lock import directory_held


def test_a_runtime_directory_is_held_by_one_at_a_time_and_nothing_is_put_into_it(tmp_path: Path) -> None:
    for _ in range(2):
        with directory_held(tmp_path):
            with pytest.raises(AlreadyRunning, match="--runtime-directory"), directory_held(tmp_path):
                raise AssertionError("it was held by two")
            assert list(tmp_path.iterdir()) == []
