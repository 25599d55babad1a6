"""Finding plugins: fnd's own, which come as anybody's would, and others that are wrong in some way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from fnd.errors import ConfigurationError
from fnd.hookspecs import Codec, CodecContext, Driver, DriverContext, hookimpl
from fnd.plugin_manager import PluginManager


def driver_context(plugin: str) -> DriverContext:
    return DriverContext(Path("/nowhere/data") / plugin, Path("/nowhere/run") / plugin, {})


def codec_context(plugin: str) -> CodecContext:
    watcher: Any = object()
    return CodecContext(watcher, 1000, 1000, {})


@attrs.frozen
class Offered:
    """What a plugin offers, as far as the manager looks."""

    scheme: str
    settings: Any = None

    @property
    def format(self) -> str:
        return self.scheme


class Plugin:
    """Offers one of each, unless it has no name to offer."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[DriverContext] = []

    @hookimpl
    def fnd_driver(self, context: DriverContext) -> Driver | None:
        self.asked.append(context)
        offered: Any = Offered(self.name) if self.name else None
        return offered  # type: ignore[no-any-return]

    @hookimpl
    def fnd_codec(self, context: CodecContext) -> Codec | None:
        offered: Any = Offered(self.name) if self.name else None
        return offered  # type: ignore[no-any-return]


@pytest.fixture
def plugins() -> PluginManager:
    return PluginManager()


def test_fnds_own_are_found(plugins: PluginManager) -> None:
    assert {"process", "mock"} <= plugins.drivers(driver_context).keys()
    assert {"http-stream", "default", "http", "json", "mock"} <= plugins.codecs(codec_context).keys()
    assert "process" in plugins.names


def test_each_is_known_by_what_it_says_of_itself(plugins: PluginManager) -> None:
    assert all(driver.scheme == scheme for scheme, driver in plugins.drivers(driver_context).items())
    assert all(codec.format == name for name, codec in plugins.codecs(codec_context).items())


def test_another_is_asked_with_a_context_of_its_own(plugins: PluginManager) -> None:
    other = Plugin("other")
    plugins._manager.register(other, "other-plugin")
    assert "other" in plugins.drivers(driver_context)
    assert other.asked == [driver_context("other-plugin")]


def test_one_that_offers_nothing_is_no_trouble(plugins: PluginManager) -> None:
    before = plugins.drivers(driver_context).keys()
    plugins._manager.register(Plugin(""), "nothing")
    assert plugins.drivers(driver_context).keys() == before


def test_one_may_offer_several(plugins: PluginManager) -> None:
    class Several:
        @hookimpl
        def fnd_codec(self, context: CodecContext) -> Sequence[Any]:
            return [Offered("one"), Offered("other")]

    plugins._manager.register(Several(), "several")
    assert {"one", "other", "http-stream"} <= plugins.codecs(codec_context).keys()
    plugins._manager.register(Plugin("one"), "usurper")
    with pytest.raises(ConfigurationError, match=r"'several' and 'usurper'|'usurper' and 'several'"):
        plugins.codecs(codec_context)


def test_two_that_offer_the_same_are_refused_by_name(plugins: PluginManager) -> None:
    plugins._manager.register(Plugin("mock"), "usurper")
    for collect in (lambda: plugins.drivers(driver_context), lambda: plugins.codecs(codec_context)):
        with pytest.raises(ConfigurationError) as caught:
            collect()
        assert "'usurper'" in caught.value.message
        assert "'mock'" in caught.value.message


def test_one_that_cannot_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> None:
        raise ImportError("no module named wings")

    monkeypatch.setattr("pluggy.PluginManager.load_setuptools_entrypoints", load)
    with pytest.raises(ConfigurationError, match="wings"):
        PluginManager()
