"""Calls through a trigger: the request as an event of API Gateway's payload format 2.0, the answer as a response.

Source: Amazon API Gateway's developer guide, "Create AWS Lambda proxy integrations for HTTP APIs", and AWS Lambda's on
streamed answers (application/vnd.awslambda.http-integration-response).
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import msgspec

from fnd.hookspecs import CallRequest, FunctionHeadersTooLarge, InvalidFunctionResponse, wire

INTEGRATION: Final = b"application/vnd.awslambda.http-integration-response"
"""The type of a streamed answer that begins with its status and headers, in JSON."""
PRELUDE_END: Final = bytes(8)
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TEXT: Final = re.compile(r"text/.+|application/(json|javascript|xml)|[^/]+/.+\+(json|xml)")

_Scalar = str | int | float | bool


class _Response(msgspec.Struct):
    """What a function may say of its response; other fields mean nothing."""

    statusCode: int | str = 200  # noqa: N815 (API Gateway's names)
    headers: dict[str, _Scalar | None] | None = None
    multiValueHeaders: dict[str, list[_Scalar]] | None = None  # noqa: N815
    cookies: list[str] | None = None
    body: Any = None
    isBase64Encoded: bool = False  # noqa: N815


def event(request: CallRequest, body: bytes, account: str) -> bytes:
    """Return the event, JSON, for a request with the whole of its body; `account` stands for who has the trigger."""
    target, _, query = request.target.decode("latin-1").partition("?")
    path = unquote("/" + "/".join(target.split("/")[3:]), errors="replace")  # less /t/APP
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for raw_name, raw_value in request.headers:
        lower_name, text = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if lower_name == "cookie":
            cookies += [cookie.strip() for cookie in text.split(";") if cookie.strip()]
        elif raw_name.lower() not in wire.HOP_BY_HOP:
            headers[lower_name] = f"{headers[lower_name]},{text}" if lower_name in headers else text
    host = headers.get("host", "localhost")
    now = time.time()
    value: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": account,
            "apiId": account,
            "domainName": host,
            "domainPrefix": host.partition(".")[0],
            "http": {
                "method": request.method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "",
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request.call_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        value["cookies"] = cookies
    parameters: dict[str, str] = {}
    for name, text in parse_qsl(query, keep_blank_values=True, errors="replace"):
        parameters[name] = f"{parameters[name]},{text}" if name in parameters else text
    if parameters:
        value["queryStringParameters"] = parameters
    if body:
        value["body"], value["isBase64Encoded"] = _body(body, headers.get("content-type", ""))
    return msgspec.json.encode(value)


def _body(body: bytes, content_type: str) -> tuple[str, bool]:
    """Return a body as the event has it, and whether that is in base 64."""
    if _TEXT.fullmatch(content_type.partition(";")[0].strip().lower()):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode("ascii"), True


def response(payload: bytes, limit: int) -> tuple[wire.Headers, bytes]:
    """Return the headers, as an FDK would send them, and the body that an answer means, of headers of `limit` bytes.

    An object with a `statusCode` describes a response; any other JSON is the body of one. Raises
    InvalidFunctionResponse, FunctionHeadersTooLarge.
    """
    try:
        value = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid("its answer is not JSON") from error
    if not isinstance(value, dict) or "statusCode" not in value:
        body = value.encode() if isinstance(value, str) else payload
        return [(b"Content-Type", b"application/json")], body
    described = _described(value)
    headers = _headers(described, limit)
    match described.body:
        case None:
            body = b""
        case str(text) if described.isBase64Encoded:
            try:
                body = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError) as error:
                raise _invalid("its answer's body is not in base 64") from error
        case str(text):
            body = text.encode()
        case other:
            body = msgspec.json.encode(other)
    return headers, body


def prelude(data: bytes, limit: int) -> wire.Headers:
    """Return the headers, as an FDK would send them, that the beginning of a streamed answer means. Raises as above."""
    try:
        value = msgspec.json.decode(data) if data.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid("its answer does not begin with JSON") from error
    return _headers(_described(value), limit)


def _described(value: object) -> _Response:
    try:
        return msgspec.convert(value, _Response)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error


def _headers(described: _Response, limit: int) -> wire.Headers:
    status = str(described.statusCode)
    if not (status.isascii() and status.isdigit() and len(status) == 3):
        raise _invalid(f"statusCode is {status[:20]!r}")
    headers = [(b"Fn-Http-Status", status.encode())]
    content_type = b"application/json"
    for name, value in _fields(described):
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise _invalid(f"it has a header {name[:100]!r} that HTTP has no room for")
        if name.lower() == "content-type":
            content_type = value.encode("latin-1")
        else:
            headers.append((b"Fn-Http-H-" + name.encode("ascii"), value.encode("latin-1")))
    headers.append((b"Content-Type", content_type))
    if sum(len(name) + len(value) + 4 for name, value in headers) > limit:
        raise FunctionHeadersTooLarge
    return headers


def _fields(described: _Response) -> Iterator[tuple[str, str]]:
    several: Mapping[str, list[_Scalar]] = described.multiValueHeaders or {}
    for name, value in (described.headers or {}).items():
        if name not in several and value is not None:
            yield name, _text(value)
    for name, values in several.items():
        for value in values:
            yield name, _text(value)
    for cookie in described.cookies or ():
        yield "Set-Cookie", cookie


def _text(value: _Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _invalid(why: str) -> InvalidFunctionResponse:
    return InvalidFunctionResponse(f"{InvalidFunctionResponse.default_message}: {why}")
