"""The trivial function as a web server: answers every request with the same bytes, as cheaply as Python can."""

import os
import socket

BODY = b'{"message": "Hello World"}'
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


def serve(connection: socket.socket) -> None:
    """Answer the requests that come on one connection, until it closes."""
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
    """Serve one connection after another."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.environ["FND_SOCKET"])
        listener.listen()
        while True:
            connection, _ = listener.accept()
            try:
                with connection:
                    serve(connection)
            except ConnectionError:
                continue


if __name__ == "__main__":
    main()
