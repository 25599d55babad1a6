"""A function of the format skeleton. It gives back what it gets, or does wrong what the call asks for."""

import os
import sys

NAME = os.urandom(8).hex().encode()

LIES = {
    b"no number": b"x\nhello0\n",
    b"negative": b"-1\n",
    b"huge": b"99999999\n",
    b"endless number": b"1" * 1000,
    b"two answers": b"5\nhello0\n5\nagain0\n",
}


def receive():
    """Return a call's body; None if there are no more calls."""
    body = b""
    while line := sys.stdin.buffer.readline():
        if int(line) == 0:
            return body
        body += sys.stdin.buffer.read(int(line))
    return None


def main():
    """Answer calls until there are no more."""
    while (body := receive()) is not None:
        print("called with", len(body), "bytes", file=sys.stderr, flush=True)
        if body == b"exit":
            sys.exit(3)
        if body == b"who":
            body = NAME
        answer = b"".join(
            b"%d\n%b" % (len(body[at : at + 1000]), body[at : at + 1000]) for at in range(0, len(body), 1000)
        )
        sys.stdout.buffer.write(LIES.get(body) or answer + b"0\n")
        sys.stdout.buffer.flush()


main()
