"""The `http-stream` format: a function that serves HTTP on a Unix socket, one call at a time, as Fn's FDKs do."""

from fnd.hookspecs import Codec, CodecContext, hookimpl

__all__ = ["fnd_codec"]


@hookimpl
def fnd_codec(context: CodecContext) -> Codec:
    """Offer the codec."""
    from fnd_http_stream.codec import HTTPStreamCodec

    return HTTPStreamCodec(context)
