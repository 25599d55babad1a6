"""What a web server is sent: the caller's request as it came, but for what belongs to one hop; and where it came in."""

from __future__ import annotations

from typing import Final

from fnd.hookspecs import CallRequest, wire

_OURS: Final = frozenset((b"expect", b"fn-call-id", b"fn-deadline", b"x-forwarded-prefix"))
_USUAL: Final = frozenset((b"keep-alive", b"close", b"upgrade"))


def request_head(request: CallRequest) -> bytes:
    """Return start line and headers, without framing ones."""
    dropped = wire.FRAMING | _OURS
    protocol = b""
    has_host = False
    for name, value in request.headers:
        lower_name = name.lower()
        if lower_name == b"connection":
            dropped |= {named for part in value.lower().split(b",") if (named := part.strip()) not in _USUAL}
        elif lower_name == b"upgrade":
            protocol = value.partition(b",")[0].strip()
        elif lower_name == b"host":
            has_host = True
    parts = [b"%b %b HTTP/1.1\r\n" % (request.method.encode("latin-1"), request.path)]
    if not has_host:
        parts.append(b"Host: localhost\r\n")
    for name, value in request.headers:
        if name.lower() not in dropped:
            parts += (name, b": ", value, b"\r\n")
    parts.append(
        b"X-Forwarded-Prefix: %b\r\nFn-Call-Id: %b\r\nFn-Deadline: %b\r\n"
        % (url_prefix(request), request.call_id.encode("ascii"), request.deadline_text.encode("ascii"))
    )
    if request.upgrade:
        parts.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % protocol)
    return b"".join(parts)


def url_prefix(request: CallRequest) -> bytes:
    """Return the path of the URL that the function is called at; what it is asked for is below."""
    whole = request.target.partition(b"?")[0]
    below = request.path.partition(b"?")[0]
    return whole[: -len(below)] if whole.endswith(below) else whole


def asked_protocol(request: CallRequest) -> bytes:
    """Return the protocol that the caller would change to."""
    return next(
        (value.partition(b",")[0].strip() for name, value in request.headers if name.lower() == b"upgrade"), b""
    )
