"""The one ASGI application behind everything but invocation: /v2, control, metrics, version and its own document."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

import attrs
import trio
from litestar import Litestar, Request, Response, Router, get
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.serialization import encode_json
from litestar.types import ASGIApp, ControllerRouterHandler, Message, Receive, Scope, Send

from fnd import __version__
from fnd.api import problems
from fnd.api.bodies import MAX_BODY, BodyRequest
from fnd.api.control import control_router
from fnd.api.metrics import metrics
from fnd.api.services import STATE_KEY, Services
from fnd.api.v2 import V2_ROUTES

if TYPE_CHECKING:
    from fnd.http.asgi_types import ASGIApplication

_NOT_ASCII: Final = re.compile(rb"[\x80-\xff]")
DESCRIPTION: Final = (
    "Apps group fns, a fn is a function's definition, a trigger is a URL that leads to one. "
    "Everything is answered on the control socket; over TCP only with management turned on, and the token."
)


@attrs.frozen
class Version:
    """Which fnd this is."""

    version: str


@attrs.frozen
class Welcome:
    """What this server is, for whoever finds its address."""

    name: str
    version: str
    document: str
    """Where its interface is described."""


@get("/", operation_id="Welcome")
async def welcome() -> Welcome:
    """Say what this server is."""
    return Welcome("fnd", __version__, "/openapi.json")


@get("/version", operation_id="GetVersion")
async def version() -> Version:
    """Tell the version."""
    return Version(__version__)


def make_application(services: Services) -> ASGIApplication:
    """Return the application; it needs no lifespan and runs under trio.

    Who may reach which route is decided before a request gets here.
    """
    application = Litestar(
        route_handlers=[welcome, version, metrics, _document(), *V2_ROUTES, control_router],
        state=State({STATE_KEY: services}),
        request_class=BodyRequest,
        request_max_body_size=MAX_BODY,
        exception_handlers={Exception: problems.answer},
        openapi_config=OpenAPIConfig(
            title="fnd",
            version=__version__,
            description=DESCRIPTION,
            use_handler_docstrings=True,
            openapi_router=_NoPages("/openapi", route_handlers=[], include_in_schema=False),
            components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
            security=[{"token": []}, {}],
        ),
        logging_config=None,  # the daemon's log is structlog, set up elsewhere
        debug=False,  # nor from LITESTAR_DEBUG: no answer ever has a traceback
    )
    # The same protocol, which the framework writes down with narrower types.
    return cast("ASGIApplication", Front(application))


class _NoPages(Router):
    """Where the framework would put its documentation pages, and an HTML page for whatever is not there: nowhere."""

    def register(self, value: ControllerRouterHandler) -> list[Any]:
        return []


def _document() -> HTTPRouteHandler:
    rendering = trio.Lock()
    rendered: list[bytes] = []

    @get("/openapi.json", include_in_schema=False)
    async def document(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Describe every route, from the classes that read its requests and make its answers."""
        application = request.app

        def render() -> bytes:
            return encode_json(problems.document(application.openapi_schema.to_schema()))

        async with rendering:
            if not rendered:
                rendered.append(await trio.to_thread.run_sync(render))
        return Response(rendered[0], media_type="application/json")

    return document


@attrs.frozen
class Front:
    """What every request passes on its way into the framework.

    HEAD is answered wherever GET is, with the same head and no body; an endless answer ends there. Bytes of a query
    that should have been escaped are, for the framework cannot read them.
    """

    application: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:  # the lifespan
            await self.application(scope, receive, send)
            return
        query = _NOT_ASCII.sub(_escape, scope["query_string"])
        if scope["method"] == "HEAD":
            scope = cast("Scope", {**scope, "query_string": query, "method": "GET"})
            await self._head(scope, receive, send)
        else:
            await self.application(cast("Scope", {**scope, "query_string": query}), receive, send)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        with trio.CancelScope() as answering:

            async def send_head(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await send(message)
                else:
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    answering.cancel()

            await self.application(scope, receive, send_head)


def _escape(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]
