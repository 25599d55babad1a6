"""Commands that plugins add to `fnd`: entry points of the group "fnd.commands", each loaded when it runs.

Listing them must not cost what the rest of `fnd --help` does together, as importlib.metadata would; so their names are
read from the installed distributions' entry_points.txt here, and only who runs one pays for more.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from fnd.cli.exits import CommandError
from fnd.errors import FndError

_SECTION = "[fnd.commands]"  # fnd.hookspecs.COMMAND_GROUP, whose module is not needed here


def plugin_commands() -> Mapping[str, str]:
    """Return the names of plugins' commands, and the distributions that they are from: of two, the first's."""
    found: dict[str, str] = {}
    for place in sys.path:
        for path in sorted(Path(place or ".").glob("*.dist-info/entry_points.txt")):
            for name in _names(path):
                found.setdefault(name, path.parent.name.partition("-")[0].replace("_", "-"))
    return found


def _names(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return
    inside = False
    for line in text.splitlines():
        if line.startswith("["):
            inside = line.strip() == _SECTION
        elif inside and "=" in line:
            yield line.partition("=")[0].strip()


def load_plugin_command(name: str) -> click.Command | None:
    """Return the command, None if no plugin has it. Raises CommandError, with the reason, if it cannot be used."""
    from importlib.metadata import entry_points

    from fnd.hookspecs import COMMAND_GROUP
    from fnd.plugin_manager import Unfit, surface_of
    from fnd.plugins import describe

    candidates = list(entry_points(group=COMMAND_GROUP, name=name))
    if not candidates:
        return None
    whose = [one.dist.name for one in candidates if one.dist is not None]
    if len(candidates) > 1:
        raise CommandError(f"{' and '.join(sorted(whose))} each have a command {name!r}: uninstall one of them")
    about = f"The command {name!r} of {', '.join(whose)} cannot be used"
    try:
        command = candidates[0].load()
        surface_of(sys.modules[candidates[0].module])
    except Unfit as error:
        raise CommandError(f"{about}: {error}") from error
    except Exception as error:
        raise CommandError(f"{about}: {describe(error)}") from error
    if not isinstance(command, click.Command):
        raise CommandError(f"{about}: {candidates[0].value} is no click command")
    return command


@contextmanager
def blamed_on_its_plugin(name: str) -> Iterator[None]:
    """Name the plugin in what its command raises: a bug of the plugin's, with its traceback."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort, FndError, OSError):
        raise
    except Exception as error:
        traceback.print_exc()
        whose = plugin_commands().get(name, "a plugin")
        raise CommandError(f"The command {name!r} of {whose} failed: {type(error).__name__}: {error}") from error
