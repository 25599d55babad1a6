"""The table [plugins.docker]: what cannot be used is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from fnd.hookspecs import ConfigurationError
from fnd_docker.settings import read_settings


@pytest.mark.parametrize(
    "table",
    [
        {"host": "http://x"},
        {"host": 5},
        {"host": "tcp://x"},
        {"certificates": "relative"},
        {"user": "root"},
        {"pids": 0},
        {"pids": True},
        {"open_files": 1},
        {"tmp_size": "64m"},
        {"network": ""},
        {"network": "a b"},
        {"network_always": 1},
        {"writable": "yes"},
        {"capabilities": 1},
        {"privilege_gain": None},
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(table: dict[str, Any]) -> None:
    (name,) = table
    with pytest.raises(ConfigurationError, match=rf"plugins\.docker\.{name} must be"):
        read_settings(table)


def test_what_is_no_setting_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"plugins\.docker\.socket is no setting; known are .*host"):
        read_settings({"socket": "/x"})
