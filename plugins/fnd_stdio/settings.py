"""The table `[plugins.stdio]`, and that of any other plugin whose answers come in frames."""

from __future__ import annotations

import attrs

from fnd.hookspecs import CodecContext, plugin_settings
from fnd_stdio.calls import ESCAPED


@attrs.frozen(kw_only=True)
class FrameSettings:
    """How much of a message may have to be held."""

    max_frame_size: int = attrs.field(default=32, metadata=plugin_settings.whole(1, 4096))
    """MiB of one message to or from a function that can only be held whole."""

    def largest_answer(self, context: CodecContext) -> int:
        """Return how many bytes an answer may take, as it comes."""
        largest = self.max_frame_size << 20
        if context.max_response_body_size:
            largest = min(largest, ESCAPED * (context.max_response_body_size + context.max_response_header_size) + 4096)
        return largest


def read_settings(plugin: str, context: CodecContext) -> FrameSettings:
    """Read the table of a plugin. Raises ConfigurationError."""
    return plugin_settings.read(plugin, FrameSettings, context.settings)
