"""What the store's tests share: a directory with a store in it, and entities to put there."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fnd.ids import new_id
from fnd.model import App, Fn, Trigger
from fnd.store import Store, open_store

MOMENT = datetime(2025, 3, 1, 12, 30, 15, 250_001, tzinfo=UTC)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let this process write no file beyond `size` bytes: the nearest to a full disk that needs no disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def data_directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def store(data_directory: Path) -> AsyncIterator[Store]:
    async with open_store(data_directory, busy_timeout=0.01) as store:
        yield store


@pytest.fixture
def make_app() -> Callable[..., App]:
    def make(**fields: Any) -> App:
        defaults: dict[str, Any] = {"id": new_id(), "name": "app", "created_at": MOMENT, "updated_at": MOMENT}
        return App(**defaults | fields)

    return make


@pytest.fixture
def make_fn() -> Callable[..., Fn]:
    def make(app: App, **fields: Any) -> Fn:
        defaults: dict[str, Any] = {
            "id": new_id(),
            "name": "fn",
            "app_id": app.id,
            "image": "process:///f",
            "created_at": MOMENT,
            "updated_at": MOMENT,
        }
        return Fn(**defaults | fields)

    return make


@pytest.fixture
def make_trigger() -> Callable[..., Trigger]:
    def make(fn: Fn, **fields: Any) -> Trigger:
        defaults: dict[str, Any] = {
            "id": new_id(),
            "name": "trigger",
            "app_id": fn.app_id,
            "fn_id": fn.id,
            "source": "/t",
            "created_at": MOMENT,
            "updated_at": MOMENT,
        }
        return Trigger(**defaults | fields)

    return make
