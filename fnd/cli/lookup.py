"""Finding things by the names people give them; the API itself goes by ids."""

from __future__ import annotations

from typing import Any

from fnd.cli.client import Daemon
from fnd.cli.exits import CommandError


class NoSuchThing(CommandError):
    """Nothing has that name."""


def find_app(daemon: Daemon, name: str) -> dict[str, Any]:
    """Return the app called `name`. Raises NoSuchThing."""
    for app in daemon.items("/v2/apps", name=name):
        return app
    raise NoSuchThing(f"There is no app {name!r}: fnd apps list shows those there are, fnd apps create {name} makes it")


def find_fn(daemon: Daemon, app: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the fn called `name` of `app`. Raises NoSuchThing."""
    for fn in daemon.items("/v2/fns", app_id=app["id"], name=name):
        return fn
    raise NoSuchThing(f"App {app['name']!r} has no function {name!r}: fnd fns list {app['name']} shows those there are")


def find_trigger(daemon: Daemon, app: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the trigger called `name` of `app`. Raises NoSuchThing."""
    for trigger in daemon.items("/v2/triggers", app_id=app["id"], name=name):
        return trigger
    raise NoSuchThing(
        f"App {app['name']!r} has no trigger {name!r}: fnd triggers list {app['name']} shows those there are"
    )
