"""How the body of a management request is read: JSON, of the very class that the route's `data` is, strictly."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import Request
from litestar.exceptions import InternalServerException

from fnd.errors import CallerGone, InvalidJSON, UnsupportedContentType

MAX_BODY: Final = 1 << 20
"""Bytes of a management request's body."""


class BodyRequest(Request[Any, Any, Any]):
    """A request whose `json()` is the body decoded as the route's `data`.

    The framework would decode to builtin types first and then convert loosely, taking "128" for a number; Fn's
    clients rely on neither, and a mistake is better refused.
    """

    async def body(self) -> bytes:
        """Return the body. Raises CallerGone if it ends early, the framework's 413 beyond the route's limit."""
        try:
            return await super().body()
        except InternalServerException as error:  # what the framework makes of http.disconnect
            raise CallerGone from error

    async def json(self) -> Any:
        """Return the body as the class of the route's `data`.

        Raises UnsupportedContentType if it is said to be something else than JSON, InvalidJSON if it is.
        """
        content_type = self.content_type[0]
        # Without a type curl and scripts mean JSON. Browsers send forms and text across sites unasked: not here.
        if content_type not in ("", "application/json") and not content_type.endswith("+json"):
            raise UnsupportedContentType
        body, data = await self.body(), self.route_handler.parsed_data_field
        assert data is not None, "only a route with `data` reads JSON"
        try:
            return msgspec.json.decode(body, type=data.annotation)
        # Text that is not UTF-8, and nesting deeper than the stack, are raised as themselves.
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidJSON from error
