"""Unpacking an uploaded function: a tar made by anyone, into a directory that must not be left.

Only plain files, directories and symbolic links that stay inside are taken; the rest is refused by name.
Files are all written before the first link is made, so that no write can go through a link. The archive's
owners, times and special mode bits are not kept.
"""

from __future__ import annotations

import io
import os
import posixpath
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import Final

import attrs

from fnd.errors import BadRequest, BodyTooLarge

_CHUNK: Final = 256 * 1024
_MAX_NAME: Final = 255
_MAX_HEADER: Final = 1024 * 1024
"""Bytes that one archive header may make us hold at once."""


@attrs.frozen(kw_only=True)
class ArchiveLimits:
    """What an upload may be, packed and unpacked."""

    packed_size: int = 1024 * 1024 * 1024
    """Bytes of the archive."""
    unpacked_size: int = 1024 * 1024 * 1024
    """Bytes of all files together."""
    entries: int = 50_000
    path_length: int = 1024
    """Bytes of a path inside the archive."""


LIMITS: Final = ArchiveLimits()


class _HeaderBound(io.BufferedReader):
    """A file that refuses the reads by which a crafted header would make tarfile hold much of the archive."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _MAX_HEADER:
            raise BadRequest(f"The archive has a header of more than {_MAX_HEADER} bytes")
        return super().read(size)


def unpack(archive: Path, directory: Path, limits: ArchiveLimits) -> None:
    """Unpack the tar file `archive` into the existing, empty `directory`. Blocks: run it in a thread.

    Raises BadRequest, naming the entry, for anything that is not a plain file, directory or inner symbolic
    link, and BodyTooLarge beyond the limits; the directory's content is then of no use.
    """
    try:
        with _HeaderBound(io.FileIO(archive)) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            _Unpacking(tar, directory, limits).run()
    except tarfile.TarError as error:
        raise BadRequest(f"The body is not a tar archive, or a damaged one: {error}") from error


class _Unpacking:
    """One archive on its way into one directory."""

    def __init__(self, tar: tarfile.TarFile, directory: Path, limits: ArchiveLimits) -> None:
        self._tar = tar
        self._directory = directory
        self._limits = limits
        self._bytes_left = limits.unpacked_size
        self._links: list[tuple[Path, tarfile.TarInfo]] = []

    def run(self) -> None:
        entries = 0
        while (member := self._tar.next()) is not None:
            self._tar.members = []  # type: ignore[attr-defined]  # tarfile would keep each entry it has read
            entries += 1
            if entries > self._limits.entries:
                raise BodyTooLarge(f"The archive has more than {self._limits.entries} entries")
            try:
                self._take(member)
            except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                raise _refused(member, "is there twice, or is a file and a directory") from error
        for path, member in self._links:
            try:
                path.symlink_to(member.linkname)
            except FileExistsError as error:
                raise _refused(member, "is there twice") from error
        root = self._directory.resolve()
        for path, member in self._links:  # a link may lead through others, so only the finished tree tells
            if not Path(os.path.realpath(path)).is_relative_to(root):
                raise _refused(member, "links to outside of the function's directory")

    def _take(self, member: tarfile.TarInfo) -> None:
        path = self._path(member)
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
            return
        if path == self._directory:
            raise _refused(member, "has no name")
        path.parent.mkdir(parents=True, exist_ok=True)
        if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse():
            self._write(path, member)
        elif member.issym():
            self._check_link(member)
            self._links.append((path, member))
        else:
            raise _refused(member, "is neither a plain file, a directory nor a symbolic link")

    def _path(self, member: tarfile.TarInfo) -> Path:
        name = PurePosixPath(member.name)
        if name.is_absolute():
            raise _refused(member, "has an absolute path")
        if ".." in name.parts:
            raise _refused(member, 'has ".." in its path')
        if "\0" in member.name or any(len(os.fsencode(part)) > _MAX_NAME for part in name.parts):
            raise _refused(member, "has a name that no file can have")
        if len(os.fsencode(member.name)) > self._limits.path_length:
            raise _refused(member, f"has a path of more than {self._limits.path_length} bytes")
        return self._directory / name

    def _write(self, path: Path, member: tarfile.TarInfo) -> None:
        if member.size > self._bytes_left:
            raise BodyTooLarge(f"The archive's files are larger than {self._limits.unpacked_size} bytes together")
        self._bytes_left -= member.size
        source = self._tar.extractfile(member)
        assert source is not None, "a plain file has content"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
        with source, os.fdopen(descriptor, "wb") as target:
            os.fchmod(descriptor, 0o755 if member.mode & 0o100 else 0o644)
            shutil.copyfileobj(source, target, _CHUNK)

    @staticmethod
    def _check_link(member: tarfile.TarInfo) -> None:
        target = member.linkname
        if not target or "\0" in target or target.startswith("/"):
            raise _refused(member, "is a symbolic link with an absolute or impossible target")
        leads_to = posixpath.normpath(posixpath.join(posixpath.dirname(member.name), target))
        if leads_to == ".." or leads_to.startswith("../"):
            raise _refused(member, "links to outside of the function's directory")


def _refused(member: tarfile.TarInfo, why: str) -> BadRequest:
    name = member.name if len(member.name) <= _MAX_NAME else member.name[:_MAX_NAME] + "…"
    return BadRequest(f"The archive's entry {name!r} {why}")
