"""The picture in memory of every app, fn and trigger, from which invocation is answered without asking the store.

It is filled once at start and changed right after each commit; it knows nothing of the store, so that a store
that fails leaves calls alone. It belongs to the trio thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import attrs

from fnd.model import App, Fn, Trigger


@attrs.frozen(eq=False)
class FnVersion:
    """A fn as it is called: its definition, its app's, and what tells its containers from those of another version."""

    app: App
    fn: Fn
    key: str = attrs.field(init=False)
    """Equal for two versions exactly if their containers are interchangeable; computed once."""

    def __attrs_post_init__(self) -> None:
        app, fn = self.app, self.fn
        parts = [
            *(app.id, app.name, fn.id, fn.name, fn.image, fn.format),
            *(fn.memory, fn.cpu, fn.timeout, fn.idle_timeout, fn.min_warm, fn.max_containers, fn.concurrency),
            *(self.config(), self.annotations()),
        ]
        written = json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()
        object.__setattr__(self, "key", blake2b(written, digest_size=16).hexdigest())

    def config(self) -> Mapping[str, str]:
        """The app's config with the fn's over it."""
        return {**self.app.config, **self.fn.config}

    def annotations(self) -> Mapping[str, Any]:
        """The app's annotations with the fn's over them."""
        return {**self.app.annotations, **self.fn.annotations}


@attrs.frozen(eq=False)
class TriggerMatch:
    """Where a trigger's URL leads."""

    trigger: Trigger
    version: FnVersion


@attrs.define(eq=False)
class _AppEntry:
    app: App
    fns: dict[str, Fn] = attrs.field(factory=dict)
    """By id."""
    triggers: dict[str, Trigger] = attrs.field(factory=dict)
    """By source."""


@attrs.frozen
class RemovedApp:
    """An app that was removed, and the fns that went with it."""

    app: App
    fns: tuple[Fn, ...]


@attrs.frozen
class CatalogCounts:
    """How many of each there are."""

    apps: int
    fns: int
    triggers: int


def _ignore(version: FnVersion) -> None:
    """What happens to a version as long as nobody has said."""


