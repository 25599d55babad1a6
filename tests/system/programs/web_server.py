"""A web server of the standard library, on its Unix socket or on PORT, that does what its paths say."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import sys
import threading
import time
from typing import BinaryIO

Headers = list[tuple[str, str]]
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
running = 0
most = 0
lock = threading.Lock()
began = time.monotonic()


def read_head(stream: BinaryIO) -> tuple[str, str, Headers] | None:
    lines = []
    while True:
        line = stream.readline()
        if not line:
            return None
        if line == b"\r\n":
            break
        lines.append(line.rstrip(b"\r\n").decode("latin-1"))
    method, path, _ = lines[0].split(" ")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines[1:])]
    return method, path, headers


def read_body(stream: BinaryIO, headers: Headers) -> bytes:
    named = {name.lower(): value for name, value in headers}
    if named.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(stream.readline(), 16):
            body += stream.read(size)
            stream.readline()
        stream.readline()
        return body
    return stream.read(int(named.get("content-length", 0)))


def answer(
    connection: socket.socket, body: bytes = b"", status: str = "200 OK", headers: str = "", length: bool = True
) -> None:
    framing = f"Content-Length: {len(body)}\r\n" if length else ""
    connection.sendall(f"HTTP/1.1 {status}\r\n{headers}{framing}\r\n".encode("latin-1") + body)


def serve(connection: socket.socket, number: int) -> None:
    stream = connection.makefile("rb")
    while (head := read_head(stream)) is not None:
        if not one(connection, stream, number, *head):
            break
    connection.close()


def one(connection: socket.socket, stream: BinaryIO, number: int, method: str, path: str, headers: Headers) -> bool:
    global running, most
    path, _, query = path.partition("?")
    named = {name.lower(): value for name, value in headers}
    if path == "/socket":
        return websocket(connection, stream, named)
    body = read_body(stream, headers)
    with lock:
        running += 1
        most = max(most, running)
    try:
        return act(connection, number, method, path, query, headers, body)
    finally:
        with lock:
            running -= 1


def act(
    connection: socket.socket, number: int, method: str, path: str, query: str, headers: Headers, body: bytes
) -> bool:
    if path == "/sleep":
        time.sleep(float(query))
        answer(connection, b"slept")
    elif path == "/most":
        answer(connection, str(most).encode())
    elif path == "/events":
        answer(connection, headers="Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n", length=False)
        for event in range(int(query)):
            data = b"data: %d\n\n" % event
            connection.sendall(b"%x\r\n%b\r\n" % (len(data), data))
            time.sleep(0.1)
        connection.sendall(b"0\r\n\r\n")
    elif path == "/until-close":
        answer(connection, b"all of it", headers="Connection: close\r\n", length=False)
        return False
    elif path == "/size":
        answer(connection, str(len(body)).encode())
    elif path == "/large":
        answer(connection, b"x" * int(query))
    elif path == "/status":
        answer(connection, b"" if query.startswith("304") else b"said", f"{query} Said", "X-Own: yes\r\n")
    elif path == "/ready":
        late = time.monotonic() - began < 0.5
        answer(connection, status="503 Not yet" if late else "200 OK")
    elif path == "/late":
        answer(connection, b"early" if time.monotonic() - began < 0.5 else b"late enough")
    elif path == "/garbage":
        connection.sendall(b"what?\r\n\r\n")
    elif path == "/hang-up":
        return False
    elif path == "/forged":
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmore"
        )
    elif path == "/head":
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 10000)
    elif path == "/switch":
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
    elif path == "/exit":
        os._exit(3)
    else:
        told = {"method": method, "path": path, "query": query, "headers": headers, "body": body.decode("latin-1")}
        answer(connection, json.dumps({**told, "connection": number}).encode())
    return True


def websocket(connection: socket.socket, stream: BinaryIO, headers: dict[str, str]) -> bool:
    key = base64.b64encode(hashlib.sha1((headers["sec-websocket-key"] + GUID).encode()).digest()).decode()
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % key.encode()
    )
    while data := connection.recv(65536):
        connection.sendall(data)
    return False


def main() -> None:
    if "PORT" in os.environ:
        listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=100)
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.environ["FND_SOCKET"])
        listener.listen(100)
    print("listening", file=sys.stderr, flush=True)
    number = 0
    while True:
        connection, _ = listener.accept()
        number += 1
        threading.Thread(target=serve, args=(connection, number), daemon=True).start()


main()
