"""The plugin surface is one module: what comes with fnd as a driver or a codec knows nothing else of it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from fnd import hookspecs

ROOT = Path(__file__).parents[2]
PLUGINS = sorted([*(ROOT / "drivers").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])
GUIDE = ROOT / "docs" / "plugins.md"


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


CLASSES = [thing for name in hookspecs.__all__ if isinstance(thing := getattr(hookspecs, name), type)]
OWED = [thing for thing in CLASSES if getattr(thing, "_is_protocol", False) or thing is hookspecs.Hooks]


@pytest.mark.parametrize("thing", CLASSES)
def test_all_of_the_surface_is_documented(thing: type) -> None:
    assert thing.__doc__


@pytest.mark.parametrize("thing", OWED)
def test_each_hook_and_each_method_of_what_plugins_owe_says_what_it_owes(thing: type) -> None:
    described = {name: member for name, member in vars(thing).items() if name == "__call__" or name[0] != "_"}
    assert described
    for name, member in described.items():
        assert inspect.getdoc(member), name
        if inspect.iscoroutinefunction(member):
            assert "ancelled" in member.__doc__, f"{name} says what cancellation leaves"


def test_each_hook_has_its_chapter_in_the_guide() -> None:
    guide = GUIDE.read_text()
    for name in vars(hookspecs.Hooks):
        if name.startswith("fnd_"):
            assert f"### `{name}`" in guide
