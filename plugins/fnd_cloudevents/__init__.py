"""The formats `cloudevent` and `cloudevents-1.0`: a call is an event, over standard input and output.

Callers may send events, too, as HTTP carries them, whichever of the two the function speaks.
"""

from collections.abc import Sequence

from fnd.hookspecs import Codec, CodecContext, hookimpl

__all__ = ["fnd_codec"]


@hookimpl
def fnd_codec(context: CodecContext) -> Sequence[Codec]:
    """Offer the codecs."""
    from fnd_cloudevents.codec import CloudEventsCodec
    from fnd_cloudevents.frames import Version01, Version10
    from fnd_stdio.settings import read_settings

    settings = read_settings("cloudevents", context)
    return [CloudEventsCodec(version, context, settings) for version in (Version01(), Version10())]
