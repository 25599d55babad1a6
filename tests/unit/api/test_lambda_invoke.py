"""Calls by name as Lambda's clients make them: whom a name means, and how errors are answered."""

from __future__ import annotations

import json

import pytest

from fnd import errors
from fnd.api.lambda_invoke import Form, Invalid, LambdaInvocation, _Named
from fnd.catalog import Catalog
from tests.unit.test_catalog import APP, FN

ARN = "arn:aws:lambda:eu-north-1"


@pytest.mark.parametrize(
    ("name", "app", "fn", "qualifier"),
    [
        ("cart", None, "cart", "$LATEST"),
        ("cart:7", None, "cart", "7"),
        ("shop:function:cart", "shop", "cart", "$LATEST"),
        ("shop:function:cart:$LATEST", "shop", "cart", "$LATEST"),
        (f"{ARN}:shop:function:cart", "shop", "cart", "$LATEST"),
        (f"{ARN}:shop:function:cart:prod", "shop", "cart", "prod"),
        ("a:b:c", None, "a:b:c", "$LATEST"),
        ("", None, "", "$LATEST"),
        ("arn:aws", None, "arn", "aws"),
    ],
)
def test_a_name_may_be_short_or_long(name: str, app: str | None, fn: str, qualifier: str) -> None:
    assert _Named.parse(name) == _Named(app, fn, qualifier)


def invocation(catalog: Catalog) -> LambdaInvocation:
    nobody: object = object()
    return LambdaInvocation(nobody, nobody, catalog)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["cart", FN.id, "shop:function:cart", "cart:$LATEST"])
def test_a_fn_is_found_by_name_or_id(name: str) -> None:
    assert invocation(Catalog([APP], [FN]))._find(name, "").fn is FN


@pytest.mark.parametrize(
    ("name", "query"), [("bag", ""), ("cart:7", ""), ("cart", "Qualifier=7"), ("bags:function:cart", ""), ("", "")]
)
def test_what_is_not_there_is_not_found(name: str, query: str) -> None:
    with pytest.raises(errors.NotFound, match="Function not found"):
        invocation(Catalog([APP], [FN]))._find(name, query)


@pytest.mark.parametrize(
    ("error", "status", "name", "side"),
    [
        (errors.NotFound(), 404, "ResourceNotFoundException", "User"),
        (errors.Conflict(), 409, "ResourceConflictException", "User"),
        (errors.BodyTooLarge(), 413, "RequestTooLargeException", "User"),
        (errors.TooManyRequests(), 429, "TooManyRequestsException", "User"),
        (errors.BadRequest(), 400, "InvalidRequestContentException", "User"),
        (Invalid(), 400, "InvalidParameterValueException", "User"),
        (errors.MethodNotAllowed(), 405, "InvalidParameterValueException", "User"),
        (errors.ServerBusy(), 503, "ServiceException", "Service"),
        (errors.InternalError(), 500, "ServiceException", "Service"),
        (errors.ImageUnusable(), 502, "InvalidRuntimeException", "Service"),
        (errors.ImagePullTimedOut(), 504, "ServiceException", "Service"),
    ],
)
def test_what_the_function_has_no_part_in_is_an_error(
    error: errors.APIError, status: int, name: str, side: str
) -> None:
    answered, headers, body = Form(3).answer(error)
    assert (answered, dict(headers)[b"X-Amzn-ErrorType"]) == (status, name.encode())
    assert json.loads(body) == {"Type": side, "Message": error.message}
    assert (b"Retry-After" in dict(headers)) is bool(error.headers)


@pytest.mark.parametrize(
    ("error", "payload"),
    [
        (errors.FunctionFailed(payload=b'{"errorMessage": "no"}'), {"errorMessage": "no"}),
        (errors.FunctionFailed(), {"errorType": "Runtime.Unknown", "errorMessage": "function failed"}),
        (
            errors.FunctionTimedOut(),
            {"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 3.00 seconds"},
        ),
        (errors.ContainerFailed("no"), {"errorType": "Runtime.InitError", "errorMessage": "no"}),
    ],
)
def test_what_the_function_fails_with_is_an_answer(error: errors.FunctionError, payload: dict[str, str]) -> None:
    status, headers, body = Form(3).answer(error)
    assert (status, dict(headers)[b"X-Amz-Function-Error"]) == (200, b"Unhandled")
    assert json.loads(body) == payload
