"""The table [plugins.hutch]."""

import attrs

from fnd.hookspecs import plugin_settings


@attrs.frozen(kw_only=True)
class HutchSettings:
    """What the driver may be told."""

    stop_grace: float = attrs.field(
        default=0.2, metadata=plugin_settings.seconds(60, "Between SIGTERM and SIGKILL, when a container is ended.")
    )
    niceness: int = attrs.field(default=0, metadata=plugin_settings.whole(0, 19, "Of containers' processes: nice(1)."))
