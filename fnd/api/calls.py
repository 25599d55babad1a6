"""The control routes that tell how calls went: those that go on, those in memory, and those in the store.

A store that fails takes its own share away and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, Final

import attrs
from litestar import Request, get
from litestar.params import QueryParameter
from litestar.types import ASGIApp, Receive

from fnd.api.ndjson import LineStream, Producer, emit_all, lines_of
from fnd.api.problems import documented
from fnd.api.schemas import AppFilter, FnFilter, PathId
from fnd.api.services import Services, services_of
from fnd.errors import CallNotFound, StoreUnavailable
from fnd.model import CallQuery, CallRecord
from fnd.runtime.call_records import LostCalls, asked_for, record_of, select

MAX_CALLS: Final = 10_000

Failed = Annotated[bool, QueryParameter(description="Only calls that failed.")]
Slower = Annotated[float, QueryParameter(description="Only calls that took longer, in seconds.", ge=0)]


@attrs.frozen(kw_only=True)
class Calls:
    """What was asked for, newest first."""

    calls: list[CallRecord]
    store_error: str
    """Why older ones are missing; "" if none are."""


@get("/calls", operation_id="ListCalls", responses=documented(400))
async def list_calls(
    request: Request[Any, Any, Any],
    app: AppFilter = "",
    fn: FnFilter = "",
    failed: Failed = False,
    slower: Slower = 0.0,
    limit: Annotated[int, QueryParameter(description="Calls at most.", ge=1, le=MAX_CALLS)] = 100,
) -> Calls:
    """Return the newest calls: those that wait or run, and those that are over."""
    services = services_of(request)
    query = CallQuery(limit=limit, app_id=app, fn_id=fn, failed=failed, slower=slower)
    stored, store_error = await _stored(services, query)
    # After the store was asked, which takes a while, and both at one moment: what ended meanwhile is in memory.
    known = await select(query, [*services.records, *services.agent.calls()])
    return Calls(calls=_merged(limit, stored, known), store_error=store_error)


@get("/calls/over", operation_id="StreamCalls", responses=lines_of(CallRecord | LostCalls) | documented(400))
async def stream_calls(
    request: Request[Any, Any, Any],
    app: AppFilter = "",
    fn: FnFilter = "",
    failed: Failed = False,
    slower: Slower = 0.0,
) -> ASGIApp:
    """Stream calls from now on, each when it is over."""
    query = CallQuery(limit=0, app_id=app, fn_id=fn, failed=failed, slower=slower)
    over = services_of(request).records.over

    @asynccontextmanager
    async def opened(receive: Receive) -> AsyncIterator[Producer]:
        with over.subscribe() as subscription:
            yield partial(emit_all, subscription, partial(asked_for, query))

    return LineStream(opened)


@get("/calls/{call_id:str}", operation_id="GetCall", responses=documented(404, 503))
async def get_call(request: Request[Any, Any, Any], call_id: PathId) -> CallRecord:
    """Return one call, whether it is over or not."""
    services = services_of(request)
    for call in services.agent.calls():
        if call.id == call_id:
            return record_of(call)
    record = services.records.find(call_id) or await services.history.find(call_id)
    if record is None:
        raise CallNotFound
    return record


async def _stored(services: Services, query: CallQuery) -> tuple[list[CallRecord], str]:
    try:
        return await services.history.newest(query), ""
    except StoreUnavailable as error:
        return [], error.message


def _merged(limit: int, *sources: Iterable[CallRecord]) -> list[CallRecord]:
    """Return the newest of all; of a call that several know, what the last of them says."""
    records = {record.id: record for source in sources for record in source}
    return [records[call_id] for call_id in sorted(records, reverse=True)[:limit]]
