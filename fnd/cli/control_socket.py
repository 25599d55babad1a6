"""Where the daemon's control socket is, and what to do if nobody answers there."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fnd.cli.exits import NotReachable
from fnd.config import default_runtime_directory

CONTROL_SOCKET: Final = "control.sock"
"""Its name in the runtime directory."""
CONNECT_TIMEOUT: Final = 5.0


def control_path(given: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the control socket a daemon started with the same environment would have, unless one is given."""
    if given is not None:
        return given
    if runtime := environment.get("FND_RUNTIME_DIRECTORY"):
        return Path(runtime) / CONTROL_SOCKET
    return default_runtime_directory(environment) / CONTROL_SOCKET


def connect(control: Path) -> socket.socket:
    """Return a connection to the daemon. Raises NotReachable, which says why there is none and what to do."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(CONNECT_TIMEOUT)
        connection.connect(str(control))
        connection.settimeout(None)
    except OSError as error:
        connection.close()
        raise not_reachable(control, _why(error)) from error
    return connection


def not_reachable(control: Path, why: str) -> NotReachable:
    """Return the error for a daemon that does not answer."""
    return NotReachable(
        f"No daemon answers at {control} ({why}): start one with fnd serve, or name its socket with --control"
    )


def _why(error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return "there is no such socket"
        case PermissionError():
            return "only its owner and root may use it"
        case ConnectionRefusedError():
            return "nobody listens there any more"
    return error.strerror or str(error)
