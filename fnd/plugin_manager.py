"""Finds plugins through the entry-point group "fnd", and asks each for its driver or codec.

fnd's own drivers and plugins come the same way as anybody's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import pluggy

from fnd.errors import ConfigurationError
from fnd.hookspecs import PROJECT, Codec, CodecContext, Driver, DriverContext, Hooks

ENTRY_POINT_GROUP: Final = "fnd"


T = TypeVar("T")


class PluginManager:
    """The plugins of this installation."""

    def __init__(self) -> None:
        """Load them. Raises ConfigurationError naming one that cannot be imported."""
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)
        try:
            self._manager.load_setuptools_entrypoints(ENTRY_POINT_GROUP)
        except Exception as error:  # whatever a plugin's module raises on import
            raise ConfigurationError(
                f"a plugin cannot be loaded: {type(error).__name__}: {error}. Repair or uninstall the package it is in"
            ) from error

    @property
    def names(self) -> tuple[str, ...]:
        """The plugins' names, those of their entry points."""
        return tuple(name for name, _ in self._manager.list_name_plugin())

    def drivers(self, context: Callable[[str], DriverContext]) -> Mapping[str, Driver]:
        """Return every driver by its scheme; `context` makes a plugin's context from its name.

        Raises ConfigurationError if two drivers take one scheme, or what a driver raises about its settings.
        """
        return self._collect("fnd_driver", context, lambda driver: driver.scheme)

    def codecs(self, context: Callable[[str], CodecContext]) -> Mapping[str, Codec]:
        """Return every codec by its format. Raises ConfigurationError as `drivers` does."""
        return self._collect("fnd_codec", context, lambda codec: codec.format)

    def _collect(self, hook_name: str, context: Callable[[str], Any], key: Callable[[T], str]) -> Mapping[str, T]:
        found: dict[str, T] = {}
        by_whom: dict[str, str] = {}
        for name, plugin in self._manager.list_name_plugin():
            others = [other for other in self._manager.get_plugins() if other is not plugin]
            hook = self._manager.subset_hook_caller(hook_name, remove_plugins=others)
            for answer in hook(context=context(name)):
                for offered in answer if isinstance(answer, Sequence) else [answer]:
                    if key(offered) in found:
                        both = f"the plugins {by_whom[key(offered)]!r} and {name!r}"
                        raise ConfigurationError(f"{both} both offer {key(offered)!r}: uninstall one")
                    found[key(offered)] = offered
                    by_whom[key(offered)] = name
        return found
