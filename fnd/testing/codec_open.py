"""What a codec promises of itself and of `open`: it waits until the function is ready, and leaves nothing."""

from __future__ import annotations

import ast
import re

import pytest
import trio

from fnd.hookspecs import Launching, Link
from fnd.testing.checkpoints import cancelled_at_every_step
from fnd.testing.codec_stage import container_of, request, stage
from fnd.testing.codec_tests import CodecTests, Talk, promise_of_a_codec, promise_of_a_session
from fnd.testing.leavings import no_descriptor_left

_OLDEST_PYTHON = (3, 6)
"""That a launcher may find in an image."""


class OpenPromises(CodecTests):
    """Tests of what a codec says of itself, and of `open`."""

    @promise_of_a_codec
    async def test_it_says_what_it_speaks_and_how(self) -> None:
        with stage() as function:
            codec = self.make_codec(self.context(function))
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*", codec.format)
        assert type(codec.hot) is bool
        assert isinstance(codec.link, Link)

    @promise_of_a_codec
    async def test_its_environment_is_one_that_a_process_can_have_and_is_told_in_any_thread(self) -> None:
        with stage() as function:
            codec = self.make_codec(self.context(function))
        environment = await trio.to_thread.run_sync(codec.environment, "/sockets")
        for name, value in environment.items():
            assert (type(name), type(value)) == (str, str)
            assert name
            assert not {"=", "\0"} & set(name)
            assert "\0" not in value
        assert dict(codec.environment("/sockets")) == dict(environment)

    @promise_of_a_codec
    async def test_its_launcher_is_a_program_for_old_pythons_too(self) -> None:
        with stage() as function:
            codec = self.make_codec(self.context(function))
        if not isinstance(codec, Launching):
            pytest.skip("its containers are started as they are")
        assert ast.parse(codec.launcher, feature_version=_OLDEST_PYTHON).body

    @promise_of_a_codec
    async def test_open_waits_until_the_function_is_ready(self) -> None:
        with stage() as function:
            codec = self.make_codec(self.context(function))
            if codec.link is Link.STREAMS:
                pytest.skip("a container with streams may be ready from the start")
            with trio.move_on_after(0.1) as waiting:
                with container_of(function, codec, request()) as container:
                    async with codec.open(container):
                        raise AssertionError("nothing was there yet")
        assert waiting.cancelled_caught

    @promise_of_a_session
    async def test_a_session_of_a_hot_container_begins_reusable(self, talk: Talk) -> None:
        assert talk.session.reusable or not talk.codec.hot

    @promise_of_a_codec
    async def test_left_before_any_call_nothing_is_left(self) -> None:
        for _ in range(3):
            with no_descriptor_left():
                async with self.opened():
                    pass

    @promise_of_a_codec
    async def test_what_the_body_raises_comes_out_as_it_is(self) -> None:
        with pytest.raises(ZeroDivisionError):
            async with self.opened():
                raise ZeroDivisionError

    @promise_of_a_codec
    async def test_the_bodys_cancellation_goes_through(self) -> None:
        with trio.CancelScope() as scope:
            async with self.opened():
                scope.cancel()
                await trio.sleep_forever()
            raise AssertionError("the codec has swallowed a cancellation")
        assert scope.cancelled_caught

    @promise_of_a_codec
    async def test_open_cancelled_at_every_step_leaves_nothing(self) -> None:
        async def scenario() -> None:
            with no_descriptor_left():
                async with self.opened():
                    await trio.lowlevel.checkpoint()

        await cancelled_at_every_step(scenario, at_least=2)
