"""What is known of each plugin: where it came from, what it offers, and what has gone wrong with it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import attrs

from fnd.plugin_settings import PluginSetting

LOG_AGAIN: Final = 60.0
"""Seconds between two lines in the log about the same thing that goes wrong again and again."""

State = Literal["in use", "troubled", "refused"]


@attrs.frozen(kw_only=True)
class Trouble:
    """One thing that has gone wrong, once or more often."""

    where: str
    """In which hook, or in what was offered: "fnd_driver", "call listener"…"""
    error: str
    """The last time's."""
    count: int
    at: datetime
    """The last time."""


@attrs.frozen(kw_only=True)
class PluginStatus:
    """One plugin, as `fnd plugins list` shows it."""

    name: str
    distribution: str
    """The package that it came in; "" if that is not known."""
    version: str
    """That package's."""
    surface: int | None
    """The version of the surface for which it was made, or None if that could not be found out."""
    state: State
    """"refused": nothing of it is used; "troubled": something of it failed."""
    reason: str
    """Why it was refused, or ""."""
    offers: tuple[str, ...]
    """What of it is used: "driver docker", "codec json", "call listener", "routes /plugins/NAME"…"""
    settings: tuple[PluginSetting, ...]
    """Those that it has declared."""
    seconds: float
    """How long it took to load and to answer the hooks."""
    troubles: tuple[Trouble, ...]


class Plugin:
    """One plugin. `tell` is told of what goes wrong, if it is worth a line in the log: which, where, and the error."""

    def __init__(self, name: str, distribution: str, version: str, tell: Tell | None = None) -> None:
        self.name = name
        self.distribution = distribution
        self.version = version
        self.surface: int | None = None
        self.package = ""
        """The top of the names of its modules."""
        self.refused = ""
        """Why nothing of it is used."""
        self.offers: list[str] = []
        self.settings: Sequence[PluginSetting] = ()
        self.seconds = 0.0
        self._tell = tell
        self._troubles: dict[str, Trouble] = {}
        self._told_at: dict[str, float] = {}

    def refuse(self, reason: str, error: BaseException | None = None) -> None:
        """Use nothing of it."""
        self.refused = reason
        self.offers.clear()
        if self._tell is not None:
            self._tell(self, "refused", reason, 1, error)

    def trouble(self, where: str, what: str, error: BaseException | None = None) -> None:
        """Something of it has failed."""
        before = self._troubles.get(where)
        count = 1 if before is None else before.count + 1
        self._troubles[where] = Trouble(where=where, error=what, count=count, at=datetime.now(UTC))
        now = time.monotonic()
        if self._tell is not None and (before is None or now - self._told_at[where] >= LOG_AGAIN):
            self._told_at[where] = now
            self._tell(self, where, what, count, error)

    def withdraw(self, offer: str) -> None:
        """Something of it is not used after all."""
        if offer in self.offers:
            self.offers.remove(offer)

    @property
    def troubled(self) -> Collection[str]:
        """Where something of it has failed."""
        return self._troubles.keys()

    @property
    def reason(self) -> str:
        """Why it was refused, or what has gone wrong with it; "" if all is well."""
        return self.refused or "; ".join(f"{one.where}: {one.error}" for one in self._troubles.values())

    def status(self) -> PluginStatus:
        """Return what is known of it now."""
        return PluginStatus(
            name=self.name,
            distribution=self.distribution,
            version=self.version,
            surface=self.surface,
            state="refused" if self.refused else "troubled" if self._troubles else "in use",
            reason=self.refused,
            offers=tuple(self.offers),
            settings=tuple(self.settings),
            seconds=round(self.seconds, 3),
            troubles=tuple(self._troubles.values()),
        )


Tell = Callable[[Plugin, str, str, int, BaseException | None], None]
"""Takes the plugin, where it was, what went wrong, how often by now, and the error where there is one."""


def blame(plugins: Iterable[Plugin], error: BaseException) -> None:
    """Name the plugin in whose code an error came up, unless it is from fnd's own, called by that plugin."""
    by_package = {plugin.package: plugin for plugin in plugins if plugin.package}
    for where in reversed([frame for frame, _ in traceback.walk_tb(error.__traceback__)]):
        package = where.f_globals.get("__name__", "").partition(".")[0]
        if package in by_package:
            by_package[package].trouble(where.f_code.co_qualname, describe(error))
            return
        if package == "fnd":
            break
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            blame(by_package.values(), one)


def describe(error: BaseException) -> str:
    """Return an error as a person reads it, its kind included."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
