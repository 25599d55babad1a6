"""Which door a request takes, and who may use it.

Invocation goes straight to its handler, whoever calls. Everything else is the management API, one ASGI application, and
plugins' own: over the control socket for the daemon's own user and root, over other listeners only where the operator
has turned it on, for who has the token.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from fnd import errors
from fnd.api.invoke import INVOKE_PREFIX, TRIGGER_PREFIX, Invocation
from fnd.api.lambda_invoke import FUNCTIONS_PREFIX, LambdaInvocation
from fnd.api.plugin_routes import PREFIX as PLUGINS_PREFIX
from fnd.api.plugin_routes import PluginRoutes

if TYPE_CHECKING:
    from fnd.http.asgi import ASGIBridge
    from fnd.http.connection import Connection
    from fnd.http.request import Request

CONTROL: Final = "control"
PUBLIC: Final = "public"
"""The names of the listeners."""


class Doors:
    """The handler of every request. `management_token` "" means that management is for the control socket only."""

    def __init__(
        self,
        invocation: Invocation,
        lambda_invocation: LambdaInvocation,
        management: ASGIBridge,
        management_token: str,
        plugins: PluginRoutes,
    ) -> None:
        self._invocation = invocation
        self._lambda_invocation = lambda_invocation
        self._management = management
        self._plugins = plugins
        self._expected = f"Bearer {management_token}".encode() if management_token else b""

    def __call__(self, connection: Connection, request: Request) -> Awaitable[None]:
        """Return what answers the request, to be awaited; either raises APIError for the connection to answer."""
        target = request.target
        if not target.startswith(b"/"):
            target = request.target = _origin_form(target)
        if target.startswith(INVOKE_PREFIX):
            return self._invocation.invoke(connection, request)
        if target.startswith(TRIGGER_PREFIX):
            return self._invocation.trigger(connection, request)
        if target.startswith(FUNCTIONS_PREFIX):
            return self._lambda_invocation(connection, request)
        self._admit(connection, request)
        if target.startswith(PLUGINS_PREFIX):
            return self._plugins(connection, request)
        return self._management(connection, request)

    def _admit(self, connection: Connection, request: Request) -> None:
        if connection.listener == CONTROL:
            if connection.peer_uid not in (0, os.geteuid()):
                raise errors.Forbidden("The control socket is for the daemon's own user and for root")
        elif not self._expected:
            raise errors.Forbidden(
                "Only functions are called here: manage them over the control socket, "
                "or set management = true and a management_token"
            )
        elif not hmac.compare_digest(request.header(b"authorization") or b"", self._expected):
            raise errors.Unauthorized


def _origin_form(target: bytes) -> bytes:
    """Return path and query of an absolute target (RFC 9112, section 3.2.2)."""
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise errors.BadRequest("The request target is no path")
    authority, question, query = rest.partition(b"?")
    _, slash, path = authority.partition(b"/")
    return (slash + path or b"/") + question + query
