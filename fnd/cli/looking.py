"""What commands tell with or without a daemon.

One that runs is asked, since it may run as another user, within limits or with other plugins; else the command looks
for itself.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from fnd.cli.client import Daemon
from fnd.cli.exits import NotReachable

if TYPE_CHECKING:
    from fnd.config import Settings


def asked_or_looked(control: Path, path: str, look: Callable[[], object]) -> dict[str, Any]:
    """Return what the daemon answers at `path`, or what `look` returns, as JSON has it; `found_by` says who."""
    try:
        with Daemon(control) as daemon:
            return {"found_by": f"the daemon at {control}", **daemon.get(path)}
    except NotReachable:
        from litestar.serialization import encode_json

        from fnd.log import no_log

        # What plugins print is not what this command has to say.
        with no_log(), redirect_stdout(sys.stderr):
            found = look()
        return {"found_by": f"this command; no daemon answers at {control}", **json.loads(encode_json(found))}


@contextmanager
def scratch_settings(flags: Mapping[str, Any], config: Path | None) -> Iterator[Settings]:
    """Give the settings that a daemon would have, but for directories that are there only while in the context."""
    from fnd.config import load_settings

    settings = load_settings(flags, config, os.environ)
    with tempfile.TemporaryDirectory(prefix="fnd-") as scratch:
        data, runtime = Path(scratch, "data"), Path(scratch, "run")
        for directory in (data, runtime):
            directory.mkdir()
        yield attrs.evolve(settings, data_directory=data, runtime_directory=runtime)
