"""Scripted containers, without a process or a socket: for tests, under virtual time if need be, and for trying fnd.

An image says what its containers do: `mock://slow?start=0.5&run=2`. See fnd_mock.script for all it can say. They speak
the format `mock`, in memory.
"""

from fnd.hookspecs import Codec, CodecContext, Driver, DriverContext, hookimpl

__all__ = ["fnd_codec", "fnd_driver"]


@hookimpl
def fnd_driver(context: DriverContext) -> Driver:
    """Offer the driver."""
    from fnd_mock.driver import MockDriver

    return MockDriver()


@hookimpl
def fnd_codec(context: CodecContext) -> Codec:
    """Offer the codec."""
    from fnd_mock.codec import MockCodec

    return MockCodec()
