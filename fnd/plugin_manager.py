"""Finds plugins through the entry-point group "fnd", and asks each for what it has.

fnd's own drivers and plugins come the same way as anybody's. A plugin that cannot be used is left out and says why;
only two that offer the same thing, and mistakes in the settings, are for the operator to mend before anything starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, TypeVar

import pluggy

from fnd.errors import ConfigurationError, FndError
from fnd.hookspecs import (
    ENTRY_POINT_GROUP,
    OLDEST_SURFACE,
    PROJECT,
    SURFACE,
    ASGIApplication,
    CallListener,
    Codec,
    CodecContext,
    Driver,
    DriverContext,
    Hooks,
    MetricsSource,
    PluginContext,
    plugin_settings,
)
from fnd.patience import TookTooLong, call_with_patience
from fnd.plugins import Plugin, PluginStatus, Tell, describe

LIMIT: Final = 10.0
"""Seconds that the import of a plugin may take, and each of its hooks."""
SLOW: Final = 2.0
"""Seconds from which on it is worth a word how long a plugin keeps the start waiting."""

CALL_LISTENER: Final = "call listener"
METRICS: Final = "metrics"
"""Words for what plugins offer."""

T = TypeVar("T")


def routes_at(name: str) -> str:
    """Return the words for a plugin's routes."""
    return f"routes /plugins/{name}"


