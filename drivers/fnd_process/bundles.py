"""Bundles: functions' directories made immutable, each under the digest of its content.

A bundle's directory holds the function's own files in `function/` and its manifest; what its requirements.txt asks for
lies among the environments, since other bundles may ask for the same.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import attrs
import trio

from fnd.hookspecs import (
    MAX_FILE_SIZE,
    BuildFailed,
    ConfigurationError,
    FunctionFile,
    KeyedLock,
    find_function_file,
    parse_function_file,
)
from fnd_process.command import CommandUnusable, Resolver, command_words
from fnd_process.environments import BUILDING, REQUIREMENTS, Environments
from fnd_process.files import TreeCopy, make_read_only, settle
from fnd_process.interpreters import find_interpreter
from fnd_process.launch import Program
from fnd_process.manifest import Manifest
from fnd_process.privileges import MIB
from fnd_process.removal import remove_tree
from fnd_process.settings import ProcessSettings

FUNCTION: Final = "function"
T = TypeVar("T")


@attrs.frozen
class Bundles:
    """The bundles in a directory."""

    directory: Path
    environments: Environments
    settings: ProcessSettings
    visible: tuple[Path, ...] | None
    """Where programs of the host may lie, if not everywhere."""
    _making: KeyedLock = attrs.field(factory=KeyedLock, init=False)

    def path(self, digest: str) -> Path:
        """Return where the bundle of this digest is, or would be."""
        return self.directory / digest

    async def build(self, source: Path, progress: Callable[[str], None]) -> tuple[str, str]:
        """Make a bundle of a function's directory, unless it is there; return the function's name and the digest.

        Raises BuildFailed; failed or cancelled, nothing is left, but for environments that are whole.
        """
        building = self.directory / f"{BUILDING}{secrets.token_hex(8)}"
        try:
            return await self._build(source, building, progress)
        except CommandUnusable as error:
            raise BuildFailed(f"func.yaml: {error}") from error
        except OSError as error:
            raise BuildFailed(f"The function could not be built: {error}") from error
        finally:
            with trio.CancelScope(shield=True):
                await self._in_thread(partial(remove_tree, building))

    async def _build(self, source: Path, building: Path, progress: Callable[[str], None]) -> tuple[str, str]:
        file = await self._in_thread(partial(_read_function_file, source))
        if file.ignored:
            progress(f"func.yaml: {', '.join(file.ignored)} mean nothing here")
        digest = await self._in_thread(partial(self._copy, source, building))
        final = self.path(digest)
        async with self._making.of(digest):
            if await self._in_thread(partial(self._is_usable, final)):
                progress("nothing changed")
                return file.name, digest
            function = building / FUNCTION
            manifest = await self.manifest(function, file, digest, progress)
            await self._compile(function, manifest, progress)
            await self._in_thread(partial(self._finish, manifest, building, final))
        return file.name, digest

    def _copy(self, source: Path, building: Path) -> str:
        building.mkdir(mode=0o755)
        copy = TreeCopy(
            source,
            building / FUNCTION,
            self.settings.max_bundle_size * MIB,
            self.settings.max_bundle_files,
            trio.from_thread.check_cancelled,
        )
        return copy.make()

    def _is_usable(self, final: Path) -> bool:
        """Whether a bundle is there, and all that it needs still is."""
        try:
            manifest = Manifest.read(final)
            self.program(final / FUNCTION, manifest)
        except (OSError, ValueError, CommandUnusable):
            return False
        return True

    async def manifest(
        self, function: Path, file: FunctionFile, digest: str, progress: Callable[[str], None]
    ) -> Manifest:
        """Find out how a function is started, installing what it requires. Raises BuildFailed, CommandUnusable."""
        interpreter = environment = None
        if file.python:
            interpreter = await self._in_thread(partial(find_interpreter, file.runtime))
            if (function / REQUIREMENTS).is_file():
                environment = await self.environments.make(function, interpreter, digest, progress)
        words = command_words(file, (function / "func.py").is_file())
        manifest = Manifest(words=words, network=file.network, interpreter=interpreter, environment=environment)
        await self._in_thread(partial(self.program, function, manifest))  # or raise
        return manifest

    def program(self, function: Path, manifest: Manifest) -> Program:
        """Return what is started. Raises CommandUnusable if a part of it is not there."""
        environment = None
        interpreter = manifest.interpreter
        if manifest.environment is not None:
            environment = self.environments.path(manifest.environment)
            if not self.environments.usable(manifest.environment):
                raise CommandUnusable("what its requirements.txt asks for is no longer installed; deploy it again")
        elif interpreter is not None and not interpreter.executable.exists():
            raise CommandUnusable(f"its Python, {interpreter.executable}, is no longer installed; deploy it again")
        resolver = Resolver(function=function, environment=environment, interpreter=interpreter, visible=self.visible)
        return Program(
            function=function,
            environment=environment,
            prefixes=() if interpreter is None else interpreter.prefixes,
            host_command=resolver.on_host(manifest.words),
            sandbox_command=resolver.in_sandbox(manifest.words),
            python=interpreter is not None,
            network=manifest.network,
        )

    async def _compile(self, function: Path, manifest: Manifest, progress: Callable[[str], None]) -> None:
        """Compile a function's own modules, since nothing can be written beside them later."""
        if manifest.interpreter is None:
            return
        lines: list[str] = []
        try:
            await self.environments.compile(manifest.interpreter.executable, function, lines.append)
        except BuildFailed as error:
            lines = [line.replace(f"{function}/", "") for line in lines]
            for line in lines:
                progress(line)
            if any(f"'{module}'" in line for line in lines for module in _modules(manifest)):
                raise BuildFailed("\n".join(["The function is not valid Python:", *lines])) from error

    def _finish(self, manifest: Manifest, building: Path, final: Path) -> None:
        manifest.write(building)
        make_read_only(building)
        remove_tree(final)  # one that was no longer usable
        settle(building, final)

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(function, limiter=self.environments.steps.limiter)


def _read_function_file(source: Path) -> FunctionFile:
    """Read a func.yaml, naming it in errors as whoever wrote it does. Raises BuildFailed."""
    try:
        path = find_function_file(source)
        with path.open("rb") as file:
            return parse_function_file(file.read(MAX_FILE_SIZE + 1), path.name)
    except ConfigurationError as error:
        raise BuildFailed(error.message) from error


def _modules(manifest: Manifest) -> list[str]:
    """Return the function's own modules that its command names."""
    return [word.removeprefix("/function/") for word in manifest.words if word.endswith(".py")]
