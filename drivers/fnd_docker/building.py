"""Images of functions' directories, built by the engine: by their own Dockerfile, or one made for Fn's images.

An image is named by what it was built of, so that the same content is the same image and is not built again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import attrs
import trio

from fnd.hookspecs import NOT_BUNDLED, BuildFailed, ConfigurationError, FunctionFile, read_function_file
from fnd_docker.bodies import INSTANCE, NETWORK, SCHEME
from fnd_docker.engine import Engine, EngineError, EngineUnavailable

DOCKERFILE: Final = "Dockerfile"
_MADE: Final = ".fnd.Dockerfile"
"""What the one that is made is called within the context."""
REPOSITORY: Final = "fnd"
READ_SIZE: Final = 1 << 20
LONGEST_LINE: Final = 2000
_PYTHON: Final = re.compile(r"python(\d+\.\d+)?")
_DEFAULT_PYTHON: Final = "3.11"
_UNFIT: Final = re.compile(r"[^a-z0-9]+")


@attrs.frozen
class Context:
    """What is built: the paths of a directory, in order, and the Dockerfile that is added, if it has none."""

    source: Path
    paths: tuple[Path, ...]
    dockerfile: bytes | None
    network: bool
    """Whether func.yaml asks for it."""

    @property
    def digest(self) -> str:
        """Of the names, kinds, modes and contents of all of it."""
        total = hashlib.sha256(self.dockerfile or b"")
        for path in self.paths:
            total.update(_digest(path, path.relative_to(self.source)))
        return total.hexdigest()

    def write(self, file: IO[bytes]) -> None:
        """Write the tar that the engine is sent, the same for the same content."""
        with tarfile.open(fileobj=file, mode="w|") as tar:
            for path in self.paths:
                tar.add(path, path.relative_to(self.source), recursive=False, filter=_anonymous)
            if self.dockerfile is not None:
                entry = tarfile.TarInfo(_MADE)
                entry.size = len(self.dockerfile)
                tar.addfile(entry, io.BytesIO(self.dockerfile))


async def build(
    engine: Engine, instance: str, source: Path, limiter: trio.CapacityLimiter, progress: Callable[[str], None]
) -> str:
    """Build a function's directory; return the image's name. Raises BuildFailed. Cancelled: the engine stops, too."""
    in_thread = partial(trio.to_thread.run_sync, limiter=limiter)
    try:
        file = await in_thread(partial(read_function_file, source))
        context = await in_thread(partial(read_context, source, file))
        tag = f"{REPOSITORY}/{_fit(file.name)}:sha256-{await in_thread(lambda: context.digest)}"
        if await _exists(engine, tag):
            progress(f"{tag} is there already")
            return f"{SCHEME}://{tag}"
        with await in_thread(tempfile.TemporaryFile) as archive:
            await in_thread(partial(context.write, archive))
            await in_thread(partial(archive.seek, 0))
            await _send(engine, instance, tag, context, _Parts(archive, limiter), progress)
    except (ConfigurationError, OSError) as error:
        raise BuildFailed(str(error)) from error
    except (EngineError, EngineUnavailable) as error:
        raise BuildFailed(f"Docker Engine could not build it: {error}") from error
    return f"{SCHEME}://{tag}"


def read_context(source: Path, file: FunctionFile) -> Context:
    """Find out what a directory is built of. Raises BuildFailed, OSError."""
    own = (source / DOCKERFILE).is_file()
    made = None if own else made_dockerfile(file, source)
    return Context(source, tuple(sorted(_walk(source))), made, file.network)


def made_dockerfile(file: FunctionFile, source: Path) -> bytes:
    """Return a Dockerfile for a function that has none. Raises BuildFailed if its runtime tells no way."""
    match = _PYTHON.fullmatch(file.runtime)
    if match is None:
        raise BuildFailed(
            f"{file.name} has no Dockerfile, and fnd makes one for python runtimes alone: write one whose ENTRYPOINT "
            "starts the function"
        )
    version = match[1] or _DEFAULT_PYTHON
    command = [*(file.entrypoint or ("/python/bin/fdk", "/function/func.py", "handler")), *file.cmd]
    lines = [f"FROM fnproject/python:{version}-dev AS build", "WORKDIR /function"]
    if (source / "requirements.txt").is_file():
        lines += ["COPY requirements.txt .", "RUN pip3 install --no-cache-dir --target /python -r requirements.txt"]
    else:
        lines += ["RUN pip3 install --no-cache-dir --target /python fdk"]
    lines += [
        f"FROM fnproject/python:{version}",
        "WORKDIR /function",
        "COPY --from=build /python /python",
        "COPY . /function",
        "ENV PYTHONPATH=/function:/python",
        f"ENTRYPOINT {json.dumps(command)}",
    ]
    return "\n".join([*lines, ""]).encode()


async def _exists(engine: Engine, tag: str) -> bool:
    try:
        await engine.request("GET", f"/images/{tag}/json")
    except EngineError as error:
        if error.status == 404:
            return False
        raise
    return True


async def _send(
    engine: Engine,
    instance: str,
    tag: str,
    context: Context,
    parts: AsyncIterator[bytes],
    progress: Callable[[str], None],
) -> None:
    query = {
        "t": tag,
        "dockerfile": DOCKERFILE if context.dockerfile is None else _MADE,
        "rm": 1,
        "forcerm": 1,
        "labels": json.dumps({INSTANCE: instance, **({NETWORK: "true"} if context.network else {})}),
    }
    headers = {"Content-Type": "application/x-tar"}

    def told(line: Mapping[str, Any]) -> None:
        for text in str(line.get("stream") or line.get("status") or "").splitlines():
            if text.strip():
                progress(text[:LONGEST_LINE])

    await engine.progress("POST", "/build", told, content=parts, headers=headers, query=query)
    if not await _exists(engine, tag):
        raise BuildFailed("Docker Engine ended the build without an image and without a reason")


class _Parts:
    """A file, in parts."""

    def __init__(self, file: IO[bytes], limiter: trio.CapacityLimiter) -> None:
        self._file = file
        self._limiter = limiter

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        part = await trio.to_thread.run_sync(self._file.read, READ_SIZE, limiter=self._limiter)
        if not part:
            raise StopAsyncIteration
        return part


def _walk(directory: Path) -> Iterator[Path]:
    with os.scandir(directory) as listing:
        entries = [entry for entry in listing if entry.name not in NOT_BUNDLED]
    for entry in entries:
        path = Path(entry.path)
        if entry.is_symlink() or entry.is_file(follow_symlinks=False):
            yield path
        elif entry.is_dir(follow_symlinks=False):
            yield path
            yield from _walk(path)
        else:
            raise BuildFailed(f"{entry.name} is neither a file, a directory nor a link")


def _digest(path: Path, name: Path) -> bytes:
    status = path.lstat()
    head = f"{name}\0{stat.S_IFMT(status.st_mode):o}\0{bool(status.st_mode & 0o100)}\0"
    if stat.S_ISLNK(status.st_mode):
        return hashlib.sha256(f"{head}{path.readlink()}".encode("utf-8", "surrogateescape")).digest()
    content = hashlib.sha256(head.encode("utf-8", "surrogateescape"))
    if stat.S_ISREG(status.st_mode):
        with path.open("rb") as file:
            while part := file.read(READ_SIZE):
                content.update(part)
    return content.digest()


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out what differs from one copy of the directory to the next."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry


def _fit(name: str) -> str:
    """Return a function's name as a repository can have it: lower case, letters and digits between single dashes."""
    return _UNFIT.sub("-", name.lower()).strip("-") or "function"
