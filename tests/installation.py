"""Distributions installed beside fnd, as far as Python can tell: for tests of how plugins are found and loaded."""

from __future__ import annotations

import itertools
from pathlib import Path

import attrs

_numbers = itertools.count()
"""A module's name is used once: what was imported stays imported."""


@attrs.define
class Installation:
    """Made in a directory that is on the path."""

    directory: Path

    def install(self, plugin: str, source: str, distribution: str = "") -> None:
        """Install a plugin whose module has this source."""
        self._install("fnd", plugin, "", source, distribution or plugin)

    def install_command(self, name: str, source: str, distribution: str) -> None:
        """Install a command whose module has this source; `command` is what it is called there."""
        self._install("fnd.commands", name, ":command", source, distribution)

    def _install(self, group: str, name: str, attribute: str, source: str, distribution: str) -> None:
        module = f"outsider_{next(_numbers)}"
        (self.directory / f"{module}.py").write_text(source)
        about = self.directory / f"{distribution.replace('-', '_')}-1.2.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (about / "entry_points.txt").write_text(
            f"[console_scripts]\nx = y\n\n[{group}]\n{name} = {module}{attribute}\n"
        )
