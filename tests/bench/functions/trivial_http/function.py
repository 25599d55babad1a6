"""The trivial function by the format http: answers every call with the same bytes, as cheaply as Python can."""

import os

BODY = b'{"message": "Hello World"}'
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


def main() -> None:
    """Answer a call for each request, until there are no more."""
    while request := os.read(0, 65536):
        head, _, body = request.partition(b"\r\n\r\n")
        after_name = head.lower().partition(b"\r\ncontent-length:")[2]
        missing = int(after_name.partition(b"\r\n")[0] or 0) - len(body)
        while missing > 0:
            missing -= len(os.read(0, 65536)) or missing
        os.write(1, RESPONSE)


if __name__ == "__main__":
    main()
