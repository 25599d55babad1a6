"""Trees of files as builds handle them: copied and digested in one pass, made read-only, put in their place at once.

Synchronous; it runs in worker threads.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from fnd.hookspecs import NOT_BUNDLED, BuildFailed
from fnd_process.privileges import MIB
from fnd_process.removal import remove_tree

_CHUNK: Final = 1 << 20
_DIGEST_VERSION: Final = b"fnd bundle 1\n"


@attrs.define
class TreeCopy:
    """A copy of a function's directory, being made."""

    source: Path
    target: Path
    max_size: int
    """Bytes."""
    max_files: int
    check: Callable[[], None]
    """Called now and then; what it raises ends the copying."""
    _size: int = attrs.field(default=0, init=False)
    _entries: dict[bytes, bytes] = attrs.field(factory=dict, init=False)
    _links: list[Path] = attrs.field(factory=list, init=False)

    def make(self) -> str:
        """Copy all that belongs to a function; return the digest of it, 64 hexadecimal digits.

        It covers names, contents, where links lead, and what is executable. Raises BuildFailed for what no function
        may have, and for more than it may have.
        """
        waiting = [Path()]
        while waiting:
            directory = waiting.pop()
            (self.target / directory).mkdir(mode=0o755)
            with os.scandir(self.source / directory) as entries:
                for entry in entries:
                    if entry.name not in NOT_BUNDLED:
                        path = directory / entry.name
                        if self._take(path, entry.stat(follow_symlinks=False).st_mode):
                            waiting.append(path)
        self._check_links()
        digest = hashlib.sha256(_DIGEST_VERSION)
        for name, what in sorted(self._entries.items()):
            digest.update(b"%d %s %s\n" % (len(name), name, what))
        return digest.hexdigest()

    def _take(self, path: Path, mode: int) -> bool:
        """Copy one entry; return whether it is a directory, and what is in it to be copied."""
        self.check()
        if len(self._entries) >= self.max_files:
            raise BuildFailed(f"The function's directory has more than {self.max_files} files")
        name = os.fsencode(path)
        if stat.S_ISDIR(mode):
            self._entries[name] = b"directory"
            return True
        if stat.S_ISREG(mode):
            executable = bool(mode & stat.S_IXUSR)
            self._entries[name] = (b"program " if executable else b"file ") + self._copy(path, executable)
        elif stat.S_ISLNK(mode):
            leads_to = (self.source / path).readlink()
            (self.target / path).symlink_to(leads_to)
            self._links.append(path)
            self._entries[name] = b"link " + hashlib.sha256(os.fsencode(leads_to)).hexdigest().encode()
        else:
            raise BuildFailed(f"{path} is neither a file nor a directory nor a link; a function can have nothing else")
        return False

    def _copy(self, path: Path, executable: bool) -> bytes:
        digest = hashlib.sha256()
        # It could have become another thing since it was looked at.
        source = os.open(self.source / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(source, "rb") as reader, (self.target / path).open("xb") as writer:
            if not stat.S_ISREG(os.fstat(source).st_mode):
                raise BuildFailed(f"{path} changed while it was read")
            while chunk := reader.read(_CHUNK):
                self._size += len(chunk)
                if self._size > self.max_size:
                    raise BuildFailed(f"The function's directory has more than {self.max_size // MIB} MiB in it")
                digest.update(chunk)
                writer.write(chunk)
                self.check()
            os.fchmod(writer.fileno(), 0o755 if executable else 0o644)
        return digest.hexdigest().encode()

    def _check_links(self) -> None:
        """Refuse links that lead out of the function, also by way of others; in the copy, where nothing moves."""
        root = self.target.resolve()
        for path in self._links:
            link = self.target / path
            leads_to = link.readlink()
            if leads_to.is_absolute() or not Path(os.path.realpath(link)).is_relative_to(root):
                raise BuildFailed(f"{path} is a link to {leads_to}, which is outside of the function's directory")


def make_directory(directory: Path) -> None:
    """Make a directory, unless it is there, that other users may pass: containers may run as one."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    directory.chmod(0o755)


def make_read_only(directory: Path) -> None:
    """Take from everybody the right to write to a directory and all in it, and give everybody that to read."""
    for parent, _, files in os.walk(directory, topdown=False):
        for name in files:
            path = os.path.join(parent, name)  # noqa: PTH118 (thousands of them)
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode):
                os.chmod(path, 0o555 if mode & stat.S_IXUSR else 0o444)  # noqa: PTH101
        os.chmod(parent, 0o555)  # noqa: PTH101, S103 (containers run as other users)


def settle(building: Path, final: Path) -> None:
    """Put a finished directory in its place, from where no crash will take it; drop it if another is there first."""
    # What is there is taken to be whole, so all of it must be on the disk before its name is.
    os.sync()
    try:
        building.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        remove_tree(building)
