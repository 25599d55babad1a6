"""The plugin surface is one module: what comes with fnd as a driver or a codec knows nothing else of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from fnd import hookspecs

ROOT = Path(__file__).parents[2]
PLUGINS = sorted([*(ROOT / "drivers").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])


def imported(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module)):
                yield module
            case _:
                pass


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_plugin_imports_of_fnd_what_any_may(path: Path) -> None:
    of_fnd = {module for module in imported(path) if module.partition(".")[0] == "fnd"}
    assert of_fnd <= {"fnd.hookspecs", "fnd.testing"}


def test_all_of_the_surface_is_documented() -> None:
    for name in hookspecs.__all__:
        thing = getattr(hookspecs, name)
        if isinstance(thing, type):
            assert thing.__doc__, name
