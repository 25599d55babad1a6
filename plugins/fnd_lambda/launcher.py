"""Runs in a container before its function: opens the door of Lambda's runtime API, and hands it to the daemon.

A runtime speaks with its API over TCP, and a container has no network but its own loopback, where the daemon is not.
So this program listens there, sends the listening socket itself to the daemon over a Unix socket, and becomes the
function, which then speaks with the daemon with nobody in between.

One file, which needs a Python from 3.6 on and nothing else. The daemon passes its source on; it is never imported. What
it imports is part of the interpreter, since every start waits for it: `socket` would take ten milliseconds.
"""

import _socket
import os
import sys
import time

BACKLOG = 64


def hand_over(listener: _socket.socket, path: str) -> None:
    """Send the listening socket to whoever connects first to the socket that appears at `path`."""
    directory, name = os.path.split(path)
    bound = os.path.join(directory, "phony" + name)
    door = _socket.socket(_socket.AF_UNIX)
    door.bind(bound)
    os.chmod(bound, 0o666)
    door.listen(1)
    os.rename(bound, path)  # once it is there it can be connected to
    descriptor, _ = door._accept()  # type: ignore[attr-defined]  # as in socket.py
    daemon = _socket.socket(fileno=descriptor)
    rights = listener.fileno().to_bytes(4, sys.byteorder)
    daemon.sendmsg([b"\n"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])


def describe(api: str, command: "list[str]") -> None:
    """Add what Lambda tells a function of itself to the environment, where its configuration does not say otherwise."""
    name = os.environ.get("FN_FN_NAME", "function")
    memory = os.environ.get("FN_MEMORY", "128")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    stream = time.strftime("%Y/%m/%d") + "/[$LATEST]" + os.urandom(16).hex()
    defaults = {
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": memory,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/" + name,
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "LAMBDA_TASK_ROOT": os.getcwd(),
        "TZ": ":UTC",
        "_HANDLER": command[-1],
    }
    for variable, value in defaults.items():
        os.environ.setdefault(variable, value)
    os.environ["AWS_LAMBDA_RUNTIME_API"] = api


def main(command: "list[str]") -> None:
    """Do all of it; `command` is what to become."""
    path = os.environ.pop("FND_LAMBDA_SOCKET")
    listener = _socket.socket(_socket.AF_INET)
    listener.bind(("127.0.0.1", 0))
    listener.listen(BACKLOG)
    hand_over(listener, path)
    describe(f"127.0.0.1:{listener.getsockname()[1]}", command)
    try:
        os.execvp(command[0], command)  # which closes this program's copies of all sockets
    except OSError as error:
        sys.exit(f"{command[0]} cannot be started: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