class PluginManager:
    """The plugins of this installation. Its methods block: the daemon calls them in a thread."""

    def __init__(self, tell: Tell | None = None) -> None:
        """Load them. `tell` is told of each that is refused or has trouble, from now on, in whatever thread that is."""
        self._tell = tell
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)
        self._plugins: dict[str, Plugin] = {}
        self._given_up: set[Plugin] = set()
        """Those of which a hook has not returned."""
        for entry_point in _found():
            self._load(entry_point)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the plugins that are used, those of their entry points."""
        return tuple(name for name, plugin in self._plugins.items() if not plugin.refused)

    def __iter__(self) -> Iterator[Plugin]:
        """Give every plugin, refused ones included."""
        return iter(self._plugins.values())

    def statuses(self) -> tuple[PluginStatus, ...]:
        """Return what is known of each plugin now, refused ones included."""
        return tuple(plugin.status() for plugin in self)

    def add(self, name: str, module: object, distribution: str = "", version: str = "") -> None:
        """Take a plugin that is loaded already, as if it had been found."""
        self._add(self._known(name, distribution, version), module)

    def check_settings(self, tables: Mapping[str, Mapping[str, Any]]) -> None:
        """Check the tables [plugins.NAME] of those that have declared settings.

        Raises ConfigurationError, naming the setting. A table of no plugin is told as a plugin that is refused.
        """
        for name in tables:
            if name not in self._plugins:
                self._known(name, "", "").refuse(f"there is a table [plugins.{name}], but no such plugin")
        for name, kind in self.settings().items():
            self._ask(self._plugins[name], "fnd_settings", partial(_check, name, kind, tables))

    def settings(self) -> Mapping[str, type[Any]]:
        """Return the settings class of each plugin that has declared one."""
        return {name: kind for name, kind, _ in self._collect("fnd_settings", None, self._declare)}

    def _declare(self, name: str, kind: type[Any]) -> str:
        self._plugins[name].settings = plugin_settings.described(kind)
        return "settings"

    def drivers(self, context: Callable[[str], DriverContext]) -> Mapping[str, Driver]:
        """Return every driver by its scheme; `context` makes a plugin's context from its name.

        Raises ConfigurationError if two drivers take one scheme, or what a driver raises about its settings.
        """
        return _by_key(self._collect("fnd_driver", context, lambda name, driver: f"driver {driver.scheme}"))

    def codecs(self, context: Callable[[str], CodecContext]) -> Mapping[str, Codec]:
        """Return every codec by its format. Raises ConfigurationError as `drivers` does."""
        return _by_key(self._collect("fnd_codec", context, lambda name, codec: f"codec {codec.format}"))

    def call_listeners(self, context: Callable[[str], PluginContext]) -> Mapping[Plugin, CallListener]:
        """Return every call listener, by its plugin. Raises ConfigurationError as `drivers` does."""
        return self._by_plugin("fnd_call_listener", context, lambda name, listener: CALL_LISTENER)

    def routes(self, context: Callable[[str], PluginContext]) -> Mapping[Plugin, ASGIApplication]:
        """Return every ASGI application, by its plugin. Raises ConfigurationError as `drivers` does."""
        return self._by_plugin("fnd_routes", context, lambda name, application: routes_at(name))

    def metrics(self, context: Callable[[str], PluginContext]) -> Mapping[Plugin, MetricsSource]:
        """Return every source of metrics, by its plugin. Raises ConfigurationError as `drivers` does."""
        return self._by_plugin("fnd_metrics", context, lambda name, source: METRICS)

    def of_driver(self, scheme: str) -> Plugin:
        """Return the plugin whose driver this is."""
        return next(plugin for plugin in self if f"driver {scheme}" in plugin.offers)

    def driver_failed(self, scheme: str, error: Exception) -> None:
        """Note that a driver cannot be used. Raises a ConfigurationError that it is, or that its nurseries hand on."""
        if (mistake := _first(ConfigurationError, error)) is not None:
            raise mistake
        plugin = self.of_driver(scheme)
        plugin.withdraw(f"driver {scheme}")
        plugin.trouble("driver", error.message if isinstance(error, FndError) else describe(error), error)

    def without_driver(self) -> Sequence[Plugin]:
        """Return the plugins that may have a driver which could not be asked for."""
        return [plugin for plugin in self if plugin.refused or "fnd_driver" in plugin.troubled]

    def suspects(self, scheme: str) -> Sequence[Plugin]:
        """Return the plugins that may be why there is no such driver: that of its name, else all that have failed."""
        failed = [plugin for plugin in self if plugin.reason]
        return [plugin for plugin in failed if plugin.name == scheme] or failed

    # Loading.

    def _load(self, entry_point: EntryPoint) -> None:
        distribution = entry_point.dist
        name, version = ("", "") if distribution is None else (distribution.name, distribution.version)
        if (other := self._plugins.get(entry_point.name)) is not None:
            key = f"{entry_point.name} of {name}"
            self._known(key, name, version).refuse(
                f"{other.distribution} has a plugin of the same name, which is used: uninstall one of them"
            )
            return
        plugin = self._known(entry_point.name, name, version)
        try:
            module = self._timed(plugin, entry_point.load, "import")
        except TookTooLong:
            plugin.refuse(f"its import took more than {LIMIT:g} s: repair or uninstall {name}")
        except ImportError as error:
            plugin.refuse(_import_failed(error, name), error)
        except Exception as error:
            plugin.refuse(f"its import failed: {describe(error)}; repair or uninstall {name}", error)
        else:
            self._add(plugin, module)

    def _add(self, plugin: Plugin, module: object) -> None:
        try:
            plugin.surface = surface_of(module)
            plugin.package = getattr(module, "__name__", "").partition(".")[0]
            self._manager.register(module, plugin.name)
            # A hook that there is not was made for another surface, and its plugin would miss what it stands for.
            if unknown := sorted(_unknown_hooks(self._manager, module)):
                raise Unfit(f"it has hooks that surface {SURFACE} does not: {', '.join(unknown)}")  # noqa: TRY301
        except Unfit as error:
            plugin.refuse(f"{error}; install a version of it for fnd's surface {SURFACE}, or another fnd")
        except (pluggy.PluginValidationError, ValueError) as error:
            plugin.refuse(f"its hooks are not those of surface {SURFACE}: {error}", error)
        except Exception as error:
            plugin.refuse(f"its module cannot be read: {describe(error)}", error)
        if plugin.refused and self._manager.is_registered(module):
            self._manager.unregister(module)

    def _known(self, name: str, distribution: str, version: str) -> Plugin:
        return self._plugins.setdefault(name, Plugin(name, distribution, version, self._tell))

    # Asking.

    def _collect(
        self, hook_name: str, context: Callable[[str], Any] | None, offer: Callable[[str, Any], str]
    ) -> Iterator[tuple[str, Any, str]]:
        """Yield plugins' names, what each offers by a hook, and in words what that is."""
        for name, module in self._manager.list_name_plugin():
            plugin = self._plugins[name]
            others = [other for other in self._manager.get_plugins() if other is not module]
            hook = self._manager.subset_hook_caller(hook_name, remove_plugins=others)
            if plugin in self._given_up or not hook.get_hookimpls():
                continue
            given = {} if context is None else {"context": context(name)}
            for offered, words in (
                self._ask(plugin, hook_name, partial(_offers, hook, given, partial(offer, name))) or ()
            ):
                if words not in plugin.offers:
                    plugin.offers.append(words)
                yield name, offered, words

    def _by_plugin(
        self, hook_name: str, context: Callable[[str], Any], offer: Callable[[str, Any], str]
    ) -> Mapping[Plugin, Any]:
        return {self._plugins[name]: offered for name, offered, _ in self._collect(hook_name, context, offer)}

    def _ask(self, plugin: Plugin, hook_name: str, function: Callable[[], T]) -> T | None:
        """Return what `function` does, which calls a plugin's hook; None if that is to be done without."""
        try:
            return self._timed(plugin, function, hook_name)
        except ConfigurationError:
            raise
        except TookTooLong:
            plugin.trouble(hook_name, f"it had not returned after {LIMIT:g} s; nothing more is asked of the plugin")
            self._given_up.add(plugin)
        except Exception as error:
            plugin.trouble(hook_name, describe(error), error)
        return None

    def _timed(self, plugin: Plugin, function: Callable[[], T], what: str) -> T:
        began = time.monotonic()
        try:
            return call_with_patience(function, LIMIT, f"fnd plugin {plugin.name}")
        finally:
            took = time.monotonic() - began
            plugin.seconds += took
            if SLOW <= took < LIMIT:
                plugin.trouble(what, f"slow: it took {took:.1f} s")


