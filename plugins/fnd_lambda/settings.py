"""The settings of the format: the table [plugins.lambda], checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from fnd.hookspecs import ConfigurationError

_TABLE: Final = "plugins.lambda"
MIB: Final = 1 << 20


@attrs.frozen(kw_only=True)
class LambdaSettings:
    """What the format holds in memory at most."""

    max_event_size: int = 6 * MIB
    """Bytes of a request's body that is made an event of, and of an answer that is made a response of: through a
    trigger alone, for what goes through unchanged is not held. Lambda's own limit."""


def read_settings(table: Mapping[str, Any]) -> LambdaSettings:
    """Check the table. Raises ConfigurationError, naming the setting."""
    known = {field.name for field in attrs.fields(LambdaSettings)}
    for name in table:
        if name not in known:
            raise ConfigurationError(f"{_TABLE}.{name} is no setting; known are {', '.join(sorted(known))}")
    size = table.get("max_event_size", LambdaSettings().max_event_size)
    if isinstance(size, bool) or not isinstance(size, int) or not 1024 <= size <= 1024 * MIB:
        raise ConfigurationError(
            f"{_TABLE}.max_event_size must be a whole number of bytes from 1024 to {1024 * MIB}, not {size!r}"
        )
    return LambdaSettings(max_event_size=size)
