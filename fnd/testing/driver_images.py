"""What a driver promises of images: to make them startable, and to build them."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
import trio

from fnd.hookspecs import BuildFailed, Exit, ImageUnusable
from fnd.testing.bench import Bench, DriverTests, promise, promise_of_a_running_driver
from fnd.testing.checkpoints import cancelled_at_every_step
from fnd.testing.roles import Role


def _no_progress(_: str) -> None:
    return


async def _said(bench: Bench, image: str) -> str:
    """Run a container of a built image to its end; return what it has written."""
    bench.images[Role.BUILT] = image
    async with bench.start(Role.BUILT) as (container, log):
        assert await container.wait() == Exit(code=0)
    return log.streams["stdout"].decode()


class ImagePromises(DriverTests):
    """Tests of `prepare` and `build`."""

    @promise_of_a_running_driver(Role.WAITS)
    async def test_prepare_is_idempotent(self, bench: Bench) -> None:
        for _ in range(3):
            await bench.driver.prepare(bench.images[Role.WAITS])

    @promise_of_a_running_driver(Role.WAITS)
    async def test_prepare_may_be_called_by_many_at_once(self, bench: Bench) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(bench.driver.prepare, bench.images[Role.WAITS])

    @promise(Role.WAITS)
    async def test_prepare_by_one_that_is_cancelled_is_done_for_the_others(self) -> None:
        async with self.running(Role.WAITS) as bench:
            image = bench.images[Role.WAITS]
        impatient = trio.CancelScope()

        async def prepare_impatiently() -> None:
            with impatient:
                await bench.driver.prepare(image)

        async with self.running() as bench, trio.open_nursery() as nursery:  # one that has not prepared it yet
            nursery.start_soon(prepare_impatiently)
            nursery.start_soon(bench.driver.prepare, image)
            await trio.lowlevel.checkpoint()
            impatient.cancel()

    @promise_of_a_running_driver(Role.WAITS)
    async def test_prepare_cancelled_at_every_step_can_be_asked_again(self, bench: Bench) -> None:
        async def scenario() -> None:
            await bench.driver.prepare(bench.images[Role.WAITS])

        await cancelled_at_every_step(scenario, at_least=0, at_most=self.most_cancellations)
        await scenario()

    @promise_of_a_running_driver(Role.UNUSABLE)
    async def test_prepare_says_that_an_image_is_unusable_and_which(self, bench: Bench) -> None:
        image = bench.images[Role.UNUSABLE]
        for _ in range(2):
            with pytest.raises(ImageUnusable) as caught:
                await bench.driver.prepare(image)
            assert image.partition("://")[2] in str(caught.value)

    @promise_of_a_running_driver(Role.UNUSABLE)
    async def test_start_of_an_unusable_image_says_so_and_leaves_nothing(self, bench: Bench) -> None:
        with pytest.raises(ImageUnusable):
            async with bench.start(Role.UNUSABLE):
                raise AssertionError("it was started")

    async def _build(self, bench: Bench, word: str) -> tuple[str, Path]:
        directory = self.function(Role.BUILT, word)
        return await bench.driver.build(directory, _no_progress), directory

    @promise(Role.BUILT)
    async def test_build_makes_an_image_of_the_drivers_scheme_that_can_be_started_at_once(self) -> None:
        async with self.running() as bench:
            image, _ = await self._build(bench, "hello")
            assert image.startswith(f"{bench.driver.scheme}://")
            await bench.driver.prepare(image)
            assert await _said(bench, image) == "hello"

    @promise(Role.BUILT)
    async def test_build_of_the_same_content_gives_the_same_name(self) -> None:
        async with self.running() as bench:
            first, _ = await self._build(bench, "hello")
            second, _ = await self._build(bench, "hello")
            assert first == second

    @promise(Role.BUILT)
    async def test_build_of_the_same_at_once_gives_both_the_same_name(self) -> None:
        names: list[str] = []
        word = secrets.token_hex(4)

        async def build() -> None:
            names.append((await self._build(bench, word))[0])

        async with self.running() as bench:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(build)
                nursery.start_soon(build)
            assert len(names) == 2
            assert len(set(names)) == 1
            assert await _said(bench, names[0]) == word

    @promise(Role.BUILT)
    async def test_an_image_stays_as_it_was_built_whatever_becomes_of_its_source(self) -> None:
        async with self.running() as bench:
            first, directory = await self._build(bench, "before")
            (directory / "word").write_text("after")
            second = await bench.driver.build(directory, _no_progress)
            assert first != second
            assert await _said(bench, first) == "before"
            assert await _said(bench, second) == "after"

    @promise(Role.BUILT)
    async def test_an_image_is_there_for_the_next_instance(self) -> None:
        async with self.running() as bench:
            image, _ = await self._build(bench, "kept")
        async with self.running() as bench:
            await bench.driver.prepare(image)
            assert await _said(bench, image) == "kept"

    @promise(Role.BUILT)
    async def test_build_tells_its_progress_in_lines(self) -> None:
        told: list[str] = []
        async with self.running() as bench:
            await bench.driver.build(self.function(Role.BUILT, "told"), told.append)
            await bench.driver.build(self.function(Role.BUILT, "told"), told.append)
        assert all(isinstance(line, str) for line in told)
        assert not any("\n" in line for line in told)

    @promise(Role.BUILT)
    async def test_build_that_fails_leaves_nothing(self) -> None:
        directory = self.function(Role.BUILT)
        (directory / "func.yaml").write_text("name: [never closed\n")
        async with self.running() as bench:
            for _ in range(2):
                async with bench.nothing_left():
                    with pytest.raises(BuildFailed) as caught:
                        await bench.driver.build(directory, _no_progress)
                    assert str(caught.value)

    @promise(Role.BUILT)
    async def test_build_cancelled_at_every_step_leaves_nothing(self) -> None:
        async with self.running() as bench:

            async def scenario() -> None:
                directory = self.function(Role.BUILT, secrets.token_hex(8))  # never built before
                await bench.none_left_when_cancelled(lambda: bench.driver.build(directory, _no_progress), makes=True)

            await cancelled_at_every_step(scenario, at_least=0, at_most=self.most_cancellations)
