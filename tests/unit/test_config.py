"""Settings: where each is read, in which order, and how a wrong one is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from fnd.config import SETTINGS, Settings, load_settings, reload_settings
from fnd.errors import ConfigurationError

TOKEN = "0123456789abcdef"


def load(
    flags: dict[str, Any] | None = None, environment: dict[str, str] | None = None, file: Path | None = None
) -> Settings:
    return load_settings(flags or {}, file, environment or {})


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    return tmp_path / "fnd.toml"


def test_defaults_are_those_of_the_documentation() -> None:
    settings = load()
    assert settings.listen == ("127.0.0.1:8080",)
    assert settings.management is False
    assert settings.start_timeout == 5.0
    assert settings.function_log_size == 1 << 20
    assert settings.plugins == {}


def test_a_flag_goes_before_a_variable_and_that_before_the_file(config_file: Path) -> None:
    config_file.write_text("max_waiting = 3\nmax_pools = 3\nmax_connections = 3\n")
    environment = {"FND_MAX_WAITING": "2", "FND_MAX_POOLS": "2"}
    settings = load({"max_waiting": "1"}, environment, config_file)
    assert (settings.max_waiting, settings.max_pools, settings.max_connections) == (1, 2, 3)


def test_what_was_not_given_falls_through(config_file: Path) -> None:
    config_file.write_text('log_level = "debug"\nlisten = ["unix:/a"]\n')
    settings = load({"log_level": None, "listen": ()}, {"FND_LOG_LEVEL": ""}, config_file)
    assert settings.log_level == "debug"
    assert settings.listen == ("unix:/a",)


@pytest.mark.parametrize(
    ("flags", "environment", "parts"),
    [
        ({"max_waiting": "many"}, {}, ["max_waiting", "'many'", "--max-waiting", "whole number from 1"]),
        ({"data_directory": "a\0"}, {}, ["data_directory", "--data"]),
        ({}, {"FND_READ_TIMEOUT": "-1"}, ["read_timeout", "'-1'", "$FND_READ_TIMEOUT", "more than 0"]),
        ({}, {"FND_LOG_LEVEL": "loud"}, ["'loud'", "debug, info, warning or error"]),
        ({}, {"FND_LISTN": "a:1"}, ["FND_LISTN", "not a setting", "FND_LISTEN?"]),
        ({}, {"FND_listen": "a:1"}, ["FND_listen", "not a setting"]),
        ({}, {"FND_PLUGINS": "a"}, ["FND_PLUGINS", "not a setting"]),
        ({"listen": ("::1:80",)}, {}, ["'::1:80'", "--listen", "brackets"]),
        ({}, {"FND_MEMORY": "\udcff"}, ["memory", r"'\udcff'"]),
    ],
)
def test_a_wrong_setting_is_told_with_its_name_value_source_and_what_is_allowed(
    flags: dict[str, Any], environment: dict[str, str], parts: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(flags, environment)
    for part in parts:
        assert part in raised.value.message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("max_waiting = 'x'", "'x' from {file} cannot be used"),
        ("max_wating = 1", "'max_wating' in {file} is not a setting. Do you mean max_waiting?"),
        ("max_waiting = ", "{file} is not valid TOML"),
        ("plugins = 1", "plugins: 1 from {file}"),
        ("[process]\na = 1", "'process' in {file} is not a setting"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_the_file(config_file: Path, text: str, part: str) -> None:
    config_file.write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        load(file=config_file)
    assert part.format(file=config_file) in raised.value.message


def test_a_file_that_cannot_be_read_is_told(config_file: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load(file=config_file)
    config_file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="not valid TOML"):
        load(file=config_file)


def test_plugins_have_their_tables(config_file: Path) -> None:
    config_file.write_text("[plugins.process]\nworkers = 3\n[plugins.docker]\n")
    assert load(file=config_file).plugins == {"process": {"workers": 3}, "docker": {}}


def test_management_needs_a_token() -> None:
    with pytest.raises(ConfigurationError, match="FND_MANAGEMENT_TOKEN"):
        load({"management": True})
    assert load({"management": True}, {"FND_MANAGEMENT_TOKEN": TOKEN}).management


def test_the_token_is_never_shown() -> None:
    assert TOKEN not in repr(load({"management": True}, {"FND_MANAGEMENT_TOKEN": TOKEN}))
    with pytest.raises(ConfigurationError) as raised:
        load({}, {"FND_MANAGEMENT_TOKEN": "my secret"})
    assert "my secret" not in raised.value.message
    assert SETTINGS["management_token"].flag == ""


def test_log_limits_must_fit_in_each_other() -> None:
    with pytest.raises(ConfigurationError, match=r"function_log_keep: 1048576 .* at least function_log_size"):
        load({"function_log_size": "2MiB", "function_log_keep": "1MiB"})
    with pytest.raises(ConfigurationError, match="function_log_total"):
        load({"function_log_keep": "1GiB", "function_log_total": "16MiB"})


def test_systemd_says_where_directories_are() -> None:
    environment = {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "RUNTIME_DIRECTORY": "/run/a"}
    settings = load({}, environment)
    assert settings.data_directory == Path("/var/lib/a")
    assert settings.runtime_directory == Path("/run/a")
    assert settings.control == Path("/run/a/control.sock")


def test_root_has_the_system_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    settings = load({}, {"XDG_DATA_HOME": "/x", "XDG_RUNTIME_DIR": "/y"})
    assert (settings.data_directory, settings.runtime_directory) == (Path("/var/lib/fnd"), Path("/run/fnd"))


def test_another_user_has_directories_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    settings = load({}, {"XDG_DATA_HOME": "/x", "XDG_RUNTIME_DIR": "/y"})
    assert (settings.data_directory, settings.runtime_directory) == (Path("/x/fnd"), Path("/y/fnd"))
    monkeypatch.setenv("HOME", "/home/somebody")
    settings = load()
    assert settings.data_directory == Path("/home/somebody/.local/share/fnd")
    assert settings.runtime_directory == Path("/tmp/fnd-1234")


def test_a_control_socket_whose_path_is_too_long_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="shorter runtime_directory"):
        load({"runtime_directory": "/" + "x" * 100})


def test_memory_in_force_is_never_0_and_stays_what_it_was_at_start() -> None:
    first = load()
    assert first.memory > 0
    ballast = b"x" * (64 << 20)
    assert load().memory == first.memory, len(ballast)
    assert load({"memory": "512MiB"}).memory == 512


def test_the_settings_file_of_the_cli_is_no_setting() -> None:
    assert load({}, {"FND_CONFIG": "/etc/fnd.toml", "FNDX": "1", "OTHER": "2"}) == load()


def test_every_setting_has_help_and_is_reachable() -> None:
    assert list(SETTINGS) == [field.name for field in attrs.fields(Settings)]
    for setting in SETTINGS.values():
        assert setting.help.endswith(".")
        assert setting.default
        assert setting.flag or setting.variable or setting.file_only


def test_addresses_are_given_parsed() -> None:
    (address,) = load({"listen": ("[::1]:0",)}).listen_addresses
    assert (address.host, address.port) == ("::1", 0)


def test_a_reload_takes_what_a_running_daemon_can_take_and_names_the_rest() -> None:
    current = load({"log_level": "info", "max_pools": "5", "memory": "64"})
    loaded = load({"log_level": "debug", "max_pools": "6", "memory": "64"})
    reloaded = reload_settings(current, loaded)
    assert reloaded.settings == attrs.evolve(current, log_level="debug")
    assert reloaded.changed == ("log_level",)
    assert reloaded.restart_needed == ("max_pools",)


def test_importing_it_is_light() -> None:
    code = "import fnd.config, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"yaml", "rich", "httpx", "trio", "tomllib", "litestar"} & set(loaded.split())
