"""The settings of the format: the table [plugins.lambda], checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from fnd.hookspecs import plugin_settings

MIB: Final = 1 << 20


@attrs.frozen(kw_only=True)
class LambdaSettings:
    """What the format holds in memory at most."""

    max_event_size: int = attrs.field(default=6 * MIB, metadata=plugin_settings.whole(1024, 1024 * MIB))
    """Bytes of a request's body that is made an event of, and of an answer that is made a response of: through a
    trigger alone, for what goes through unchanged is not held. Lambda's own limit."""


def read_settings(table: Mapping[str, Any]) -> LambdaSettings:
    """Check the table. Raises ConfigurationError, naming the setting."""
    return plugin_settings.read("lambda", LambdaSettings, table)
