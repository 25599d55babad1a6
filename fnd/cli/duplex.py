"""One call whose body is sent while its answer is read: a function may answer before it has read everything.

httpx sends all of a body before it reads, so that a function which streams would come to a halt with it.
"""

from __future__ import annotations

import http.client
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from fnd.cli.control_socket import connect
from fnd.cli.exits import FunctionFailedCall, NotReachable

_PART: Final = 64 * 1024


class Answer:
    """An answer whose body is read part by part."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers = response.headers

    def parts(self) -> Iterator[bytes]:
        """Yield the body. Raises FunctionFailedCall if it ends before it is complete."""
        try:
            while part := self._response.read1(_PART):
                yield part
            complete = not self._response.length
        except (http.client.HTTPException, ConnectionError):
            complete = False
        if not complete:
            raise FunctionFailedCall("The answer ended before it was complete")


@contextmanager
def call(control: Path, path: str, headers: Mapping[str, str], body: int | None) -> Iterator[Answer]:
    """POST to the daemon at `control`; the file descriptor `body` is read, in a thread, until its end or the answer's.

    Raises NotReachable.
    """
    connection = http.client.HTTPConnection("localhost")
    connection.sock = connect(control)
    with closing(connection):
        try:
            connection.putrequest("POST", path)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.putheader(*(("Transfer-Encoding", "chunked") if body is not None else ("Content-Length", "0")))
            connection.endheaders()
            if body is not None:
                # A daemon thread: nobody waits for input that the answer did not wait for.
                threading.Thread(target=_send, args=(connection.sock, body), daemon=True).start()
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise NotReachable(f"The daemon at {control} ended the conversation: {error}") from error
        yield Answer(response)


def _send(connection: socket.socket, body: int) -> None:
    try:
        # Straight from the descriptor: a buffered file that is being read cannot be closed at the command's end.
        while part := os.read(body, _PART):
            connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))
        connection.sendall(b"0\r\n\r\n")
    except OSError:
        return  # the daemon has answered without the rest, or is gone; the answer tells
