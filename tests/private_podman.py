"""A real Podman, serving its Docker-compatible interface for tests from a directory of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager

import attrs

from tests.private_docker import PrivateDocker, in_parts, private_engine


@attrs.define
class PrivatePodman(PrivateDocker):
    """One that runs."""

    def command(self) -> list[str]:
        """Return the command that serves the interface."""
        return [*self._podman(), "system", "service", "--time", "0", self.host]

    def import_image(self, name: str, tar: bytes, changes: Sequence[str] = ()) -> None:
        """Make an image of a root file system. Podman takes the tag with the name only."""
        query = [("fromSrc", "-"), ("repo", name), *(("changes", change) for change in changes)]
        self.progress("POST", "/images/create", params=query, content=in_parts(tar))

    def clear(self) -> None:
        """Remove what is left: containers outlive the interface."""
        remove = [*self._podman(), "rm", "--all", "--force", "--time", "0"]
        subprocess.run(remove, check=False, capture_output=True, timeout=60)
        super().clear()

    def _podman(self) -> list[str]:
        directories = ["--root", str(self.directory / "root"), "--runroot", str(self.directory / "run")]
        directories += ["--tmpdir", str(self.directory / "tmp")]
        return ["podman", *directories, "--cgroup-manager", "cgroupfs"]


def private_podman() -> AbstractContextManager[PrivatePodman]:
    """Return one that runs while in the context."""
    return private_engine(PrivatePodman, "podman", "podman")
