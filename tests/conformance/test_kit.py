"""The kit itself: a driver that keeps every promise passes, and one that breaks one is caught by that one's test."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import ClassVar

import attrs
import pytest
import trio

from fnd.hookspecs import Container, ContainerSpec, Driver, DriverContext, Exit, Protection
from fnd.testing import DriverConformance, Role
from fnd_process.driver import ProcessDriver
from tests.conformance.paper_driver import PaperContainer, PaperDriver, PaperStreams, Play

NO_PROCESS = "paper containers are not processes"


class PaperConformance(DriverConformance):
    """What there is to say of a paper driver, faulty or not."""

    cannot = {
        Role.SERVES: NO_PROCESS,
        Role.REPORTS: NO_PROCESS,
        Role.STUBBORN: NO_PROCESS,
        Role.LEAVES_CHILDREN: NO_PROCESS,
        Role.TAKES_MEMORY: NO_PROCESS,
        Role.FORKS: NO_PROCESS,
        Role.COMPUTES: NO_PROCESS,
    }
    time_limit = 3.0
    driver: ClassVar[type[PaperDriver]] = PaperDriver

    def make_driver(self, context: DriverContext) -> Driver:
        return self.driver(context)

    async def image(self, driver: Driver, role: Role, directory: Path) -> str:
        return f"paper://{role.value}"

    async def leftovers(self, context: DriverContext) -> Collection[str]:
        return [str(path) for path in (*context.runtime_directory.glob("*"), *context.data_directory.glob("images/*"))]


class TestOneThatKeepsItsPromises(PaperConformance):
    time_limit = 60.0  # the others' is for what hangs; this one has interpreters to start, on whatever machine


class LeavesADirectory(PaperDriver):
    def remove(self, container: PaperContainer) -> None:
        pass


class LeavesADescriptor(PaperDriver):
    opened: ClassVar[list[int]] = []

    def remove(self, container: PaperContainer) -> None:
        super().remove(container)
        self.opened.append(os.open("/dev/null", os.O_RDONLY))


class LeavesADirectoryWhenCancelledInStarting(PaperDriver):
    @asynccontextmanager
    async def start(self, spec: ContainerSpec) -> AsyncIterator[PaperContainer]:
        extra = self.context.runtime_directory / f"extra-{spec.container_id}"
        extra.mkdir()
        await trio.lowlevel.checkpoint()
        try:
            async with super().start(spec) as container:
                yield container
        finally:
            extra.rmdir()


class SwallowsCancellation(PaperDriver):
    @asynccontextmanager
    async def start(self, spec: ContainerSpec) -> AsyncIterator[PaperContainer]:
        try:
            async with super().start(spec) as container:
                yield container
        except* trio.Cancelled:
            pass


class PutsWhatIsRaisedIntoAGroup(PaperDriver):
    @asynccontextmanager
    async def start(self, spec: ContainerSpec) -> AsyncIterator[PaperContainer]:
        async with trio.open_nursery(), super().start(spec) as container:
            yield container


class RunningPutsWhatIsRaisedIntoAGroup(PaperDriver):
    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery(), super().running():
            yield


class SaysAWrongExitCode(PaperDriver):
    async def _live(self, container: PaperContainer, play: Play) -> None:
        exit = await play(container)
        container.end(Exit(code=0) if exit.code else exit)


class SaysACodeForASignal(PaperDriver):
    async def _live(self, container: PaperContainer, play: Play) -> None:
        exit = await play(container)
        container.end(Exit(code=128 + exit.signal) if exit.signal else exit)


class OfOtherContainers(PaperDriver):
    """Makes containers that a fault is in."""

    made_of: ClassVar[type[PaperContainer]]

    def container(self, spec: ContainerSpec, directory: Path) -> PaperContainer:
        return self.made_of(spec, directory, PaperStreams())


class _WritesLess(PaperContainer):
    def write(self, stream: str, data: bytes) -> None:
        if not data.endswith(b"end"):
            super().write(stream, data)


class LosesLastWords(OfOtherContainers):
    made_of = _WritesLess


class _WritesFromAThread(PaperContainer):
    def write(self, stream: str, data: bytes) -> None:
        if data.endswith(b"end"):
            thread = threading.Thread(target=self.spec.log, args=(stream, data))
            thread.start()
            thread.join()
        else:
            super().write(stream, data)


class WritesFromAThread(OfOtherContainers):
    made_of = _WritesFromAThread


class WritesAfterTheEnd(PaperDriver):
    def remove(self, container: PaperContainer) -> None:
        super().remove(container)
        trio.lowlevel.spawn_system_task(self._write_later, container)

    async def _write_later(self, container: PaperContainer) -> None:
        await trio.sleep(0.05)
        container.write("stdout", b"one more thing")


class _TellsOne(PaperContainer):
    told = False

    async def wait(self) -> Exit:
        exit = await super().wait()
        if self.told:
            await trio.sleep_forever()
        self.told = True
        return exit


class TellsOneThatWaits(OfOtherContainers):
    made_of = _TellsOne


class _Endless(PaperStreams):
    bound = inf


class HasStreamsWithoutABound(PaperDriver):
    def container(self, spec: ContainerSpec, directory: Path) -> PaperContainer:
        return PaperContainer(spec, directory, _Endless())


class _Overfull(PaperStreams):
    def receive_nowait(self, max_bytes: int) -> bytes:
        return super().receive_nowait(max_bytes + 1)


class GivesMoreThanAsked(PaperDriver):
    def container(self, spec: ContainerSpec, directory: Path) -> PaperContainer:
        return PaperContainer(spec, directory, _Overfull())


class PreparesAnything(PaperDriver):
    async def prepare(self, image: str) -> None:
        await trio.lowlevel.checkpoint()


class NamesImagesByChance(PaperDriver):
    def name_of(self, source: Path) -> str:
        return secrets.token_hex(32)


class NamesImagesByTheirDirectory(PaperDriver):
    def name_of(self, source: Path) -> str:
        return source.name


class LeavesHalfAnImage(PaperDriver):
    def tidy(self, building: Path) -> None:
        pass


class ClearsWhatOthersHave(PaperDriver):
    async def clear(self) -> int:
        others = list(self.context.runtime_directory.parent.glob("*/" + "[0-9a-f]" * 26))
        return len(others) + await super().clear()


class CountsNothing(PaperDriver):
    async def clear(self) -> int:
        await super().clear()
        return 0


class ClearsNothing(PaperDriver):
    async def clear(self) -> int:
        await trio.lowlevel.checkpoint()
        return len(list(self.context.runtime_directory.iterdir()))


class ProtectsByNothing(PaperDriver):
    def protection(self) -> Sequence[Protection]:
        return ()


class ForgetsTheLauncher(ProcessDriver):
    @asynccontextmanager
    async def start(self, spec: ContainerSpec) -> AsyncIterator[Container]:
        async with super().start(attrs.evolve(spec, launcher="")) as container:
            yield container


class ForgetfulConformance(DriverConformance):
    settings = {"bubblewrap": "off", "cgroup": "off", "stop_grace": 0.2}

    def make_driver(self, context: DriverContext) -> Driver:
        return ForgetsTheLauncher(context)


@pytest.mark.system
def test_a_launcher_that_is_not_run_is_caught() -> None:
    ForgetfulConformance.setup_class()
    try:
        with pytest.raises(AssertionError, match="launched"):
            ForgetfulConformance().test_a_launcher_runs_in_the_commands_place_and_becomes_it()
    finally:
        ForgetfulConformance.teardown_class()


@pytest.mark.parametrize(
    ("driver", "test"),
    [
        (LeavesADirectory, "test_leaving_means_gone"),
        (LeavesADescriptor, "test_leaving_means_gone"),
        (LeavesADirectoryWhenCancelledInStarting, "test_start_cancelled_at_every_step_leaves_nothing"),
        (SwallowsCancellation, "test_its_bodys_cancellation_goes_through"),
        (PutsWhatIsRaisedIntoAGroup, "test_what_its_body_raises_comes_out_as_it_is"),
        (RunningPutsWhatIsRaisedIntoAGroup, "test_running_lets_out_what_its_body_raises_as_it_is"),
        (SaysAWrongExitCode, "test_wait_tells_its_exit_code"),
        (SaysACodeForASignal, "test_wait_tells_the_signal_that_ended_it"),
        (LosesLastWords, "test_the_log_gets_both_streams_whole_and_in_order"),
        (WritesFromAThread, "test_the_log_gets_both_streams_whole_and_in_order"),
        (WritesAfterTheEnd, "test_the_log_gets_nothing_after_the_end"),
        (TellsOneThatWaits, "test_wait_tells_all_who_wait_and_who_come_later"),
        (HasStreamsWithoutABound, "test_streams_hold_back_a_sender_whose_answer_is_not_read_and_lose_nothing"),
        (GivesMoreThanAsked, "test_streams_give_without_waiting_what_is_there_and_their_end"),
        (PreparesAnything, "test_prepare_says_that_an_image_is_unusable_and_which"),
        (NamesImagesByChance, "test_build_of_the_same_content_gives_the_same_name"),
        (NamesImagesByTheirDirectory, "test_an_image_stays_as_it_was_built_whatever_becomes_of_its_source"),
        (LeavesHalfAnImage, "test_build_cancelled_at_every_step_leaves_nothing"),
        (ClearsWhatOthersHave, "test_clear_leaves_another_instances_containers_alone"),
        (CountsNothing, "test_clear_removes_what_a_killed_instance_left_and_counts_its_containers"),
        (ClearsNothing, "test_clear_removes_what_a_killed_instance_left_and_counts_its_containers"),
        (ProtectsByNothing, "test_protection_names_what_keeps_containers_apart_and_by_what"),
    ],
)
def test_a_broken_promise_is_caught(driver: type[PaperDriver], test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # On the class itself: the process that is to be killed finds it by its name, with its honest driver.
    monkeypatch.setattr(PaperConformance, "driver", driver)
    PaperConformance.setup_class()
    try:
        with pytest.raises((AssertionError, ExceptionGroup, trio.TooSlowError, pytest.fail.Exception)):
            getattr(PaperConformance(), test)()
    finally:
        PaperConformance.teardown_class()
        while LeavesADescriptor.opened:
            os.close(LeavesADescriptor.opened.pop())
