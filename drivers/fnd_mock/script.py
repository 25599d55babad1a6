"""What a mock container does, as its image's name says it."""

from __future__ import annotations

from math import inf
from typing import Self
from urllib.parse import parse_qsl, urlsplit

import attrs

from fnd.hookspecs import ImageUnusable

SCHEME = "mock"
_WHOLE = ("chunks", "exit_code")
"""What is a whole number."""


@attrs.frozen(kw_only=True)
class Script:
    """Times in seconds, counts from 1; inf is never."""

    start: float = 0.0
    """Until it is ready."""
    run: float = 0.0
    """For each call."""
    stop: float = 0.0
    """Until it is gone, once it is to go."""
    pause: float = 0.0
    """Until it is paused, and again until it runs on."""
    fail_starts: float = 0
    """How many of the image's containers, from the first on, exit before they are ready."""
    exit_after: float = inf
    """It exits by itself this long after it was ready."""
    exit_code: int = 0
    """What it then exits with."""
    die_at_call: float = inf
    """It exits in the middle of this call."""
    hang_at_call: float = inf
    """It never answers this call."""
    fail_at_call: float = inf
    """The function raises at this call."""
    body: str = ""
    """What it answers; "" echoes the request."""
    chunks: int = 0
    """Its answers come in this many parts after the first, `run` apart; 0 at once."""

    @classmethod
    def of(cls, image: str) -> Self:
        """Return what `mock://NAME?start=…&run=…` says. Raises ImageUnusable."""
        parts = urlsplit(image if "://" in image else f"{SCHEME}://{image}")
        values: dict[str, str | int | float] = {}
        for name, text in parse_qsl(parts.query, keep_blank_values=True):
            if name not in attrs.fields_dict(cls):
                raise ImageUnusable(f"{image}: mock containers know no {name!r}")
            try:
                values[name] = text if name == "body" else int(text) if name in _WHOLE else float(text)
            except ValueError as error:
                raise ImageUnusable(f"{image}: {name} is no number") from error
        return cls(**values)  # type: ignore[arg-type]
