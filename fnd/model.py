"""The things fnd keeps: apps, fns and triggers, as frozen values; their rules are in fnd.api.validation.

Sizes are in MiB, times in seconds, moments timezone-aware in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import attrs

DEFAULT_MEMORY: Final = 128
DEFAULT_TIMEOUT: Final = 30
DEFAULT_IDLE_TIMEOUT: Final = 30
DEFAULT_FORMAT: Final = "http-stream"


@attrs.frozen(kw_only=True)
class App:
    """A group of fns that share configuration."""

    id: str
    name: str
    created_at: datetime
    updated_at: datetime
    config: Mapping[str, str] = attrs.field(factory=dict)
    annotations: Mapping[str, Any] = attrs.field(factory=dict)
    syslog_url: str = ""
    shape: str = ""


@attrs.frozen(kw_only=True)
class Fn:
    """A function's definition: what is run, with how much memory, for how long."""

    id: str
    name: str
    app_id: str
    image: str
    created_at: datetime
    updated_at: datetime
    format: str = DEFAULT_FORMAT
    memory: int = DEFAULT_MEMORY
    timeout: int = DEFAULT_TIMEOUT
    idle_timeout: int = DEFAULT_IDLE_TIMEOUT
    min_warm: int = 0
    """Containers kept even when nobody calls."""
    max_containers: int = 0
    """Containers at most; 0 is no limit."""
    config: Mapping[str, str] = attrs.field(factory=dict)
    annotations: Mapping[str, Any] = attrs.field(factory=dict)
    shape: str = ""


@attrs.frozen(kw_only=True)
class Trigger:
    """A URL, `/t/{app name}{source}`, that leads to a fn."""

    id: str
    name: str
    app_id: str
    fn_id: str
    source: str
    created_at: datetime
    updated_at: datetime
    type: str = "http"
    annotations: Mapping[str, Any] = attrs.field(factory=dict)
