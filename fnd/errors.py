"""Every error a caller or an operator can meet: its status, its message, and which side is at fault.

This is the only place where one is defined. Messages that Fn's clients know are Fn's own (see docs/http-api.md);
the others say what happened, to what, and what to do now.
"""

from __future__ import annotations

from typing import ClassVar


class FndError(Exception):
    """The root: anything fnd raises on purpose, with a message fit for a person."""

    def __init__(self, message: str) -> None:
        # A name from a function's files or from the caller may hold lone surrogates, which neither a store nor a
        # stream of events could take. Here, so that whoever passes a message on need not think of it.
        self.message = message.encode("utf-8", "backslashreplace").decode("utf-8")
        super().__init__(self.message)


class APIError(FndError):
    """An answer other than success: `status` and `message` go to the caller as they are.

    `headers` are added to the answer, for instance `Retry-After`.
    """

    status: ClassVar[int] = 500
    default_message: ClassVar[str] = "internal server error"
    headers: ClassVar[tuple[tuple[str, str], ...]] = ()

    def __init__(self, message: str | None = None) -> None:
        super().__init__(self.default_message if message is None else message)


# The caller is at fault.


class BadRequest(APIError):
    """A field, a header or a body that breaks a rule; the message names it."""

    status = 400
    default_message = "Bad request"


class InvalidJSON(BadRequest):
    """A body that is not JSON, or JSON of another shape than the route takes."""

    default_message = "Invalid JSON"


class TooLargeForMachine(BadRequest):
    """A function that asks for more than the whole machine has."""

    default_message = "Requested CPU/Memory cannot be allocated"


class Unauthorized(APIError):
    """Management over TCP without the token."""

    status = 401
    default_message = "A management token is needed: send it as Authorization: Bearer TOKEN"
    headers = (("WWW-Authenticate", "Bearer"),)


class Forbidden(APIError):
    """Something this listener does not serve to this peer."""

    status = 403
    default_message = "Not allowed here"


class NotFound(APIError):
    """No such thing, whatever it is; the message says which."""

    status = 404
    default_message = "Not found"


class AppNotFound(NotFound):
    """No app by that id or name."""

    default_message = "App not found"


class FnNotFound(NotFound):
    """No fn by that id or name."""

    default_message = "Fn not found"


class CallNotFound(NotFound):
    """No record of such a call."""

    default_message = "There is no record of this call: it never was, or so many came since that it was dropped"


class TriggerNotFound(NotFound):
    """No trigger by that id, or none that the requested URL leads to."""

    default_message = "Trigger not found"


class MethodNotAllowed(APIError):
    """The path exists, the method on it does not."""

    status = 405
    default_message = "Method not allowed"


class RequestTimedOut(APIError):
    """The caller took too long to send its request."""

    status = 408
    default_message = "The request did not arrive in time"


class Conflict(APIError):
    """A name that is taken, or a field that cannot change."""

    status = 409
    default_message = "Conflict"


class BodyTooLarge(APIError):
    """A request body over the limit."""

    status = 413
    default_message = "Request content too large"


class TargetTooLong(APIError):
    """A start line over the limit."""

    status = 414
    default_message = "Request target too long"


class UnsupportedContentType(APIError):
    """A body of a type the route does not take."""

    status = 415
    default_message = "Content Type not supported"


class ExpectationFailed(APIError):
    """An Expect header other than 100-continue."""

    status = 417
    default_message = "Only 100-continue can be expected"


class HeadersTooLarge(APIError):
    """Request headers over the limit."""

    status = 431
    default_message = "Request headers too large"


class CallerGone(APIError):
    """The caller went away before its answer; the status is for the record, nobody is there to read it."""

    status = 444
    default_message = "The caller went away"


class TooManyRequests(APIError):
    """The function's waiting line is full."""

    status = 429
    default_message = "Too many requests submitted"
    headers = (("Retry-After", "1"),)


# The machine is at fault.


class InternalError(APIError):
    """A fault of fnd's own; the log has the cause."""


class StoreUnavailable(APIError):
    """The store cannot be read or written; calls of known functions go on."""

    status = 503
    default_message = "The store is not available; calls of known functions are still answered"
    headers = (("Retry-After", "15"),)


class ServerBusy(APIError):
    """The call's deadline passed before a container took it."""

    status = 503
    default_message = "Timed out - server too busy"
    headers = (("Retry-After", "15"),)


class Draining(APIError):
    """The daemon is stopping and takes no new call."""

    status = 503
    default_message = "The daemon is stopping"
    headers = (("Retry-After", "15"),)


# The function is at fault.


class FunctionError(APIError):
    """The function, not fnd and not the caller, failed this call.

    `payload` is what the function itself says of that, if it does: JSON for who asked in a way that has room for it.
    """

    status = 502
    default_message = "function failed"

    def __init__(self, message: str | None = None, *, payload: bytes = b"") -> None:
        super().__init__(message)
        self.payload = payload


class ContainerEnded(FunctionError):
    """The call's container was ended under it, because of another call that it served at the same time."""

    default_message = "the function's container was ended"


class FunctionFailed(FunctionError):
    """The function raised."""


class FunctionTimedOut(FunctionError):
    """The deadline passed during the run, or the function says that it did."""

    status = 504
    default_message = "Timed out"


class InvalidFunctionResponse(FunctionError):
    """An answer outside the protocol."""

    default_message = "invalid function response"


class FunctionResponseLost(FunctionError):
    """The container's end of the link closed or failed before its answer was complete."""

    default_message = "error receiving function response"


class FunctionHeadersTooLarge(FunctionError):
    """The function's answer has headers over the limit."""

    default_message = "function response header too large"


class FunctionBodyTooLarge(FunctionError):
    """The function's answer has a body over the limit."""

    default_message = "function response body too large"


class ContainerFailed(FunctionError):
    """The container exited, or broke the protocol, before it was ready."""

    default_message = "Container failed to initialize, please ensure you are using the latest fdk and check the logs"


class ContainerStartTimedOut(FunctionError):
    """The container was not ready within the start time-out."""

    status = 504
    default_message = (
        "Container initialization timed out, please ensure you are using the latest fdk and check the logs"
    )


class ImageUnusable(FunctionError):
    """The fn's image does not exist, or no driver here can start it; the message says which."""

    default_message = "Image not usable"


class ImagePullTimedOut(FunctionError):
    """The image was not there within the pull time-out."""

    status = 504
    default_message = "Image pull timed out"


# The operator must act; these end a command or a start, and are never an answer to a call.


class ConfigurationError(FndError):
    """A setting that is unknown, of the wrong type or out of range; the message names it and where it was read."""


class ApplicationFailed(FndError):
    """The ASGI application could not start, or failed while it stopped; the message has what it said."""


class PluginFailed(FndError):
    """A plugin does not do what it should, in a way of which it says nothing itself."""


class StoreTooNew(FndError):
    """The database was written by a newer fnd than this one."""


class AlreadyRunning(FndError):
    """Another daemon holds the same data directory, runtime directory or control socket."""


class BuildFailed(FndError):
    """A function's source could not be made into an image; the message has the end of the builder's output."""
