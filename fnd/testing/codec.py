"""The codec conformance kit: one class of tests, in which every promise of the plugin surface has one."""

from __future__ import annotations

from fnd.testing.codec_calls import CallPromises
from fnd.testing.codec_faults import FaultPromises
from fnd.testing.codec_open import OpenPromises


class CodecConformance(OpenPromises, CallPromises, FaultPromises):
    """Tests of everything that fnd.hookspecs promises of a codec.

    Derive a class whose name starts with Test from it. The tests play the function; what the format looks like is
    yours to say:

        class TestMyCodec(CodecConformance):
            def make_codec(self, context): return MyCodec(context)

            async def start(self, function):    # be a function that starts; not needed for the link STREAMS
                return await function.accept(function.listen(function.environment["MY_SOCKET"]))

            async def take(self, wire):         # read a call
                _, headers, body = await wire.http()
                return Call(body, headers[b"my-id"])

            def answer(self, call, body, headers=()):   # what a function sends back
                return b"..."

    Where the format has more: `failure`, `lies`, `endless`, `after_answer`; where it has less: `bodies`, and `cannot`,
    which names tests that are skipped and why. docs/plugins.md walks through it. `fuzz(frames)` tries as many fuzzed
    frames as one likes, which `python -m fnd.testing.fuzz FILE` does for all suites of a file.
    """
