"""The `webserver` format: any web server, on a Unix socket or a TCP port, that gets requests as callers send them."""

from fnd.hookspecs import Codec, CodecContext, hookimpl

__all__ = ["fnd_codec"]


@hookimpl
def fnd_codec(context: CodecContext) -> Codec:
    """Offer the codec."""
    from fnd_webserver.codec import WebServerCodec

    return WebServerCodec(context)
