"""Progress for people, on standard error: steps that take a while, and what is heard from them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.text import Text

from fnd.cli.output import duration, printable, stderr

_WORTH_TELLING: Final = 0.2
"""Seconds; a step that took less is told without its time."""


class Progress:
    """Tells steps one after another: with a spinner and their last line on a terminal, line by line elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or stderr()
        self._detail = self._print

    @property
    def live(self) -> bool:
        """Whether details replace one another, so that there may be many."""
        return self.console.is_terminal

    @contextmanager
    def step(self, doing: str, done: str) -> Iterator[None]:
        """Tell that `doing` is going on while in the context, and `done` with the time it took after it."""
        started = time.monotonic()
        if self.live:
            with self.console.status(Text(f"{doing}…")) as spinner:

                def show(line: str) -> None:
                    text = Text(f"{doing}… ").append(printable(line), "dim")
                    text.truncate(max(self.console.width - 4, 20), overflow="ellipsis")
                    spinner.update(text)

                self._detail = show
                try:
                    yield
                finally:
                    self._detail = self._print
        else:
            self._print(f"{doing}…")
            yield
        took = time.monotonic() - started
        suffix = f" ({duration(took)})" if took >= _WORTH_TELLING else ""
        self.console.print(Text("✓ ", "green").append(f"{done}{suffix}", "default"), soft_wrap=True)

    def detail(self, line: str) -> None:
        """Tell what is heard from the step that is going on."""
        self._detail(line)

    def say(self, line: str) -> None:
        """Tell something that stays on the screen."""
        self._print(line)

    def _print(self, line: str) -> None:
        self.console.print(printable(line), soft_wrap=True)
