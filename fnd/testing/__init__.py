"""What tests of plugins and of functions import: conformance kits, what they stand on, and a real daemon.

It needs pytest, which the daemon does not: `pip install fnd[testing]`. For fixtures, `fnd.testing.pytest_plugin`.
"""

import pytest

# Before they are imported: so that a failed assertion tells what it compared.
_WITH_ASSERTIONS = (
    "bench",
    "checkpoints",
    "codec_calls",
    "codec_faults",
    "codec_fuzz",
    "codec_open",
    "codec_stage",
    "codec_tests",
    "daemon",
    "driver_container",
    "driver_images",
    "driver_launcher",
    "driver_life",
    "driver_pause",
    "driver_start",
    "driver_streams",
    "leavings",
)
pytest.register_assert_rewrite(*(f"fnd.testing.{name}" for name in _WITH_ASSERTIONS))

from fnd.testing.checkpoints import at_step, cancelled_at_every_step  # noqa: E402
from fnd.testing.codec import CodecConformance  # noqa: E402
from fnd.testing.codec_stage import Function, Wire  # noqa: E402
from fnd.testing.codec_tests import Call  # noqa: E402
from fnd.testing.daemon import Deployed, RunningDaemon, running_daemon  # noqa: E402
from fnd.testing.driver import DriverConformance  # noqa: E402
from fnd.testing.leavings import no_child_left, no_descriptor_left  # noqa: E402
from fnd.testing.roles import Role  # noqa: E402

__all__ = [
    "Call",
    "CodecConformance",
    "Deployed",
    "DriverConformance",
    "Function",
    "Role",
    "RunningDaemon",
    "Wire",
    "at_step",
    "cancelled_at_every_step",
    "no_child_left",
    "no_descriptor_left",
    "running_daemon",
]
