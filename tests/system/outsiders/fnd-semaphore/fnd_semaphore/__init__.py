"""A codec for fnd: functions of the format semaphore."""

from fnd.hookspecs import Codec, CodecContext, hookimpl

fnd_surface = 1


@hookimpl
def fnd_codec(context: CodecContext) -> Codec:
    """Offer the codec."""
    from fnd_semaphore.codec import SemaphoreCodec

    return SemaphoreCodec(context)
