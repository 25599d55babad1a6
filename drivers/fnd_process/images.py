"""Images of the process driver by their names, and what each starts.

`process://NAME@sha256:DIGEST` is a bundle. `process:///DIRECTORY` is a function's directory as it is now, for
development. The scheme may be left out.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import attrs
import trio

from fnd.hookspecs import (
    FUNCTION_FILE_NAMES,
    BuildFailed,
    ConfigurationError,
    ImageUnusable,
    KeyedLock,
    read_function_file,
)
from fnd_process.bundles import FUNCTION, Bundles
from fnd_process.command import CommandUnusable
from fnd_process.environments import REQUIREMENTS
from fnd_process.launch import Program
from fnd_process.manifest import Manifest

SCHEME: Final = "process"
MAX_KNOWN: Final = 10_000
"""Images of which is remembered what they start."""
_BUNDLE: Final = re.compile(r"([\w-]+)@sha256:([0-9a-f]{64})")
T = TypeVar("T")

# What the files of a directory that decide how it is started looked like.
_Signature = tuple[tuple[int, int, int] | None, ...]


def bundle_image(name: str, digest: str) -> str:
    """Return the name of a bundle's image."""
    return f"{SCHEME}://{name}@sha256:{digest}"


@attrs.frozen
class _Known:
    program: Program
    signature: _Signature | None
    """None for a bundle, which cannot change."""


class Images:
    """Knows what images start."""

    def __init__(self, bundles: Bundles, progress: Callable[[str], None], limiter: trio.CapacityLimiter) -> None:
        """`progress` is told what is installed for functions under development."""
        self._bundles = bundles
        self._progress = progress
        self._limiter = limiter
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._finding = KeyedLock()

    async def program(self, image: str) -> Program:
        """Return what an image starts. Raises ImageUnusable. Concurrent calls for one image share the work."""
        known = self._known.get(image)
        if known is not None and known.signature is None:
            self._known.move_to_end(image)
            return known.program
        async with self._finding.of(image):
            known = self._known.get(image)
            if known is None or known.signature is not None:
                known = await self._find(image, known)
                self._known[image] = known
                if len(self._known) > MAX_KNOWN:
                    self._known.popitem(last=False)
            return known.program

    async def _find(self, image: str, known: _Known | None) -> _Known:
        name = image.removeprefix(f"{SCHEME}://")
        try:
            if name.startswith("/"):
                return await self._find_directory(Path(name), known)
            if match := _BUNDLE.fullmatch(name):
                return await self._in_thread(partial(self._read_bundle, match[2]))
        except (CommandUnusable, ConfigurationError, BuildFailed) as error:
            raise ImageUnusable(f"Image {image} is not usable: {error}") from error
        raise ImageUnusable(
            f"Image {image} is not one of the process driver's, which are {SCHEME}://NAME@sha256:DIGEST "
            f"(what fnd deploy makes) and {SCHEME}:///DIRECTORY"
        )

    def _read_bundle(self, digest: str) -> _Known:
        directory = self._bundles.path(digest)
        try:
            manifest = Manifest.read(directory)
        except FileNotFoundError as error:
            raise CommandUnusable("there is no such bundle on this machine; deploy the function here") from error
        except (OSError, ValueError) as error:
            raise CommandUnusable(f"its bundle cannot be read ({error}); deploy the function again") from error
        return _Known(self._bundles.program(directory / FUNCTION, manifest), None)

    async def _find_directory(self, directory: Path, known: _Known | None) -> _Known:
        signature = await self._in_thread(partial(_signature, directory))
        if known is not None and known.signature == signature:
            return known
        file = await self._in_thread(partial(read_function_file, directory))
        # Requirements that lead to other files are installed anew when func.yaml or requirements.txt change.
        manifest = await self._bundles.manifest(directory, file, repr((directory, signature)), self._progress)
        return _Known(await self._in_thread(partial(self._bundles.program, directory, manifest)), signature)

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(function, limiter=self._limiter)


def _signature(directory: Path) -> _Signature:
    if not directory.is_dir():
        raise CommandUnusable("there is no such directory on this machine")
    return tuple(_look_of(directory / name) for name in (*FUNCTION_FILE_NAMES, REQUIREMENTS))


def _look_of(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
