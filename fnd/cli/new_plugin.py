"""`fnd plugins new`: the distribution of a new plugin, which works as it is and whose tests run."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path
from typing import Final

from fnd.cli.exits import BadUsage
from fnd.cli.templates import make_files, template_files

TEMPLATES: Final = "fnd.skeletons"
KINDS: Final = ("driver", "codec")
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST_NAME: Final = 30
"""It is part of the paths of sockets."""


def make_plugin(directory: Path, kind: str, name: str) -> list[Path]:
    """Make the distribution of a plugin called `name` in `directory`, new or without any of the files; return them.

    Raises BadUsage, with nothing written, if a file is in the way, or for a name that no such plugin can have.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise BadUsage(
            f"{name!r} cannot be the name of a plugin: small letters and digits, with - between words, "
            f"at most {_LONGEST_NAME}"
        )
    own = distribution("fnd").entry_points
    if name.replace("-", "_") in own.names:
        raise BadUsage(f"fnd has a plugin {name!r} already: choose another name")
    contents = {}
    for path, content in template_files(files(TEMPLATES) / kind):
        contents[Path(_renamed(str(path), name))] = _renamed(content.decode(), name).encode()
    return make_files(directory, contents)


def _renamed(text: str, name: str) -> str:
    """Return text of the skeleton's as it is for a plugin called `name`."""
    words = {
        "fnd_skeleton": f"fnd_{name.replace('-', '_')}",
        "SKELETON": name.replace("-", "_").upper(),
        "Skeleton": "".join(word.capitalize() for word in name.split("-")),
        "skeleton": name,
    }
    return re.sub("|".join(words), lambda found: words[found[0]], text)
