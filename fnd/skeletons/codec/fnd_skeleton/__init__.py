"""A codec for fnd: functions of the format skeleton."""

from fnd.hookspecs import Codec, CodecContext, hookimpl

fnd_surface = 1


@hookimpl
def fnd_codec(context: CodecContext) -> Codec:
    """Offer the codec. Raises ConfigurationError."""
    from fnd_skeleton.codec import SkeletonCodec  # not before it is needed: commands look at plugins, too

    return SkeletonCodec(context)
