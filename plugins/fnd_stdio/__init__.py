"""The formats `default`, `http` and `json`: a function that reads its standard input and writes its standard output."""

from collections.abc import Sequence

from fnd.hookspecs import Codec, CodecContext, hookimpl

__all__ = ["fnd_codec"]


@hookimpl
def fnd_codec(context: CodecContext) -> Sequence[Codec]:
    """Offer the codecs."""
    from fnd_stdio.default_codec import DefaultCodec
    from fnd_stdio.http_codec import HTTPCodec
    from fnd_stdio.json_codec import JSONCodec
    from fnd_stdio.settings import read_settings

    settings = read_settings("stdio", context)
    return [DefaultCodec(context), HTTPCodec(context), JSONCodec(context, settings)]
