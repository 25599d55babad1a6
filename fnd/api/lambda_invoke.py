"""Invocation by name, as AWS Lambda's clients ask for it: `POST /2015-03-31/functions/{name}/invocations`.

The call is one as through `/invoke`, to a function of any format; what differs is how the function is named, and how
the answer tells whose fault a failure is: docs/lambda.md has tables. Source: AWS Lambda's API reference, "Invoke".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote

import attrs

from fnd import errors
from fnd.runtime.call import Call

if TYPE_CHECKING:
    from fnd.api.invoke import Invocation
    from fnd.catalog import Catalog, FnVersion
    from fnd.http.connection import Connection
    from fnd.http.request import Request
    from fnd.http.wire import Headers
    from fnd.runtime.agent import Agent

FUNCTIONS_PREFIX: Final = b"/2015-03-31/functions/"
_SUFFIX: Final = b"/invocations"
_LATEST: Final = "$LATEST"
"""The one version that there is."""

_NAMES: Final[dict[type[errors.APIError], str]] = {
    errors.BodyTooLarge: "RequestTooLargeException",
    errors.Conflict: "ResourceConflictException",
    errors.NotFound: "ResourceNotFoundException",
    errors.TooManyRequests: "TooManyRequestsException",
    errors.ImageUnusable: "InvalidRuntimeException",
    errors.BadRequest: "InvalidRequestContentException",
}
"""What Lambda calls errors that the function has no part in; others of the caller's are invalid parameters, others of
the machine's ServiceException."""
_TYPES: Final[dict[type[errors.APIError], str]] = {
    errors.FunctionTimedOut: "Sandbox.Timedout",
    errors.FunctionResponseLost: "Runtime.ExitError",
    errors.InvalidFunctionResponse: "Runtime.InvalidResponse",
    errors.FunctionBodyTooLarge: "Function.ResponseSizeTooLarge",
    errors.FunctionHeadersTooLarge: "Function.ResponseSizeTooLarge",
    errors.ContainerFailed: "Runtime.InitError",
    errors.ContainerStartTimedOut: "Runtime.InitTimeout",
}
"""The errorType of what a function does wrong without saying so."""


class LambdaInvocation:
    """Answers calls by name."""

    def __init__(self, invocation: Invocation, agent: Agent, catalog: Catalog) -> None:
        self._invocation = invocation
        self._agent = agent
        self._catalog = catalog

    async def __call__(self, connection: Connection, request: Request) -> None:
        """Answer one. Raises APIError for the connection to answer."""
        connection.error_form = Form(0).answer
        path, _, query = request.target[len(FUNCTIONS_PREFIX) :].partition(b"?")
        if not path.endswith(_SUFFIX):
            raise errors.NotFound("Of Lambda's interface there is POST /2015-03-31/functions/NAME/invocations alone")
        if request.method != b"POST":
            raise errors.MethodNotAllowed("A function is invoked with POST")
        version = self._find(unquote(path[: -len(_SUFFIX)].decode("latin-1")), query.decode("latin-1"))
        match (request.header(b"x-amz-invocation-type") or b"RequestResponse").decode("latin-1"):
            case "RequestResponse":
                connection.error_form = Form(version.fn.timeout).answer
                await self._invocation.call(connection, request, self._agent.pool(version), made=LambdaCall)
            case "DryRun":
                await connection.respond(204, [(b"X-Amz-Executed-Version", _LATEST.encode())], b"")
            case "Event":
                raise Invalid(
                    "X-Amz-Invocation-Type: Event is for calls that nobody waits for, which there are not here"
                )
            case other:
                raise Invalid(f"X-Amz-Invocation-Type must be RequestResponse or DryRun, not {other[:50]!r}")

    def _find(self, name: str, query: str) -> FnVersion:
        """Return the fn of a name, an ARN or part of one. Raises NotFound, Conflict."""
        named = _Named.parse(name)
        qualifier = parse_qs(query).get("Qualifier", [_LATEST])[-1]
        if (named.qualifier, qualifier) != (_LATEST, _LATEST):
            raise errors.NotFound(f"Function not found: {name}: the only version is {_LATEST}")
        if named.app is None and (version := self._catalog.fn(named.fn)) is not None:
            return version
        found = self._catalog.fns_named(named.fn, named.app)
        if not found:
            raise errors.NotFound(f"Function not found: {name}")
        if len(found) > 1:
            raise errors.Conflict(f"{len(found)} apps have a function {named.fn}: call it APP:function:{named.fn}")
        return found[0]


class LambdaCall(Call):
    """A call whose answer says, besides, what Lambda's clients look for."""

    def header_lines(self) -> bytes:
        """Return what every answer to the call carries beside its own headers, as it goes out."""
        version = b"" if self.error else b"X-Amz-Executed-Version: $LATEST\r\n"
        return b"X-Amzn-RequestId: %b\r\n%b%b" % (self.id.encode("ascii"), version, super().header_lines())


class Invalid(errors.BadRequest):
    """A parameter of Lambda's that means nothing here."""


@attrs.frozen
class _Named:
    """Whom a name means: the app stands where Lambda has an account."""

    app: str | None
    fn: str
    qualifier: str = _LATEST

    @classmethod
    def parse(cls, name: str) -> _Named:
        """Read FN, APP:function:FN or arn:aws:lambda:REGION:APP:function:FN, each maybe with :QUALIFIER."""
        words = name.split(":")
        if words[:1] == ["arn"] and len(words) >= 7:
            words = words[4:]
        if len(words) in (3, 4) and words[1] == "function":
            return cls(words[0], *words[2:])
        if len(words) == 2:
            return cls(None, *words)
        return cls(None, name)


@attrs.frozen
class Form:
    """How errors of one call are answered in Lambda's way."""

    timeout: int
    """Seconds that the function may run."""

    def answer(self, error: errors.APIError) -> tuple[int, Headers, bytes]:
        """Return status, headers and body: a function's failure is an answer, anything else is an error."""
        if isinstance(error, errors.FunctionError) and not isinstance(
            error, errors.ImageUnusable | errors.ImagePullTimedOut
        ):
            headers = [
                (b"Content-Type", b"application/json"),
                (b"X-Amz-Function-Error", b"Unhandled"),
                (b"X-Amz-Executed-Version", _LATEST.encode()),
            ]
            return 200, headers, error.payload or self._payload(error)
        name = next((name for kind, name in _NAMES.items() if isinstance(error, kind)), "")
        if isinstance(error, Invalid) or not name:
            name = "InvalidParameterValueException" if error.status < 500 else "ServiceException"
        headers = [(b"Content-Type", b"application/json"), (b"X-Amzn-ErrorType", name.encode())]
        headers += [(key.encode("ascii"), value.encode("ascii")) for key, value in error.headers]
        side = "User" if error.status < 500 else "Service"
        return error.status, headers, json.dumps({"Type": side, "Message": error.message}).encode()

    def _payload(self, error: errors.FunctionError) -> bytes:
        message = error.message
        if type(error) is errors.FunctionTimedOut:
            message = f"Task timed out after {self.timeout}.00 seconds"
        return json.dumps({"errorType": _TYPES.get(type(error), "Runtime.Unknown"), "errorMessage": message}).encode()
