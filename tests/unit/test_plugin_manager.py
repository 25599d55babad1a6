"""Finding plugins: fnd's own, which come as anybody's would, and others that are wrong in some way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from fnd import plugin_manager
from fnd.errors import ConfigurationError
from fnd.hookspecs import Codec, CodecContext, Driver, DriverContext, hookimpl
from fnd.plugin_manager import PluginManager
from fnd.plugins import PluginStatus
from tests.installation import Installation


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


@pytest.fixture(autouse=True)
def none_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is."""
    monkeypatch.setattr(plugin_manager, "SLOW", plugin_manager.LIMIT)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Installation(tmp_path)


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
    plugins.add("other-plugin", other)
    assert "other" in plugins.drivers(driver_context)
    assert other.asked == [driver_context("other-plugin")]


def test_one_that_offers_nothing_is_no_trouble(plugins: PluginManager) -> None:
    before = plugins.drivers(driver_context).keys()
    plugins.add("nothing", Plugin(""))
    assert plugins.drivers(driver_context).keys() == before


def test_one_may_offer_several(plugins: PluginManager) -> None:
    class Several:
        @hookimpl
        def fnd_codec(self, context: CodecContext) -> Sequence[Any]:
            return [Offered("one"), Offered("other")]

    plugins.add("several", Several())
    assert {"one", "other", "http-stream"} <= plugins.codecs(codec_context).keys()
    plugins.add("usurper", Plugin("one"))
    with pytest.raises(ConfigurationError, match=r"'several' and 'usurper'|'usurper' and 'several'"):
        plugins.codecs(codec_context)


def test_two_that_offer_the_same_are_refused_by_name(plugins: PluginManager) -> None:
    plugins.add("usurper", Plugin("mock"))
    for collect in (lambda: plugins.drivers(driver_context), lambda: plugins.codecs(codec_context)):
        with pytest.raises(ConfigurationError) as caught:
            collect()
        assert "'usurper'" in caught.value.message
        assert "'mock'" in caught.value.message


def found(name: str) -> PluginStatus:
    """Return what is known of a plugin of this installation once all of it was asked for."""
    plugins = PluginManager()
    plugins.settings()
    plugins.drivers(driver_context)
    plugins.codecs(codec_context)
    plugins.call_listeners(driver_context)
    plugins.routes(driver_context)
    plugins.metrics(driver_context)
    assert {"process", "docker", "mock", "http_stream"} <= set(plugins.names)
    (status,) = (status for status in plugins.statuses() if status.name == name)
    return status


def test_all_that_a_plugin_offers_is_told_with_where_it_came_from(installed: Installation) -> None:
    installed.install(
        "whole",
        """
import attrs
from types import SimpleNamespace
from fnd.hookspecs import hookimpl, plugin_settings
fnd_surface = 1
@attrs.frozen
class Settings:
    size: int = attrs.field(default=1, metadata=plugin_settings.whole(1, 5))
@hookimpl
def fnd_settings(): return Settings
@hookimpl
def fnd_driver(context): return SimpleNamespace(scheme="whole")
@hookimpl
def fnd_codec(context): return SimpleNamespace(format="entire")
@hookimpl
def fnd_call_listener(context): return object()
@hookimpl
def fnd_routes(context): return object()
@hookimpl
def fnd_metrics(context): return object()
""",
        "fnd-whole",
    )
    status = found("whole")
    assert status.offers == (
        *("settings", "driver whole", "codec entire", "call listener", "routes /plugins/whole", "metrics"),
    )
    assert (status.distribution, status.version, status.surface, status.state) == ("fnd-whole", "1.2", 1, "in use")
    (setting,) = status.settings
    assert (setting.name, setting.default, setting.allowed) == ("size", 1, "a whole number from 1 to 5")
    assert status.seconds >= 0


RAISES = {
    "raise RuntimeError('no luck')": "RuntimeError: no luck",
    "import sys; sys.exit(3)": "SystemExit(3)",
    "import wings_that_are_not_there": "No module named 'wings_that_are_not_there'; install what it needs",
    "from fnd.hookspecs import Wings": "install a version of outsider that is made for this fnd",
    "fnd_surface = 2": "it is made for surface 2, newer than this fnd's",
    "fnd_surface = 0": "it is made for surface 0, older than 1",
    "fnd_surface = True": "its fnd_surface is True, and no whole number",
    "fnd_surface = 'one'": "its fnd_surface is 'one', and no whole number",
    "from fnd.hookspecs import hookimpl\n@hookimpl\ndef fnd_wings(context): ...": "that surface 1 does not: fnd_wings",
    "from fnd.hookspecs import hookimpl\n@hookimpl\ndef fnd_driver(context, wings): ...": "wings",
    "def broken(": "SyntaxError",
}


@pytest.mark.parametrize(("source", "why"), RAISES.items())
def test_one_that_cannot_be_used_is_refused_with_the_reason_and_the_others_are_used(
    installed: Installation, source: str, why: str
) -> None:
    installed.install("outsider", source)
    status = found("outsider")
    assert status.state == "refused"
    assert why in status.reason
    assert status.offers == ()


def test_one_that_does_not_say_its_surface_is_taken_to_be_made_for_the_first(installed: Installation) -> None:
    installed.install("outsider", "")
    assert (found("outsider").surface, found("outsider").state) == (1, "in use")


