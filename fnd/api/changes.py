"""What follows a commit: the catalog takes it over, listeners are told, and the logs of deleted fns go.

Plain calls, with no checkpoint among them: a handler calls one right after the store has returned, so that a
request that is cancelled leaves store and catalog with the change or both without.
"""

from __future__ import annotations

from fnd.api.services import Services
from fnd.model import App, Fn, Trigger
from fnd.runtime.events import Event, EventKind


def app_created(services: Services, app: App) -> None:
    """A new app is committed."""
    services.catalog.put_app(app)
    _tell_app(services, EventKind.APP_CREATED, app)


def app_updated(services: Services, app: App) -> None:
    """An update of an app is committed, which may have changed nothing."""
    if services.catalog.put_app(app):
        _tell_app(services, EventKind.APP_CHANGED, app)


def app_deleted(services: Services, app_id: str) -> None:
    """The deletion of an app is committed, and with it that of its fns and triggers."""
    removed = services.catalog.remove_app(app_id)
    if removed is not None:
        for fn in removed.fns:
            services.logs.forget(fn.id)
            _tell_fn(services, EventKind.FN_DELETED, fn)
        _tell_app(services, EventKind.APP_DELETED, removed.app)


def fn_created(services: Services, fn: Fn) -> None:
    """A new fn is committed."""
    services.catalog.put_fn(fn)
    _tell_fn(services, EventKind.FN_CREATED, fn)


def fn_updated(services: Services, fn: Fn) -> None:
    """An update of a fn is committed, which may have changed nothing."""
    if services.catalog.put_fn(fn):
        _tell_fn(services, EventKind.FN_CHANGED, fn)


def fn_deleted(services: Services, fn_id: str) -> None:
    """The deletion of a fn is committed, and with it that of its triggers."""
    fn = services.catalog.remove_fn(fn_id)
    if fn is not None:
        services.logs.forget(fn.id)
        _tell_fn(services, EventKind.FN_DELETED, fn)


def trigger_created(services: Services, trigger: Trigger) -> None:
    """A new trigger is committed."""
    services.catalog.put_trigger(trigger)
    _tell_trigger(services, EventKind.TRIGGER_CREATED, trigger)


def trigger_updated(services: Services, trigger: Trigger) -> None:
    """An update of a trigger is committed, which may have changed nothing."""
    if services.catalog.put_trigger(trigger):
        _tell_trigger(services, EventKind.TRIGGER_CHANGED, trigger)


def trigger_deleted(services: Services, trigger_id: str) -> None:
    """The deletion of a trigger is committed."""
    trigger = services.catalog.remove_trigger(trigger_id)
    if trigger is not None:
        _tell_trigger(services, EventKind.TRIGGER_DELETED, trigger)


def _tell_app(services: Services, kind: EventKind, app: App) -> None:
    services.events.publish(Event(kind, {"app_id": app.id, "app_name": app.name}))


def _tell_fn(services: Services, kind: EventKind, fn: Fn) -> None:
    fields = {"fn_id": fn.id, "fn_name": fn.name, "app_id": fn.app_id, "image": fn.image}
    services.events.publish(Event(kind, fields))


def _tell_trigger(services: Services, kind: EventKind, trigger: Trigger) -> None:
    fields = {"trigger_id": trigger.id, "trigger_name": trigger.name, "fn_id": trigger.fn_id}
    services.events.publish(Event(kind, fields | {"source": trigger.source}))
