"""Calls through a trigger: requests as API Gateway's events (payload format 2.0), and what answers mean."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest

from fnd import errors
from fnd_lambda import http_events
from tests.unit.fnd_lambda.container import call


def event(body: bytes = b"", **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(http_events.event(call(through_trigger=True, **fields), body, "shop"))
    return made


def test_a_request_is_an_event_of_format_2_0() -> None:
    made = event(
        b'{"a": 1}',
        method="POST",
        target=b"/t/shop/cart/%C3%A9?a=1&b=2&a=3&c=%26",
        headers=[
            (b"Host", b"api.example:80"),
            (b"Content-Type", b"application/json"),
            (b"X-A", b"1"),
            (b"x-a", b"2"),
            (b"Cookie", b"c=1; d=2"),
            (b"Connection", b"close"),
            (b"User-Agent", b"me"),
        ],
    )
    context = made.pop("requestContext")
    assert made == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/cart/\u00e9",
        "rawQueryString": "a=1&b=2&a=3&c=%26",
        "queryStringParameters": {"a": "1,3", "b": "2", "c": "&"},
        "cookies": ["c=1", "d=2"],
        "headers": {
            "host": "api.example:80",
            "content-type": "application/json",
            "x-a": "1,2",
            "user-agent": "me",
        },
        "body": '{"a": 1}',
        "isBase64Encoded": False,
    }
    assert context["http"] == {
        "method": "POST",
        "path": "/cart/\u00e9",
        "protocol": "HTTP/1.1",
        "sourceIp": "",
        "userAgent": "me",
    }
    assert (context["requestId"], context["stage"], context["domainPrefix"]) == ("CALL", "$default", "api")
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", context["time"])


def test_what_a_request_has_not_is_absent() -> None:
    made = event(target=b"/t/shop")
    assert made["rawPath"] == "/"
    assert not {"body", "cookies", "queryStringParameters"} & made.keys()


@pytest.mark.parametrize(
    ("content_type", "body", "is_text"),
    [
        (b"text/plain", b"a", True),
        (b"Application/JSON; charset=utf-8", b"{}", True),
        (b"application/problem+json", b"{}", True),
        (b"application/xml", "é".encode(), True),
        (b"text/plain", b"\xff", False),
        (b"application/octet-stream", b"a", False),
        (b"application/x-www-form-urlencoded", b"a=b", False),
        (b"", b"a", False),
    ],
)
def test_a_body_is_text_if_its_type_says_so_and_else_in_base_64(
    content_type: bytes, body: bytes, is_text: bool
) -> None:
    made = event(body, headers=[(b"Content-Type", content_type)])
    assert made["isBase64Encoded"] is not is_text
    assert made["body"] == (body.decode() if is_text else base64.b64encode(body).decode())


def respond(value: Any, limit: int = 10_000) -> tuple[list[tuple[bytes, bytes]], bytes]:
    return http_events.response(json.dumps(value).encode(), limit)


@pytest.mark.parametrize(
    ("value", "headers", "body"),
    [
        ({"statusCode": 204}, [(b"Fn-Http-Status", b"204"), (b"Content-Type", b"application/json")], b""),
        (
            {
                "statusCode": "200",
                "headers": {"Content-Type": "text/x", "A": 1, "B": True, "C": None},
                "body": "\u00e9",
            },
            [
                (b"Fn-Http-Status", b"200"),
                (b"Fn-Http-H-A", b"1"),
                (b"Fn-Http-H-B", b"true"),
                (b"Content-Type", b"text/x"),
            ],
            "\u00e9".encode(),
        ),
        (
            {"statusCode": 200, "cookies": ["a=b", "c=d"], "isBase64Encoded": True, "body": "AAE="},
            [
                (b"Fn-Http-Status", b"200"),
                (b"Fn-Http-H-Set-Cookie", b"a=b"),
                (b"Fn-Http-H-Set-Cookie", b"c=d"),
                (b"Content-Type", b"application/json"),
            ],
            b"\0\1",
        ),
        (
            {"statusCode": 200, "headers": {"A": "0"}, "multiValueHeaders": {"A": ["1", "2"]}, "body": {"a": 1}},
            [
                (b"Fn-Http-Status", b"200"),
                (b"Fn-Http-H-A", b"1"),
                (b"Fn-Http-H-A", b"2"),
                (b"Content-Type", b"application/json"),
            ],
            b'{"a":1}',
        ),
        ({"message": "hi"}, [(b"Content-Type", b"application/json")], b'{"message": "hi"}'),
        ("hi", [(b"Content-Type", b"application/json")], b"hi"),
        (None, [(b"Content-Type", b"application/json")], b"null"),
        ([1], [(b"Content-Type", b"application/json")], b"[1]"),
    ],
)
def test_an_answer_describes_a_response_or_is_its_body(
    value: Any, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    assert respond(value) == (headers, body)


@pytest.mark.parametrize(
    "value",
    [
        {"statusCode": None},
        {"statusCode": True},
        {"statusCode": 20},
        {"statusCode": -200},
        {"statusCode": "200\r\n"},
        {"statusCode": "\u0662\u0660\u0660"},
        {"statusCode": 200, "headers": []},
        {"statusCode": 200, "headers": {"A": {}}},
        {"statusCode": 200, "headers": {"A": "b\r\nC: d"}},
        {"statusCode": 200, "headers": {"A": "\u20ac"}},
        {"statusCode": 200, "headers": {"A\r\nB": "c"}},
        {"statusCode": 200, "headers": {"": "c"}},
        {"statusCode": 200, "cookies": ["a=b\nc"]},
        {"statusCode": 200, "isBase64Encoded": True, "body": "?"},
    ],
)
def test_a_response_that_cannot_be_is_the_functions_fault(value: Any) -> None:
    with pytest.raises(errors.InvalidFunctionResponse):
        respond(value)


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_the_functions_fault(payload: bytes) -> None:
    with pytest.raises(errors.InvalidFunctionResponse):
        http_events.response(payload, 1000)


def test_headers_have_a_limit() -> None:
    with pytest.raises(errors.FunctionHeadersTooLarge):
        respond({"statusCode": 200, "headers": {"A": "x" * 1000}}, 1000)


def test_a_prelude_says_the_status_and_the_headers() -> None:
    assert http_events.prelude(b'{"statusCode": 201, "headers": {"A": "b"}}', 1000) == [
        (b"Fn-Http-Status", b"201"),
        (b"Fn-Http-H-A", b"b"),
        (b"Content-Type", b"application/json"),
    ]
    assert http_events.prelude(b"", 1000)[0] == (b"Fn-Http-Status", b"200")
    for bad in (b"[]", b"{", b'{"statusCode": "x"}'):
        with pytest.raises(errors.InvalidFunctionResponse):
            http_events.prelude(bad, 1000)
