"""How long properties are looked at: `make test` tries the same examples every time, `make fuzz` new ones for long."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])

settings.register_profile("test", _UNTIMED, max_examples=100, stateful_step_count=50, derandomize=True)
settings.register_profile("fuzz", _UNTIMED, max_examples=20_000, stateful_step_count=150, print_blob=True)
settings.load_profile("fuzz" if os.environ.get("FND_FUZZ") == "1" else "test")
