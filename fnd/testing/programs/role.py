"""Plays a role for the driver conformance kit: `role.py ROLE`, with the names and meanings that fnd.testing.Role gives.

One file, which needs a Python from 3.6 on and nothing else.
"""

import os
import resource
import signal
import socket
import sys
import time
from typing import NoReturn

LINES = 20000
MOST_CHILDREN = 300
EXIT_CODE = 7


def say(text: str) -> None:
    os.write(1, text.encode())


def sleep_forever() -> NoReturn:
    while True:
        time.sleep(1000)


def serves() -> None:
    path = os.environ["FND_TEST_SOCKET"]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".new")
    os.chmod(path + ".new", 0o666)
    listener.listen(16)
    os.rename(path + ".new", path)  # once it is there it can be connected to
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    while True:
        connection, _ = listener.accept()
        data = connection.recv(65536)
        while data:
            connection.sendall(data)
            data = connection.recv(65536)
        connection.close()


def copies() -> None:
    data = os.read(0, 65536)
    while data:
        while data:
            data = data[os.write(1, data) :]
        data = os.read(0, 65536)
    os.write(2, b"end of input\n")


def exits() -> None:
    sys.exit(EXIT_CODE)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    # The first process of a namespace cannot kill itself, but the kernel can.
    resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
    while True:
        pass


def talks() -> None:
    for number in range(LINES):
        os.write(1, b"stdout %d\n" % number)
        os.write(2, b"stderr %d\n" % number)
    os.write(1, b"stdout end")
    os.write(2, b"stderr end")


def chatters() -> None:
    while True:
        os.write(1, b"stdout\n")
        os.write(2, b"stderr\n")
        time.sleep(0.0005)


def reports() -> None:
    with open("/proc/self/environ", "rb") as file:
        os.write(1, file.read())


def waits() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    say("ready\n")
    sleep_forever()


def ignore_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def stubborn() -> None:
    ignore_signals()
    if os.fork():
        say("ready\n")
    sleep_forever()


def leaves_children() -> None:
    read, write = os.pipe()
    for kind in ("child", "session", "daemon"):
        if os.fork() == 0:
            if kind != "child":
                os.setsid()
            if kind == "daemon":
                if os.fork():
                    os._exit(0)
                os.closerange(0, 3)  # the others hold the log open
            ignore_signals()
            os.write(write, b"x")
            sleep_forever()
    started = b""
    while len(started) < 3:
        started += os.read(read, 3)
    say("ready\n")


def takes_memory() -> None:
    taken = []
    while True:
        taken.append(b"x" * (4 << 20))
        time.sleep(0.005)


def forks() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        for _ in range(MOST_CHILDREN):
            if os.fork() == 0:
                os.setsid()
                ignore_signals()
                sleep_forever()
            say("forked\n")
    except OSError:
        pass
    say("ready\n")
    sleep_forever()


def computes() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    os.fork()
    say("ready\n")
    while True:
        pass


def built() -> None:
    directory = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(directory, "word"), "rb") as file:
        os.write(1, file.read())


globals()[sys.argv[1].replace("-", "_")]()
