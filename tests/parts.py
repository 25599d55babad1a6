"""Real parts that tests need and a machine may not have: missing, they skip their tests with the reason.

With FND_REQUIRE_PARTS=1 they fail them instead, so that a machine that is meant to have every part cannot quietly
test less.
"""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip the test that needs a part, or fail it where every part is required; `reason` says what is missing."""
    if os.environ.get("FND_REQUIRE_PARTS") == "1":
        pytest.fail(f"required, but missing: {reason}", pytrace=False)
    pytest.skip(reason)


def need_program(name: str, package: str) -> str:
    """Return the path of a program, or call `missing` with the Debian package that has it."""
    path = shutil.which(name)
    if path is None:
        missing(f"{name} is not installed (apt-get install {package})")
    return path
