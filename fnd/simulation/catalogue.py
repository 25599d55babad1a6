"""The scenarios that come with fnd, and where one that is named on a command line is found."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

import attrs

from fnd.errors import ConfigurationError

_SUFFIX: Final = ".toml"


@attrs.frozen
class ScenarioText:
    """A scenario as it is written."""

    name: str
    source: str
    """What errors call it."""
    text: str


def built_in() -> dict[str, str]:
    """Return the name and the title of each scenario that comes with fnd."""
    entries = sorted(_directory().iterdir(), key=lambda entry: entry.name)
    return {
        entry.name.removesuffix(_SUFFIX): tomllib.loads(entry.read_text(encoding="utf-8"))["title"]
        for entry in entries
        if entry.name.endswith(_SUFFIX)
    }


def find_scenario(named: str) -> ScenarioText:
    """Return the scenario that comes with fnd by that name, or the one in the file of that name.

    Raises ConfigurationError if there is neither.
    """
    if named in built_in():
        return ScenarioText(named, f"scenario {named}", (_directory() / f"{named}{_SUFFIX}").read_text("utf-8"))
    path = Path(named)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{named} is neither a file nor one of the scenarios {', '.join(built_in())}"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{named} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{named} is not UTF-8: {error}") from error
    # The name is written into plots, tables and file names; a file's may be of bytes that are no text.
    return ScenarioText(path.stem.encode("utf-8", "backslashreplace").decode("utf-8"), named, text)


def _directory() -> Traversable:
    return files("fnd.simulation") / "scenarios"
