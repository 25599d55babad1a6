"""The format `lambda`: a function that asks AWS Lambda's runtime API for its calls, as Lambda's own runtimes do."""

from fnd.hookspecs import Codec, CodecContext, hookimpl

__all__ = ["fnd_codec"]


@hookimpl
def fnd_codec(context: CodecContext) -> Codec:
    """Offer the codec."""
    from fnd_lambda.codec import LambdaCodec

    return LambdaCodec(context)
