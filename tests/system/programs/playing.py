"""A container's program for tests of drivers: does what PLAY tells it to, and ends."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from pathlib import Path


def tell() -> None:
    """Write what the container finds of itself."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(f"user {os.getuid()}:{os.getgid()}")
    print(f"capabilities {status['CapEff']} {status['CapBnd']}")
    print(f"gains {status['NoNewPrivs']}")
    print(f"filter {status['Seccomp']}")
    print(f"files {resource.getrlimit(resource.RLIMIT_NOFILE)[1]}")
    print(f"network {','.join(sorted(path.name for path in Path('/sys/class/net').iterdir()))}")
    for directory in ("/", "/tmp", os.environ["DIRECTORY"]):
        try:
            (Path(directory) / "written").write_text("")
        except OSError as error:
            print(f"write {directory} {error.strerror}")
        else:
            print(f"write {directory} done")


def fork_without_end() -> None:
    children = 0
    try:
        while True:
            if os.fork() == 0:
                signal.pause()
            children += 1
    except OSError:
        print(f"forked {children}", flush=True)


def play(what: str, argument: str) -> None:
    match what:
        case "exit":
            sys.exit(int(argument))
        case "signal":
            os.kill(os.getpid(), int(argument))
            time.sleep(60)
        case "write":
            for number in range(int(argument)):
                os.write(1, b"out %d\n" % number)
                os.write(2, b"err %d\n" % number)
        case "eat":
            held = [bytes(range(256)) * 4096 for _ in range(int(argument))]
            print(len(held))
        case "fork":
            fork_without_end()
        case "tell":
            tell()
        case "spin":
            print("spinning", flush=True)
            while True:
                pass
        case "ignore":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print("ignoring", flush=True)
            time.sleep(1000)
        case "echo":
            while data := os.read(0, 65536):
                os.write(1, data)
        case "pour":
            while True:
                os.write(1, b"x" * 65536)
        case _:
            time.sleep(1000)


play(*os.environ.get("PLAY", "").partition(" ")[::2])