class Unfit(Exception):
    """A plugin made for another surface."""


def _found() -> Iterable[EntryPoint]:
    """Return the entry points, fnd's own first, so that nobody else's takes its place."""
    return sorted(
        entry_points(group=ENTRY_POINT_GROUP),
        key=lambda one: (one.dist is None or one.dist.name != PROJECT, one.name),
    )


def surface_of(module: object) -> int:
    """Return the version of the surface that a plugin's module is made for. Raises Unfit if it cannot be used here."""
    surface = getattr(module, "fnd_surface", 1)
    if isinstance(surface, bool) or not isinstance(surface, int):
        raise Unfit(f"its fnd_surface is {surface!r}, and no whole number")
    if surface > SURFACE:
        raise Unfit(f"it is made for surface {surface}, newer than this fnd's")
    if surface < OLDEST_SURFACE:
        raise Unfit(f"it is made for surface {surface}, older than {OLDEST_SURFACE}, the oldest that this fnd knows")
    return surface


def _unknown_hooks(manager: pluggy.PluginManager, module: object) -> Iterator[str]:
    for caller in manager.get_hookcallers(module) or ():
        if not caller.has_spec():
            yield caller.name


def _import_failed(error: ImportError, distribution: str) -> str:
    if error.name is not None and error.name.partition(".")[0] == PROJECT:
        return f"its import failed: {error}; install a version of {distribution} that is made for this fnd"
    return f"its import failed: {describe(error)}; install what it needs, or uninstall {distribution}"


def _offers(
    hook: pluggy.HookCaller, given: Mapping[str, Any], offer: Callable[[Any], str]
) -> Sequence[tuple[Any, str]]:
    """Return what the one plugin offers by a hook, be it one thing or several, and in words what each is."""
    found = [one for answer in hook(**given) for one in (answer if isinstance(answer, Sequence) else [answer])]
    return [(one, offer(one)) for one in found]


def _check(name: str, kind: type[Any], tables: Mapping[str, Mapping[str, Any]]) -> None:
    plugin_settings.read(name, kind, tables.get(name, {}))


E = TypeVar("E", bound=Exception)


def _first(kind: type[E], error: BaseException) -> E | None:
    """Return the first error of a kind that `error` is or has in it."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for one in error.exceptions if (found := _first(kind, one)) is not None), None)
    return error if isinstance(error, kind) else None


def _by_key(found: Iterator[tuple[str, Any, str]]) -> Mapping[str, Any]:
    by_key: dict[str, Any] = {}
    by_whom: dict[str, str] = {}
    for name, offered, words in found:
        key = words.partition(" ")[2]
        if key in by_key:
            raise ConfigurationError(f"the plugins {by_whom[key]!r} and {name!r} both offer {key!r}: uninstall one")
        by_key[key] = offered
        by_whom[key] = name
    return by_key
