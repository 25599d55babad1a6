"""Fn's REST interface: apps, fns and triggers, each listed, created, read, patched by PUT and deleted.

Every change is committed by the store first; fnd.api.changes then does what follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from litestar import Controller, Request, delete, get, post, put
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from fnd.api import changes, validation
from fnd.api.endpoints import Endpoints
from fnd.api.problems import documented
from fnd.api.schemas import (
    DEFAULT_PER_PAGE,
    MAX_PER_PAGE,
    AppBody,
    AppFilter,
    AppList,
    Cursor,
    FnBody,
    FnFilter,
    FnList,
    NameFilter,
    PathId,
    PerPage,
    TriggerBody,
    TriggerList,
)
from fnd.api.services import Services, services_of
from fnd.hookspecs import ConcurrentCodec
from fnd.model import App, Fn, Trigger
from fnd.store import ListQuery

APIRequest = Request[Any, Any, Any]

_LISTING: Final = documented(400, 503)
_CREATING: Final = documented(400, 404, 409, 413, 415, 503)
_UPDATING: Final = _CREATING
_READING: Final = documented(404, 503)


class Apps(Controller):
    """Apps."""

    path = "/v2/apps"
    tags = ("apps",)

    @get(operation_id="ListApps", responses=_LISTING)
    async def list_apps(
        self, request: APIRequest, name: NameFilter = "", cursor: Cursor = "", per_page: PerPage = ""
    ) -> AppList:
        """List apps by name."""
        query = ListQuery(per_page=_per_page(per_page), cursor=cursor, name=name)
        page = await services_of(request).store.apps.list(query)
        return AppList(page.items, _next(page.next_cursor))

    @post(operation_id="CreateApp", status_code=200, responses=_CREATING)
    async def create_app(self, request: APIRequest, data: JSONBody[AppBody]) -> App:
        """Create an app."""
        services = services_of(request)
        app = await services.store.apps.insert(validation.new_app(data, _now()))
        changes.app_created(services, app)
        return app

    @get("/{app_id:str}", operation_id="GetApp", responses=_READING)
    async def get_app(self, request: APIRequest, app_id: PathId) -> App:
        """Read an app."""
        return await services_of(request).store.apps.get(app_id)

    @put("/{app_id:str}", operation_id="UpdateApp", responses=_UPDATING)
    async def update_app(self, request: APIRequest, app_id: PathId, data: JSONBody[AppBody]) -> App:
        """Change what the body has of an app; its fns become new versions of themselves."""
        services, now = services_of(request), _now()
        validation.check_app_id(app_id, data)
        app = await services.store.apps.update(app_id, lambda app: validation.changed_app(app, data, now))
        changes.app_updated(services, app)
        return app

    @delete("/{app_id:str}", operation_id="DeleteApp", responses=_READING)
    async def delete_app(self, request: APIRequest, app_id: PathId) -> None:
        """Delete an app with its fns and triggers."""
        services = services_of(request)
        await services.store.apps.delete(app_id)
        changes.app_deleted(services, app_id)


class Fns(Controller):
    """Fns."""

    path = "/v2/fns"
    tags = ("fns",)

    @get(operation_id="ListFns", responses=_LISTING)
    async def list_fns(
        self,
        request: APIRequest,
        app_id: AppFilter = "",
        name: NameFilter = "",
        cursor: Cursor = "",
        per_page: PerPage = "",
    ) -> FnList:
        """List fns by name."""
        query = ListQuery(per_page=_per_page(per_page), cursor=cursor, name=name, app_id=app_id)
        page = await services_of(request).store.fns.list(query)
        show = Endpoints.of(request).fn
        return FnList([show(fn) for fn in page.items], _next(page.next_cursor))

    @post(operation_id="CreateFn", status_code=200, responses=_CREATING)
    async def create_fn(self, request: APIRequest, data: JSONBody[FnBody]) -> Fn:
        """Create a fn in an app."""
        services = services_of(request)
        fn = await services.store.fns.insert(validation.new_fn(data, _formats(services), _now()))
        changes.fn_created(services, fn)
        return Endpoints.of(request).fn(fn)

    @get("/{fn_id:str}", operation_id="GetFn", responses=_READING)
    async def get_fn(self, request: APIRequest, fn_id: PathId) -> Fn:
        """Read a fn."""
        return Endpoints.of(request).fn(await services_of(request).store.fns.get(fn_id))

    @put("/{fn_id:str}", operation_id="UpdateFn", responses=_UPDATING)
    async def update_fn(self, request: APIRequest, fn_id: PathId, data: JSONBody[FnBody]) -> Fn:
        """Change what the body has of a fn; calls that come from now on go to the new version."""
        services, now = services_of(request), _now()
        validation.check_fn_id(fn_id, data)
        formats = _formats(services)
        fn = await services.store.fns.update(fn_id, lambda fn: validation.changed_fn(fn, data, formats, now))
        changes.fn_updated(services, fn)
        return Endpoints.of(request).fn(fn)

    @delete("/{fn_id:str}", operation_id="DeleteFn", responses=_READING)
    async def delete_fn(self, request: APIRequest, fn_id: PathId) -> None:
        """Delete a fn with its triggers."""
        services = services_of(request)
        await services.store.fns.delete(fn_id)
        changes.fn_deleted(services, fn_id)


class Triggers(Controller):
    """Triggers."""

    path = "/v2/triggers"
    tags = ("triggers",)

    @get(operation_id="ListTriggers", responses=_LISTING)
    async def list_triggers(
        self,
        request: APIRequest,
        app_id: AppFilter = "",
        fn_id: FnFilter = "",
        name: NameFilter = "",
        cursor: Cursor = "",
        per_page: PerPage = "",
    ) -> TriggerList:
        """List triggers by name."""
        query = ListQuery(per_page=_per_page(per_page), cursor=cursor, name=name, app_id=app_id, fn_id=fn_id)
        page = await services_of(request).store.triggers.list(query)
        show = Endpoints.of(request).trigger
        return TriggerList([show(trigger) for trigger in page.items], _next(page.next_cursor))

    @post(operation_id="CreateTrigger", status_code=200, responses=_CREATING)
    async def create_trigger(self, request: APIRequest, data: JSONBody[TriggerBody]) -> Trigger:
        """Create a trigger to a fn of the same app."""
        services = services_of(request)
        trigger = await services.store.triggers.insert(validation.new_trigger(data, _now()))
        changes.trigger_created(services, trigger)
        return Endpoints.of(request).trigger(trigger)

    @get("/{trigger_id:str}", operation_id="GetTrigger", responses=_READING)
    async def get_trigger(self, request: APIRequest, trigger_id: PathId) -> Trigger:
        """Read a trigger."""
        return Endpoints.of(request).trigger(await services_of(request).store.triggers.get(trigger_id))

    @put("/{trigger_id:str}", operation_id="UpdateTrigger", responses=_UPDATING)
    async def update_trigger(self, request: APIRequest, trigger_id: PathId, data: JSONBody[TriggerBody]) -> Trigger:
        """Change what the body has of a trigger."""
        services, now = services_of(request), _now()
        validation.check_trigger_id(trigger_id, data)
        trigger = await services.store.triggers.update(
            trigger_id, lambda trigger: validation.changed_trigger(trigger, data, now)
        )
        changes.trigger_updated(services, trigger)
        return Endpoints.of(request).trigger(trigger)

    @delete("/{trigger_id:str}", operation_id="DeleteTrigger", responses=_READING)
    async def delete_trigger(self, request: APIRequest, trigger_id: PathId) -> None:
        """Delete a trigger."""
        services = services_of(request)
        await services.store.triggers.delete(trigger_id)
        changes.trigger_deleted(services, trigger_id)


# Not a router of their own: the framework copies every handler once for each.
V2_ROUTES: Final = (Apps, Fns, Triggers)


def _formats(services: Services) -> Mapping[str, int]:
    """Return the formats that are spoken here, and how many calls at once a container of each can serve."""
    return {
        name: codec.concurrency if isinstance(codec, ConcurrentCodec) else 1 for name, codec in services.codecs.items()
    }


def _now() -> datetime:
    return datetime.now(UTC)


def _per_page(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        return DEFAULT_PER_PAGE
    return min(number, MAX_PER_PAGE) if number > 0 else DEFAULT_PER_PAGE


def _next(cursor: str) -> str | UnsetType:
    return cursor or UNSET