def test_a_hook_that_raises_is_named_and_the_others_of_its_plugin_are_called(installed: Installation) -> None:
    installed.install(
        "outsider",
        """
from types import SimpleNamespace
from fnd.hookspecs import hookimpl
@hookimpl
def fnd_driver(context): raise OSError("no such engine")
@hookimpl
def fnd_codec(context): return SimpleNamespace(format="still there")
""",
    )
    status = found("outsider")
    (trouble,) = status.troubles
    assert (status.state, status.offers) == ("troubled", ("codec still there",))
    assert (trouble.where, trouble.error, trouble.count) == ("fnd_driver", "OSError: no such engine", 1)


def test_what_is_offered_must_say_what_it_is(installed: Installation) -> None:
    hook = "from fnd.hookspecs import hookimpl\n@hookimpl\ndef fnd_driver(context): return object()"
    installed.install("outsider", hook)
    (trouble,) = found("outsider").troubles
    assert "'object' object has no attribute 'scheme'" in trouble.error


def test_an_import_that_hangs_is_given_up(installed: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fnd.plugin_manager.LIMIT", 0.5)
    installed.install("outsider", "import threading; threading.Event().wait()")
    status = found("outsider")
    assert status.state == "refused"
    assert "its import took more than 0.5 s: repair or uninstall outsider" in status.reason


def test_a_hook_that_hangs_is_given_up_and_its_plugin_asked_no_more(
    installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnd.plugin_manager.LIMIT", 0.5)
    installed.install(
        "outsider",
        """
from fnd.hookspecs import hookimpl
import threading
@hookimpl
def fnd_driver(context): threading.Event().wait()
@hookimpl
def fnd_codec(context): raise AssertionError("called")
""",
    )
    (trouble,) = found("outsider").troubles
    assert (trouble.where, trouble.error) == (
        "fnd_driver",
        "it had not returned after 0.5 s; nothing more is asked of the plugin",
    )


def test_one_that_is_slow_is_named_with_its_time(installed: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fnd.plugin_manager.SLOW", 0.1)
    installed.install("outsider", "import time; time.sleep(0.15)")
    status = found("outsider")
    (trouble,) = status.troubles
    assert trouble.where == "import"
    assert re.fullmatch(r"slow: it took 0\.[12] s", trouble.error)
    assert status.seconds >= 0.1


def test_fnds_own_plugins_give_way_to_none_of_the_same_name(installed: Installation) -> None:
    installed.install("process", "raise AssertionError('imported')", "usurper")
    assert found("process").distribution == "fnd"
    assert "fnd has a plugin of the same name" in found("process of usurper").reason


def test_a_mistake_in_settings_is_for_the_operator_to_mend(installed: Installation) -> None:
    hook = "from fnd.hookspecs import *\n@hookimpl\ndef fnd_driver(context): raise ConfigurationError('size: too big')"
    installed.install("outsider", hook)
    with pytest.raises(ConfigurationError, match="size: too big"):
        found("outsider")


SETTINGS = """
import attrs
from fnd.hookspecs import hookimpl, plugin_settings
@attrs.frozen
class Settings:
    size: int = attrs.field(default=1, metadata=plugin_settings.whole(1, 5))
@hookimpl
def fnd_settings(): return Settings
"""


def test_declared_settings_are_checked_before_anything_else_is_asked(installed: Installation) -> None:
    installed.install("outsider", SETTINGS)
    plugins = PluginManager()
    plugins.check_settings({"outsider": {"size": 5}})
    with pytest.raises(ConfigurationError, match=r"plugins\.outsider\.size must be a whole number from 1 to 5, not 6"):
        plugins.check_settings({"outsider": {"size": 6}})


def test_settings_of_a_plugin_that_is_not_there_are_told_and_no_more(plugins: PluginManager) -> None:
    plugins.check_settings({"wings": {"size": 6}})
    (status,) = (status for status in plugins.statuses() if status.name == "wings")
    assert (status.state, status.reason) == ("refused", "there is a table [plugins.wings], but no such plugin")


def test_whoever_listens_is_told_of_each_with_its_error(installed: Installation) -> None:
    installed.install("outsider", "raise RuntimeError('no luck')")
    told: list[tuple[str, str, BaseException | None]] = []
    PluginManager(lambda plugin, where, what, count, error: told.append((plugin.name, where, error)))
    ((name, where, error),) = told
    assert (name, where) == ("outsider", "refused")
    assert isinstance(error, RuntimeError)


def test_a_driver_that_fails_to_start_is_no_longer_offered(plugins: PluginManager) -> None:
    plugins.drivers(driver_context)
    plugins.driver_failed("mock", RuntimeError("no luck"))
    (mock,) = (status for status in plugins.statuses() if status.name == "mock")
    assert "driver mock" not in mock.offers
    assert [(one.where, one.error) for one in mock.troubles] == [("driver", "RuntimeError: no luck")]
    assert [plugin.name for plugin in plugins.suspects("mock")] == ["mock"]
    assert [plugin.name for plugin in plugins.suspects("process")] == ["mock"]


def test_a_mistake_in_settings_that_a_driver_finds_at_its_start_is_the_operators(plugins: PluginManager) -> None:
    plugins.drivers(driver_context)
    mistake = ConfigurationError("bubblewrap: not installed")
    with pytest.raises(ConfigurationError, match="bubblewrap"):
        plugins.driver_failed("mock", ExceptionGroup("", [ExceptionGroup("", [mistake])]))
