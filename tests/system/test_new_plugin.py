"""What `fnd plugins new` makes has tests, and they pass."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fnd.cli.new_plugin import KINDS, make_plugin

pytestmark = pytest.mark.system


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_its_own_tests(tmp_path: Path, kind: str) -> None:
    make_plugin(tmp_path, kind, "oak-tree")
    # As if it were installed: tests/system/outsiders does it with pip.
    about = tmp_path / "fnd_oak_tree-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: fnd-oak-tree\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text("[fnd]\noak-tree = fnd_oak_tree\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "FND_"))}
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", "-rs"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " passed" in ended.stdout
