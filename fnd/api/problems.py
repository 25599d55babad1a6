"""Every answer that is not a success: JSON with a message, and never a traceback.

Whatever a route raises comes through here: an APIError is answered as it says, the framework's own errors in
the words of fnd.errors, and anything else is a fault of fnd's, logged and answered 500.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import attrs
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec

from fnd.errors import (
    APIError,
    BadRequest,
    BodyTooLarge,
    InternalError,
    InvalidJSON,
    MethodNotAllowed,
    NotFound,
    UnsupportedContentType,
)
from fnd.log import get_logger

MEDIA_TYPE: Final = "application/json; charset=utf-8"

logger = get_logger(__name__)

_KNOWN: Final[Mapping[int, type[APIError]]] = {
    error.status: error for error in (NotFound, MethodNotAllowed, BodyTooLarge, UnsupportedContentType)
}


@attrs.frozen
class Problem:
    """Why there is no other answer."""

    message: str
    """For a person."""


def documented(*statuses: int) -> dict[int, ResponseSpec]:
    """Return what the API's document says of the answers with these statuses."""
    return {
        status: ResponseSpec(Problem, generate_examples=False, description=HTTPStatus(status).phrase)
        for status in statuses
    }


def document(openapi: dict[str, Any]) -> dict[str, Any]:
    """Return an OpenAPI document with every answer of 400 or above as `answer` makes it.

    The framework adds such answers by itself, and describes its own.
    """
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in openapi["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    response["content"] = content
    return openapi


def answer(request: Request[Any, Any, Any], exception: Exception) -> Response[Problem]:
    """Return the answer to a request that ended in `exception`."""
    headers: dict[str, str] = {}
    if isinstance(exception, HTTPException) and exception.headers:
        headers.update(exception.headers)  # a 405's Allow
    error = _as_api_error(request, exception)
    headers.update(error.headers)
    return Response(Problem(error.message), status_code=error.status, headers=headers, media_type=MEDIA_TYPE)


def _as_api_error(request: Request[Any, Any, Any], exception: Exception) -> APIError:
    if isinstance(exception, APIError):
        return exception
    if isinstance(exception, ValidationException):
        return _invalid(exception)
    if isinstance(exception, HTTPException) and exception.status_code < 500:
        known = _KNOWN.get(exception.status_code)
        return BadRequest(exception.detail) if known is None else known()
    logger.error(
        "a request failed for a fault of fnd's own",
        method=request.method,
        path=request.scope["path"],
        exc_info=exception,
    )
    return InternalError()


def _invalid(exception: ValidationException) -> APIError:
    """A parameter that cannot be read is named; a body that cannot be read is no JSON of the route's."""
    problems = exception.extra if isinstance(exception.extra, list) else []
    for problem in problems:
        if problem.get("source") != "body":
            return BadRequest(f"Invalid {problem.get('key', 'request')}: {problem['message']}")
    return InvalidJSON()
