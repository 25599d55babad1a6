"""The trivial function by Lambda's runtime API: answers every call with the same bytes, as cheaply as Python can."""

import os
import socket

BODY = b'{"message": "Hello World"}'
PATH = b"/2018-06-01/runtime/invocation"
NEXT = b"GET %b/next HTTP/1.1\r\nHost: api\r\n\r\n" % PATH
ANSWER = (
    b"POST %b/%%b/response HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    % (PATH, len(BODY), BODY)
)
REQUEST_ID = b"lambda-runtime-aws-request-id: "


def read(api: socket.socket) -> bytes:
    """Read one answer of the API's, and return its head."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += api.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lower_head = head.lower() + b"\r\n"
    after_name = lower_head.partition(b"\r\ncontent-length:")[2]
    missing = int(after_name.partition(b"\r\n")[0] or 0) - len(body)
    while missing > 0:
        missing -= len(api.recv(65536)) or missing
    return head + b"\r\n"


def main() -> None:
    """Ask for calls and answer them, for ever."""
    host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].partition(":")
    with socket.create_connection((host, int(port))) as api:
        api.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            api.sendall(NEXT)
            head = read(api)
            start = head.lower().index(REQUEST_ID) + len(REQUEST_ID)
            api.sendall(ANSWER % head[start : head.index(b"\r\n", start)])
            read(api)


if __name__ == "__main__":
    main()
