"""The trivial function: answers every call of the http-stream format with the same bytes, as cheaply as Python can."""

import os
import socket
from pathlib import Path

BODY = b'{"message": "Hello World"}'
RESPONSE = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: application/json\r\n"
    b"Fn-Fdk-Version: bench/1\r\n"
    b"Fn-Fdk-Runtime: python\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)


def serve(connection: socket.socket) -> None:
    """Answer the calls that come on one connection, until it closes."""
    while True:
        request = connection.recv(65536)
        if not request:
            return
        head, _, body = request.partition(b"\r\n\r\n")
        after_name = head.lower().partition(b"\r\ncontent-length:")[2]
        missing = int(after_name.partition(b"\r\n")[0] or 0) - len(body)
        while missing > 0:
            missing -= len(connection.recv(65536)) or missing
        connection.sendall(RESPONSE)


def main() -> None:
    """Listen where FN_LISTENER says, in the order of steps that Fn's watchers wait for."""
    link = Path(os.environ["FN_LISTENER"].removeprefix("unix:"))
    path = link.with_name("phonylsnr.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen()
        link.symlink_to(path.name)
        while True:
            connection, _ = listener.accept()
            try:
                with connection:
                    serve(connection)
            except ConnectionError:
                continue


if __name__ == "__main__":
    main()