class Catalog:
    """Apps, fns and triggers by what calls name them with.

    A FnVersion is made when its fn is first asked for, and kept until the fn or its app changes or goes; so one
    that was never called costs no more than its definition. `on_retired` is then called with the old version,
    unless the new one's containers would be the same; and `on_warm` with the new one, if containers of it are to be
    kept whether it is called or not.
    """

    def __init__(self, apps: Iterable[App] = (), fns: Iterable[Fn] = (), triggers: Iterable[Trigger] = ()) -> None:
        self.on_retired: Callable[[FnVersion], None] = _ignore
        self.on_warm: Callable[[FnVersion], None] = _ignore
        self._apps: Final[dict[str, _AppEntry]] = {}
        self._apps_by_name: Final[dict[str, _AppEntry]] = {}
        self._fns: Final[dict[str, Fn]] = {}
        self._triggers: Final[dict[str, Trigger]] = {}
        self._versions: Final[dict[str, FnVersion]] = {}
        self._fns_by_name: dict[str, dict[str, None]] | None = None
        """The ids of the fns of each name."""
        for app in apps:
            self.put_app(app)
        for fn in fns:
            self.put_fn(fn)
        for trigger in triggers:
            self.put_trigger(trigger)

    # What calls ask.

    def fn(self, fn_id: str) -> FnVersion | None:
        """Return the fn by that id as it is now, always the same object until it changes."""
        version = self._versions.get(fn_id)
        if version is None and (fn := self._fns.get(fn_id)) is not None:
            version = self._versions[fn_id] = FnVersion(self._apps[fn.app_id].app, fn)
        return version

    def trigger(self, app_name: str, path: str) -> TriggerMatch | None:
        """Return where `/t/{app_name}{path}` leads; `path` percent-decoded, and "" is the source "/"."""
        entry = self._apps_by_name.get(app_name)
        trigger = None if entry is None else entry.triggers.get(path or "/")
        version = None if trigger is None else self.fn(trigger.fn_id)
        return None if trigger is None or version is None else TriggerMatch(trigger, version)

    def fns_named(self, name: str, app_name: str | None = None) -> Sequence[FnVersion]:
        """Return the fns of that name, of all apps or of one."""
        if self._fns_by_name is None:  # not before anybody asks
            self._fns_by_name = {}
            for fn in self._fns.values():
                self._fns_by_name.setdefault(fn.name, {})[fn.id] = None
        found = [version for fn_id in self._fns_by_name.get(name, ()) if (version := self.fn(fn_id)) is not None]
        return found if app_name is None else [version for version in found if version.app.name == app_name]

    def warm(self) -> Iterator[FnVersion]:
        """Yield the fns of which containers are to be kept whether they are called or not."""
        for fn_id in [fn.id for fn in self._fns.values() if fn.min_warm]:
            version = self.fn(fn_id)
            assert version is not None
            yield version

    # What people and routes ask.

    def app_named(self, name: str) -> App | None:
        """Return the app by that name."""
        entry = self._apps_by_name.get(name)
        return None if entry is None else entry.app

    def fns_of(self, app_id: str) -> Iterator[Fn]:
        """Yield the fns of an app, none if there is no such app; the catalog must not change meanwhile."""
        entry = self._apps.get(app_id)
        return iter(()) if entry is None else iter(entry.fns.values())

    def app_of(self, app_id: str) -> App | None:
        """Return the app by that id."""
        entry = self._apps.get(app_id)
        return None if entry is None else entry.app

    def counts(self) -> CatalogCounts:
        """Return how many apps, fns and triggers there are."""
        return CatalogCounts(len(self._apps), len(self._fns), len(self._triggers))

    # What has been committed.

    def put_app(self, app: App) -> bool:
        """Take a new app, or a changed one: each of its fns becomes a new version. Return whether it was any news."""
        entry = self._apps.get(app.id)
        if entry is None:
            self._apps[app.id] = self._apps_by_name[app.name] = _AppEntry(app)
            return True
        if entry.app == app:
            return False
        entry.app = app
        for fn_id in entry.fns:
            self._renew(fn_id)
        return True

    def put_fn(self, fn: Fn) -> bool:
        """Take a new fn of a known app, or a changed one. Return whether it was any news."""
        if self._fns.get(fn.id) == fn:
            return False
        self._forget_name(self._fns.get(fn.id))
        self._fns[fn.id] = self._apps[fn.app_id].fns[fn.id] = fn
        if self._fns_by_name is not None:
            self._fns_by_name.setdefault(fn.name, {})[fn.id] = None
        self._renew(fn.id)
        return True

    def put_trigger(self, trigger: Trigger) -> bool:
        """Take a new trigger of a known fn, or a changed one. Return whether it was any news."""
        if self._triggers.get(trigger.id) == trigger:
            return False
        self.remove_trigger(trigger.id)
        self._triggers[trigger.id] = self._apps[trigger.app_id].triggers[trigger.source] = trigger
        return True

    def remove_app(self, app_id: str) -> RemovedApp | None:
        """Forget an app, its fns and its triggers; return the app and the fns, None if there is no such app."""
        entry = self._apps.pop(app_id, None)
        if entry is None:
            return None
        del self._apps_by_name[entry.app.name]
        for trigger in entry.triggers.values():
            del self._triggers[trigger.id]
        for fn_id in entry.fns:
            self._forget_name(self._fns.pop(fn_id))
            self._retire(fn_id)
        return RemovedApp(entry.app, tuple(entry.fns.values()))

    def remove_fn(self, fn_id: str) -> Fn | None:
        """Forget a fn and its triggers; return the fn, None if there is no such fn."""
        fn = self._fns.pop(fn_id, None)
        if fn is None:
            return None
        self._forget_name(fn)
        entry = self._apps[fn.app_id]
        del entry.fns[fn_id]
        for trigger in [trigger for trigger in entry.triggers.values() if trigger.fn_id == fn_id]:
            self.remove_trigger(trigger.id)
        self._retire(fn_id)
        return fn

    def remove_trigger(self, trigger_id: str) -> Trigger | None:
        """Forget a trigger; return it, None if there is no such trigger."""
        trigger = self._triggers.pop(trigger_id, None)
        if trigger is not None:
            del self._apps[trigger.app_id].triggers[trigger.source]
        return trigger

    def _forget_name(self, fn: Fn | None) -> None:
        if fn is not None and self._fns_by_name is not None:
            ids = self._fns_by_name[fn.name]
            del ids[fn.id]
            if not ids:
                del self._fns_by_name[fn.name]

    def _renew(self, fn_id: str) -> None:
        old = self._versions.pop(fn_id, None)
        if old is not None:
            new = self.fn(fn_id)
            if new is None or new.key != old.key:
                self.on_retired(old)
        if self._fns[fn_id].min_warm and (version := self.fn(fn_id)) is not None:
            self.on_warm(version)

    def _retire(self, fn_id: str) -> None:
        old = self._versions.pop(fn_id, None)
        if old is not None:
            self.on_retired(old)
