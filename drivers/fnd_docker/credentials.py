"""Who one is at a registry, as the docker command's configuration file tells it: in itself, or through a helper.

Source: the Docker command's config.json (auths, credsStore, credHelpers), and its credential helpers, programs that
read a registry's name and write JSON.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

import trio

HUB: Final = "https://index.docker.io/v1/"
HELPER_TIME: Final = 10.0
_NO_USER: Final = "<token>"
"""The user that a helper names if what it gives is an identity token."""


def registry_of(name: str) -> str:
    """Return the registry that an image's name leads to, as the configuration file calls it."""
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first
    return HUB


async def credentials_for(name: str) -> dict[str, str] | None:
    """Return what an image's registry is told of who asks, or None: anybody. Whatever is wrong is no answer."""
    registry = registry_of(name)
    config = await trio.to_thread.run_sync(_read_config)
    helper = config.get("credHelpers", {}).get(registry) or config.get("credsStore")
    if helper:
        return await _ask(str(helper), registry)
    entry = config.get("auths", {}).get(registry)
    return None if not isinstance(entry, dict) else _from_entry(entry, registry)


def _read_config() -> dict[str, Any]:
    directory = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        config = json.loads((directory / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _from_entry(entry: dict[str, Any], registry: str) -> dict[str, str] | None:
    if token := entry.get("identitytoken"):
        return {"identitytoken": str(token), "serveraddress": registry}
    try:
        user, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    except (KeyError, ValueError, TypeError):
        return None
    if not colon:
        return None
    return {"username": user, "password": password, "serveraddress": registry}


async def _ask(helper: str, registry: str) -> dict[str, str] | None:
    try:
        with trio.fail_after(HELPER_TIME):
            done = await trio.run_process(
                [f"docker-credential-{helper}", "get"],
                stdin=registry.encode(),
                capture_stdout=True,
                stderr=subprocess.DEVNULL,
            )
        told = json.loads(done.stdout)
        user, secret = str(told["Username"]), str(told["Secret"])
    except (OSError, subprocess.CalledProcessError, trio.TooSlowError, ValueError, KeyError, TypeError):
        return None
    if user == _NO_USER:
        return {"identitytoken": secret, "serveraddress": registry}
    return {"username": user, "password": secret, "serveraddress": registry}
