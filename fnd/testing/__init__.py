"""What tests of plugins import: the conformance kit for drivers, and what it stands on.

It needs pytest, which the daemon does not: `pip install fnd[testing]`.
"""

import pytest

# Before they are imported: so that a failed assertion tells what it compared.
_WITH_ASSERTIONS = (
    "bench",
    "checkpoints",
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
from fnd.testing.driver import DriverConformance  # noqa: E402
from fnd.testing.leavings import no_child_left, no_descriptor_left  # noqa: E402
from fnd.testing.roles import Role  # noqa: E402

__all__ = [
    "DriverConformance",
    "Role",
    "at_step",
    "cancelled_at_every_step",
    "no_child_left",
    "no_descriptor_left",
]
