"""What a scenario came to: the count that it ends with, and whether that is as it should be."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import attrs

from tests.faults.tally import Tally


@attrs.frozen(kw_only=True)
class Leavings:
    """What is left that belonged to containers or to a daemon that has ended, by name."""

    processes: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    """As an engine lists them."""
    cgroups: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Return how many there are of each kind."""
        return {field.name: len(getattr(self, field.name)) for field in attrs.fields(type(self))}

    def problems(self) -> list[str]:
        """Return a line for each kind of which something is left."""
        shown = {name: sorted(getattr(self, name)) for name, count in self.counts().items() if count}
        return [f"left: {len(names)} {kind}: {', '.join(names[:5])}" for kind, names in shown.items()]

    @staticmethod
    def of_files(paths: Iterable[Path]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Divide what is left in directories into (directories and plain files, sockets)."""
        others: list[str] = []
        sockets: list[str] = []
        for path in paths:
            (sockets if path.is_socket() else others).append(str(path))
        return tuple(others), tuple(sockets)


@attrs.frozen
class Descriptors:
    """What a daemon had open when nothing was asked of it, before and after."""

    before: int
    after: int
    kept: int = 0
    """How many more may stay open, for reuse."""

    @property
    def leaked(self) -> int:
        """How many too many are open."""
        return max(0, self.after - self.before - self.kept)


@attrs.define
class Result:
    """One run of a scenario with one driver. It has failed if `problems` says anything."""

    scenario: str
    driver: str
    calls: Tally = attrs.field(factory=Tally)
    facts: list[str] = attrs.field(factory=list)
    """What was done and seen, a line each."""
    problems: list[str] = attrs.field(factory=list)
    """What is not as it should be, a line each."""
    left: Leavings | None = None
    """After the daemon's stop; None if it never came to that."""
    descriptors: Descriptors | None = None
    broke_off: bool = False
    """Whether it was not played to its end."""
    skipped: str = ""
    """Why it was not run."""
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """A word for it."""
        if self.skipped:
            return "skipped"
        return "FAILED" if self.problems else "passed"

    def note_left(self, left: Leavings) -> None:
        """Take down what is left at the end."""
        self.left = left
        self.problems += left.problems()

    def note_descriptors(self, descriptors: Descriptors) -> None:
        """Take down what the daemon had open before and after."""
        self.descriptors = descriptors
        if descriptors.leaked:
            self.problems.append(
                f"left: {descriptors.leaked} descriptors of the daemon ({descriptors.before} before, "
                f"{descriptors.after} after)"
            )
