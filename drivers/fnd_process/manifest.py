"""What a bundle says of itself: manifest.json, written when it is built, read when it is to be started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import attrs

from fnd_process.interpreters import Interpreter

FILE: Final = "manifest.json"
_VERSION: Final = 1


@attrs.frozen(kw_only=True)
class Manifest:
    """All that starting a bundle takes, beside its files."""

    words: tuple[str, ...]
    """The command, as func.yaml means it."""
    network: bool
    interpreter: Interpreter | None
    """For runtime python."""
    environment: str | None
    """The key of the environment that its requirements.txt asks for."""

    def write(self, directory: Path) -> None:
        """Write it into a bundle's directory."""
        value = {
            "version": _VERSION,
            "words": self.words,
            "network": self.network,
            "interpreter": None if self.interpreter is None else self.interpreter.to_json(),
            "environment": self.environment,
        }
        (directory / FILE).write_text(json.dumps(value, indent=1) + "\n")

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Read that of a bundle. Raises OSError, or ValueError if it is not one of this fnd's."""
        value: dict[str, Any] = json.loads((directory / FILE).read_text())
        if value.get("version") != _VERSION:
            raise ValueError("it was built by another version of fnd")
        interpreter = value["interpreter"]
        return cls(
            words=tuple(value["words"]),
            network=value["network"],
            interpreter=None if interpreter is None else Interpreter.from_json(interpreter),
            environment=value["environment"],
        )
