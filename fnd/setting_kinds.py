"""The kinds of value a setting can have: how each is read from text or a TOML value, and what it allows.

`fnd.config` composes them into the daemon's settings. A kind raises ValueError for what it does not take;
`allowed` says what it does, to end an error message or a line of documentation.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from pathlib import Path
from typing import Any, Final, Protocol

import attrs

MAX_UNIX_PATH: Final = 107
"""Bytes in a Unix socket's path: sizeof(sun_path) less its NUL, unix(7)."""

_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,18}) ?([KMGT])iB", re.ASCII)
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}", re.ASCII)
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


class Kind(Protocol):
    """What a setting's value is."""

    @property
    def metavar(self) -> str:
        """What stands for the value in a command's help."""

    @property
    def allowed(self) -> str:
        """What is taken, to follow "must be"."""

    def read(self, value: Any) -> Any:
        """Return the setting's value for text (a flag, a variable) or a TOML value. Raises ValueError."""


@attrs.frozen
class ListenAddress:
    """Where a listener listens: a TCP host and port, or a Unix socket's path."""

    host: str = ""
    """A name, an IPv4 or an IPv6 address without brackets; "" for a Unix socket."""
    port: int = 0
    """0 lets the kernel choose."""
    path: Path | None = None
    """A Unix socket's path, absolute."""

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """Read `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`. Raises ValueError saying what is wrong."""
        if text.startswith("unix:"):
            return cls(path=socket_path(text.removeprefix("unix:")))
        host, colon, port = text.rpartition(":")
        if not colon or not host:
            raise ValueError("neither HOST:PORT nor unix:PATH")
        if not _WHOLE.fullmatch(port) or int(port) > 65535:
            raise ValueError("the port is not a number from 0 to 65535")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            ipaddress.IPv6Address(host)
        elif ":" in host:
            raise ValueError("an IPv6 address goes in brackets, [::1]:8080")
        elif not _HOST_NAME.fullmatch(host):
            raise ValueError("not a host name or address")
        return cls(host, int(port))

    def __str__(self) -> str:
        """Return the text that `parse` reads back to an equal address."""
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def socket_path(text: str) -> Path:
    """Return the absolute path of a Unix socket. Raises ValueError if a socket cannot have it."""
    path = _path(text)
    if len(os.fsencode(path)) > MAX_UNIX_PATH:
        raise ValueError(f"a Unix socket's path has at most {MAX_UNIX_PATH} bytes")
    return path


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError("not a path")
    return Path(text).expanduser().absolute()


@attrs.frozen
class Whole:
    """A whole number within bounds, both included."""

    minimum: int
    maximum: int
    metavar: str = "N"

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.minimum} to {self.maximum}"

    def read(self, value: Any) -> int:
        """Return the number."""
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        if type(value) is not int or not self.minimum <= value <= self.maximum:
            raise ValueError("not in the range")
        return value


@attrs.frozen
class Size:
    """A size: a number of `unit` bytes, or text with a unit of its own, such as "64 KiB"."""

    minimum: int
    maximum: int
    unit: int = 1
    """Bytes that a bare number counts: 1, or 1 << 20 for MiB."""
    metavar: str = "SIZE"

    @property
    def allowed(self) -> str:
        name = "bytes" if self.unit == 1 else "MiB"
        bounds = f"from {self.text(self.minimum)} to {self.text(self.maximum)}"
        return f"a size {bounds}: a number of {name}, or such as 64KiB, 16MiB or 2GiB"

    def text(self, size: int) -> str:
        """Return a size for people, in the largest unit that has no fraction."""
        size *= self.unit
        for power, prefix in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
            if size and not size % (1 << power):
                return f"{size >> power} {prefix}"
        return f"{size} bytes" if size else "0"

    def read(self, value: Any) -> int:
        """Return the size in `unit`s."""
        if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
            size = int(match[1]) << 10 * ("KMGT".index(match[2]) + 1)
            value, rest = divmod(size, self.unit)
            if rest:
                raise ValueError("not a whole number of MiB")
        return Whole(self.minimum, self.maximum).read(value)


@attrs.frozen
class Seconds:
    """A time span in seconds, fractions allowed, more than zero, or zero where that means never."""

    maximum: float = 86400.0
    or_zero: bool = False
    metavar: str = "SECONDS"

    @property
    def allowed(self) -> str:
        least = "from 0" if self.or_zero else "more than 0"
        return f"a number of seconds, {least} and at most {self.maximum:g}"

    def read(self, value: Any) -> float:
        """Return the seconds."""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError("not a number")  # noqa: TRY004
        seconds = float(value)
        if not math.isfinite(seconds) or not 0 <= seconds <= self.maximum or not (seconds or self.or_zero):
            raise ValueError("not in the range")
        return seconds


@attrs.frozen
class Switch:
    """On or off."""

    metavar: str = ""
    allowed: str = "true or false"

    def read(self, value: Any) -> bool:
        """Return whether it is on."""
        if isinstance(value, bool):
            return value
        text = value.lower() if isinstance(value, str) else ""
        if text not in _TRUE | _FALSE:
            raise ValueError("neither")
        return text in _TRUE


@attrs.frozen
class Choice:
    """One of a few words."""

    words: tuple[str, ...]
    metavar: str = "WORD"

    @property
    def allowed(self) -> str:
        return f"{', '.join(self.words[:-1])} or {self.words[-1]}"

    def read(self, value: Any) -> str:
        """Return the word, in lower case."""
        word = value.lower() if isinstance(value, str) else ""
        if word not in self.words:
            raise ValueError("none of them")
        return word


@attrs.frozen
class Word:
    """A text of a certain shape."""

    pattern: str
    allowed: str
    metavar: str = "TEXT"

    def read(self, value: Any) -> str:
        """Return the text."""
        if not isinstance(value, str) or not re.fullmatch(self.pattern, value, re.ASCII):
            raise ValueError("another shape")
        return value


@attrs.frozen
class Directory:
    """A directory's path, made absolute against the working directory; it need not exist yet."""

    metavar: str = "DIRECTORY"
    allowed: str = "a directory's path"

    def read(self, value: Any) -> Path:
        """Return the path."""
        if not isinstance(value, str | Path):
            raise ValueError("not a path")  # noqa: TRY004
        return _path(str(value))


@attrs.frozen
class SocketPath:
    """The path of a Unix socket, made absolute against the working directory."""

    metavar: str = "PATH"
    allowed: str = f"a path of at most {MAX_UNIX_PATH} bytes"

    def read(self, value: Any) -> Path:
        """Return the path."""
        if not isinstance(value, str | Path):
            raise ValueError("not a path")  # noqa: TRY004
        return socket_path(str(value))


@attrs.frozen
class Listeners:
    """One or more listen addresses; in text, separated by commas or spaces."""

    metavar: str = "ADDRESS"
    allowed: str = "one or more of HOST:PORT, [IPV6]:PORT and unix:PATH"

    def read(self, value: Any) -> tuple[str, ...]:
        """Return the addresses, each as its `ListenAddress` prints."""
        texts = value.replace(",", " ").split() if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError("no address")
        return tuple(str(ListenAddress.parse(text)) for text in texts)


@attrs.frozen
class Tables:
    """A table of tables; only a configuration file can have it."""

    metavar: str = ""
    allowed: str = "tables, one for each plugin: [plugins.NAME]"

    def read(self, value: Any) -> dict[str, dict[str, Any]]:
        """Return the tables by name."""
        if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
            raise ValueError("not tables")
        return value
