"""`fnd serve`: an option for every setting that has a flag, and wrong ones told before anything starts."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fnd.cli.exits import ExitCode
from fnd.config import SETTINGS, Settings
from fnd.errors import AlreadyRunning
from tests.unit.cli.scripted_daemon import Ended, Fnd

Serve = Callable[..., Settings]


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def serve(fnd: Fnd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Serve:
    """Return the settings that the daemon would run with."""
    monkeypatch.delenv("FND_CONTROL")
    loaded: list[Settings] = []
    monkeypatch.setattr("fnd.daemon.run", lambda load: loaded.append(load()))

    def serve(*arguments: str) -> Settings:
        ended: Ended = fnd(*arguments)
        assert (ended.code, ended.err) == (0, "")
        return loaded[-1]

    return serve


def test_there_is_an_option_for_every_setting_that_has_a_flag(fnd: Fnd) -> None:
    out = fnd("serve", "--help").out
    for setting in SETTINGS.values():
        if setting.flag:
            assert f"\n  {setting.flag}" in out


def test_options_are_over_variables_and_variables_over_the_file(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "fnd.toml"
    file.write_text("memory = 100\nmax_waiting = 10\nmax_pools = 11\n[plugins.process]\nshare = 1\n")
    monkeypatch.setenv("FND_MEMORY", "200")
    monkeypatch.setenv("FND_MAX_WAITING", "20")
    settings = serve("serve", "--config", str(file), "--memory", "300")
    assert (settings.memory, settings.max_waiting, settings.max_pools) == (300, 20, 11)
    assert settings.plugins == {"process": {"share": 1}}


def test_listeners_add_up(serve: Serve) -> None:
    settings = serve("serve", "--listen", "127.0.0.1:0", "--listen", "unix:/run/fnd/http.sock")
    assert settings.listen == ("127.0.0.1:0", "unix:/run/fnd/http.sock")


def test_the_control_socket_can_be_named_before_or_after(serve: Serve) -> None:
    assert serve("--control", "/run/a.sock", "serve").control == Path("/run/a.sock")
    assert serve("serve", "--control", "/run/b.sock").control == Path("/run/b.sock")
    assert serve("--control", "/run/a.sock", "serve", "--control", "/run/b.sock").control == Path("/run/b.sock")


def test_a_switch_can_be_turned_either_way(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FND_MANAGEMENT_TOKEN", "t" * 32)
    monkeypatch.setenv("FND_MANAGEMENT", "true")
    assert serve("serve").management is True
    assert serve("serve", "--no-management").management is False


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--memory", "much"], "memory"),
        (["--listen", "nowhere"], "listen"),
        (["--config", "/nonexistent/fnd.toml"], "/nonexistent/fnd.toml"),
    ],
)
def test_a_wrong_setting_is_a_usage_error_that_names_it(fnd: Fnd, arguments: list[str], told: str) -> None:
    ended = fnd("serve", *arguments)
    assert ended.code == ExitCode.USAGE
    assert told in ended.err
    assert "Traceback" not in ended.err


def test_a_daemon_that_cannot_start_says_why(fnd: Fnd, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(load: object) -> None:
        raise AlreadyRunning("another daemon holds /var/lib/fnd")

    monkeypatch.setattr("fnd.daemon.run", run)
    ended = fnd("serve")
    assert (ended.code, ended.err) == (ExitCode.FAILED, "fnd: another daemon holds /var/lib/fnd\n")
