"""What commands make new directories from: files that come with fnd, changed on the way, and never over another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path

from fnd.cli.exits import BadUsage


def template_files(source: Traversable, below: Path = Path()) -> Iterator[tuple[Path, bytes]]:
    """Yield the path of each file of a template, and its content."""
    for entry in source.iterdir():
        if entry.name == "__pycache__":
            continue
        if entry.is_dir():
            yield from template_files(entry, below / entry.name)
        else:
            yield below / entry.name, entry.read_bytes()


def make_files(directory: Path, contents: Mapping[Path, bytes]) -> list[Path]:
    """Make files in `directory`, new or without any of them; return them. What begins with `#!` is made a program.

    Raises BadUsage, with nothing written, if a file is in the way.
    """
    if in_the_way := [path for path in contents if (directory / path).exists()]:
        listed = ", ".join(str(path) for path in in_the_way)
        raise BadUsage(f"{directory} has {listed} already: name another directory")
    for path, content in contents.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        if content.startswith(b"#!"):
            target.chmod(target.stat().st_mode | 0o111)
    return [directory / path for path in contents]
