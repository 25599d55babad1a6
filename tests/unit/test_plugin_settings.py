"""How a plugin's table is read."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from fnd.errors import ConfigurationError
from fnd.hookspecs import plugin_settings


@attrs.frozen(kw_only=True)
class Settings:
    number: int = attrs.field(default=2, metadata=plugin_settings.whole(1, 3))
    wait: float = attrs.field(default=0.0, metadata=plugin_settings.seconds(60))
    on: bool = attrs.field(default=False, metadata=plugin_settings.switch())
    mode: str = attrs.field(default="a", metadata=plugin_settings.choice("a", "b", "c"))
    word: str = attrs.field(default="x", metadata=plugin_settings.text(re.compile("x+"), "some x"))
    home: str = attrs.field(default="", metadata=plugin_settings.directory())
    seen: tuple[Path, ...] = attrs.field(default=(), metadata=plugin_settings.paths())


def test_what_is_not_given_is_its_default() -> None:
    assert plugin_settings.read("mine", Settings, {}) == Settings()


def test_values_come_as_they_are_to_be_used() -> None:
    table = {"number": 3, "wait": 5, "on": True, "mode": "c", "word": "xx", "home": "/h", "seen": ["/a", "/b"]}
    settings = plugin_settings.read("mine", Settings, table)
    assert settings == Settings(**{**table, "seen": (Path("/a"), Path("/b"))})  # type: ignore[arg-type]
    assert isinstance(settings.wait, float)


@pytest.mark.parametrize(
    ("name", "value", "must"),
    [
        ("number", 4, "a whole number from 1 to 3, not 4"),
        ("number", True, "a whole number from 1 to 3, not True"),
        ("wait", -1, "seconds from 0 to 60, not -1"),
        ("wait", float("nan"), "seconds from 0 to 60, not nan"),
        ("on", 1, "true or false, not 1"),
        ("mode", "d", '"a", "b" or "c", not \'d\''),
        ("mode", [], '"a", "b" or "c", not []'),
        ("word", "y", "some x, not 'y'"),
        ("home", "relative", "an absolute path, not 'relative'"),
        ("seen", ["/a", "b"], "a list of absolute paths, not ['/a', 'b']"),
        ("seen", ["/a\0"], "a list of absolute paths, not ['/a\\x00']"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(name: str, value: object, must: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        plugin_settings.read("mine", Settings, {name: value})
    assert refused.value.message == f"plugins.mine.{name} must be {must}"


def test_a_default_that_cannot_be_is_refused_as_well() -> None:
    @attrs.frozen
    class FromTheEnvironment:
        word: str = attrs.field(factory=lambda: "y", metadata=plugin_settings.text(re.compile("x+"), "some x"))

    with pytest.raises(ConfigurationError, match=r"plugins\.mine\.word must be some x, not 'y'"):
        plugin_settings.read("mine", FromTheEnvironment, {})


def test_what_is_no_setting_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"plugins\.mine\.numbre is no setting; known are home, mode, number"):
        plugin_settings.read("mine", Settings, {"numbre": 1})
