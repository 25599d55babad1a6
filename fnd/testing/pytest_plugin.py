"""Fixtures that start a real daemon, for authors of functions and of plugins.

Named, not found: write `pytest_plugins = ["fnd.testing.pytest_plugin"]` into the topmost conftest.py of the tests, or
`-p fnd.testing.pytest_plugin` behind pytest. So pytest is as it was wherever fnd is merely installed.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from fnd.testing.daemon import Deploy, Deployed, RunningDaemon, running_daemon

_DAEMON: Final = "fnd_daemon"
_LOGGED_BEFORE: Final = pytest.StashKey[int]()
_SECTION_LENGTH: Final = 20_000
"""Characters of the daemon's log that a failed test's report has."""


@pytest.fixture(scope="session")
def fnd_settings() -> str:
    """The content of the daemon's configuration file: override it for other settings than the defaults."""
    return ""


@pytest.fixture(scope="session")
def fnd_daemon(fnd_settings: str) -> Iterator[RunningDaemon]:
    """A daemon with directories and a port of its own, and the plugins that are installed here; one for all tests.

    It must stop well at the end, or the last test fails.
    """
    with running_daemon(fnd_settings) as daemon:
        yield daemon


@pytest.fixture
def fnd_deploy(fnd_daemon: RunningDaemon, request: pytest.FixtureRequest) -> Iterator[Deploy]:
    """A function that puts functions into service, in an app of the test's own that is deleted after it."""
    app = re.sub(r"[^A-Za-z0-9_-]+", "-", request.node.name)[:60].strip("-") or "test"

    def deploy(directory: Path | str, *, driver: str | None = None, **fields: Any) -> Deployed:
        return fnd_daemon.deploy(Path(directory), app, driver, **fields)

    fnd_daemon.delete_app(app)
    yield deploy
    fnd_daemon.delete_app(app)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Note where the daemon's log is when a test begins."""
    daemon = getattr(item, "funcargs", {}).get(_DAEMON)
    if isinstance(daemon, RunningDaemon):
        item.stash[_LOGGED_BEFORE] = len(daemon.log)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show, with a test that failed, what the daemon has logged during it."""
    report = yield
    daemon = getattr(item, "funcargs", {}).get(_DAEMON)
    if report.when == "call" and report.failed and isinstance(daemon, RunningDaemon):
        logged = daemon.log[item.stash.get(_LOGGED_BEFORE, 0) :][-_SECTION_LENGTH:]
        report.sections.append(("fnd daemon's log", logged))
    return report
