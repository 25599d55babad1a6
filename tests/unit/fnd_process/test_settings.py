"""The table [plugins.process]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fnd.errors import ConfigurationError
from fnd_process.settings import ProcessSettings, read_settings


def test_nothing_need_be_said() -> None:
    assert read_settings({}) == ProcessSettings()
    assert (ProcessSettings().pids, ProcessSettings().open_files) == (50, 350)


def test_every_setting_can_be() -> None:
    table: dict[str, Any] = {
        "bubblewrap": "require",
        "cgroup": "off",
        "pids": 7,
        "open_files": 64,
        "file_size": 5,
        "tmp_size": 6,
        "stop_grace": 2,
        "max_bundle_size": 10,
        "max_bundle_files": 11,
        "extra_paths": ["/opt/node"],
    }
    assert read_settings(table) == ProcessSettings(**{**table, "stop_grace": 2.0, "extra_paths": (Path("/opt/node"),)})


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"bubblewarp": "off"}, "plugins.process.bubblewarp is no setting; known are bubblewrap, cgroup"),
        ({"bubblewrap": True}, """plugins.process.bubblewrap must be "auto", "off" or "require", not True"""),
        ({"cgroup": "on"}, """plugins.process.cgroup must be "auto", "off" or "require", not 'on\'"""),
        ({"pids": 0}, "plugins.process.pids must be a whole number from 1 to 100000, not 0"),
        ({"pids": True}, "plugins.process.pids must be a whole number"),
        ({"open_files": "many"}, "plugins.process.open_files must be a whole number"),
        ({"file_size": 1.5}, "plugins.process.file_size must be a whole number"),
        ({"tmp_size": -1}, "plugins.process.tmp_size must be a whole number"),
        ({"stop_grace": 61}, "plugins.process.stop_grace must be seconds from 0 to 60, not 61"),
        ({"stop_grace": "1s"}, "plugins.process.stop_grace must be seconds"),
        ({"max_bundle_size": 0}, "plugins.process.max_bundle_size must be a whole number"),
        ({"max_bundle_files": 0}, "plugins.process.max_bundle_files must be a whole number"),
        ({"extra_paths": "/opt"}, "plugins.process.extra_paths must be a list of absolute paths, not '/opt'"),
        ({"extra_paths": ["opt"]}, "plugins.process.extra_paths must be a list of absolute paths"),
    ],
)
def test_a_setting_that_cannot_be_is_named(table: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_settings(table)
    assert caught.value.message.startswith(says)
