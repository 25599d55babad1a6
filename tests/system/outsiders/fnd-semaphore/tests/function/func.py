"""Gives back what it gets; or fails, leaves or lies, if that is what it is asked for."""

import os
import socket
import struct
import sys
from pathlib import Path

HEAD = struct.Struct(">cI")


def take(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            sys.exit(0)
        data += part
    return data


def receive(connection):
    body = b""
    while True:
        kind, size = HEAD.unpack(take(connection, HEAD.size))
        if kind == b"E":
            return body
        body += take(connection, size)


def answer(connection, body):
    frames = [(b"H", b"text/plain")]
    if body == b"fail":
        frames = [(b"F", b"as asked")]
    elif body == b"lie":
        frames = [(b"Z", b"")]
    else:
        frames += [(b"B", body[at : at + 60000]) for at in range(0, len(body), 60000)] + [(b"E", b"")]
    connection.sendall(b"".join(HEAD.pack(kind, len(content)) + content for kind, content in frames))


def main():
    path = os.environ["SEMAPHORE"]
    with socket.socket(socket.AF_UNIX) as listener:
        unready = Path(f"{path}~")
        listener.bind(str(unready))
        listener.listen()
        unready.chmod(0o666)
        unready.rename(path)  # by its name it is found to be ready
        connection, _ = listener.accept()
    while True:
        body = receive(connection)
        if body == b"huge":
            connection.sendall(HEAD.pack(b"H", 1 << 31))
        elif body == b"leave":
            sys.exit(1)
        else:
            answer(connection, body)


main()
