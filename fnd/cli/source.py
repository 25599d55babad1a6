"""Packing a function's directory into the tar that a build takes."""

from __future__ import annotations

import fnmatch
import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Final

import attrs

from fnd.bundle import NOT_BUNDLED
from fnd.cli.exits import CommandError

IGNORE_FILE: Final = ".fndignore"


@attrs.frozen
class _Pattern:
    """A line of .fndignore."""

    glob: str
    anchored: bool
    """Matched against the path from the top, instead of against any name."""
    directories_only: bool

    @classmethod
    def parse(cls, line: str) -> _Pattern:
        glob = line.strip()
        directories_only = glob.endswith("/")
        glob = glob.rstrip("/")
        return cls(glob.lstrip("/"), "/" in glob, directories_only)

    def matches(self, path: PurePosixPath, is_directory: bool) -> bool:
        if self.directories_only and not is_directory:
            return False
        return fnmatch.fnmatchcase(str(path) if self.anchored else path.name, self.glob)


def pack(directory: Path, target: IO[bytes], left_out: Callable[[str], None]) -> None:
    """Write the tar of `directory` to `target`: the same bytes for the same content, whoever owns it and when.

    What .fndignore lists and what never belongs to a function is left out; what cannot be packed (sockets, pipes,
    devices) is, too, and `left_out` is told. Raises CommandError for a link that leads out of the directory.
    """
    patterns = _patterns(directory / IGNORE_FILE)
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in _walk(directory, PurePosixPath(), patterns):
            _add(tar, directory, path, left_out)


def _patterns(file: Path) -> Sequence[_Pattern]:
    if not file.is_file():
        return ()
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [_Pattern.parse(line) for line in lines if line and not line.startswith("#")]


def _walk(top: Path, below: PurePosixPath, patterns: Sequence[_Pattern]) -> Iterator[PurePosixPath]:
    with os.scandir(top / below) as entries:
        in_order = sorted(entries, key=lambda entry: entry.name)
    for entry in in_order:
        path = below / entry.name
        is_directory = entry.is_dir(follow_symlinks=False)
        if entry.name in NOT_BUNDLED or any(pattern.matches(path, is_directory) for pattern in patterns):
            continue
        yield path
        if is_directory:
            yield from _walk(top, path, patterns)


def _add(tar: tarfile.TarFile, top: Path, path: PurePosixPath, left_out: Callable[[str], None]) -> None:
    status = (top / path).lstat()
    entry = tarfile.TarInfo(str(path))
    entry.mode = 0o755 if stat.S_ISDIR(status.st_mode) or status.st_mode & 0o100 else 0o644
    if stat.S_ISREG(status.st_mode):
        with (top / path).open("rb") as file:
            entry.size = status.st_size
            tar.addfile(entry, file)
    elif stat.S_ISDIR(status.st_mode):
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
    elif stat.S_ISLNK(status.st_mode):
        if not (top / path).resolve().is_relative_to(top.resolve()):
            raise CommandError(f"{top / path} links to outside of the function's directory: copy what it needs")
        entry.type = tarfile.SYMTYPE
        entry.linkname = str((top / path).readlink())
        tar.addfile(entry)
    else:
        left_out(f"{path}: neither a file, a directory nor a link")
