"""`fnd init`: the directory of a new function, which deploys and answers as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

import click

from fnd.bundle import parse_function_file
from fnd.cli.exits import BadUsage
from fnd.cli.output import stderr

TEMPLATES: Final = "fnd.examples"
DEFAULT_RUNTIME: Final = "python"
_TEMPLATE_NAME: Final = b"hello"


def runtimes() -> list[str]:
    """Return what there is a template for."""
    return sorted(entry.name for entry in files(TEMPLATES).iterdir() if (entry / "func.yaml").is_file())


def make_function(directory: Path, runtime: str, name: str) -> list[Path]:
    """Make a function called `name` in `directory`, new or without any of the files; return the files.

    Raises BadUsage, with nothing written, if a file is in the way, and ConfigurationError for a name that no
    function can have.
    """
    contents = dict(_template(files(TEMPLATES) / runtime, Path(), name))
    parse_function_file(contents[Path("func.yaml")][0], f"a func.yaml with the name {name!r}")
    if in_the_way := [path for path in contents if (directory / path).exists()]:
        listed = ", ".join(str(path) for path in in_the_way)
        raise BadUsage(f"{directory} has {listed} already: name another directory")
    for path, (content, executable) in contents.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        if executable:
            target.chmod(target.stat().st_mode | 0o111)
    return [directory / path for path in contents]


def _template(source: Traversable, below: Path, name: str) -> Iterator[tuple[Path, tuple[bytes, bool]]]:
    """Yield each file of a template: its path, its content for a function of that name, whether it is a program."""
    for entry in source.iterdir():
        if entry.name == "__pycache__":
            continue
        path = below / entry.name
        if entry.is_dir():
            yield from _template(entry, path, name)
            continue
        content = entry.read_bytes()
        if path == Path("func.yaml"):
            content = re.sub(rb"\b%b\b" % _TEMPLATE_NAME, name.encode(), content)
        yield path, (content, content.startswith(b"#!"))


@click.command
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option(
    "--runtime",
    type=click.Choice(runtimes()),
    default=DEFAULT_RUNTIME,
    show_default=True,
    help="python: a handler for Fn's FDK. lambda-python: one for AWS Lambda's runtime. command: any program that "
    "serves HTTP on a socket. json: one that reads each call as a line. shell: a script, run for each call. flask, "
    "starlette, node: web applications.",
)
@click.option("--name", help="What the function is called.  [default: the directory's name]")
def init(directory: Path, runtime: str, name: str | None) -> None:
    """Make a function in DIRECTORY (the current one if not given) that runs as it is.

    Then: fnd deploy DIRECTORY --app APP --create-app
    """
    name = name or _fitting(directory.resolve().name)
    made = make_function(directory, runtime, name)
    console = stderr()
    for path in made:
        console.print(f"made {path}")
    console.print(f"Put it into service with: fnd deploy {directory} --app demo --create-app")


def _fitting(name: str) -> str:
    """Return a directory's name as a function's: other characters become dashes."""
    return re.sub(r"[^\w-]+", "-", name).strip("-") or "hello"
