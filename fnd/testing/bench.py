"""What an author says of a driver, and the running driver that each test is given."""

from __future__ import annotations

import functools
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import attrs
import pytest
import trio

from fnd.hookspecs import Container, ContainerSpec, Driver, DriverContext, Link
from fnd.testing.leavings import MARK, marked_processes, no_child_left, no_descriptor_left, processor_time
from fnd.testing.log import KeptLog
from fnd.testing.promises import on_trio
from fnd.testing.roles import SOCKET, Role, write_function

SOCKET_NAME: Final = "kit.sock"
_Suite = TypeVar("_Suite", bound="DriverTests")


@attrs.frozen
class Place:
    """Directories that the tests of one class share, and the images that they have made."""

    root: Path
    images: dict[Role, str] = attrs.field(factory=dict, init=False)

    @classmethod
    def make(cls) -> Place:
        """Make one whose path is short enough for Unix sockets, and open to the users that containers may be."""
        root = Path(tempfile.mkdtemp(prefix="fnd-"))
        root.chmod(0o755)
        return cls(root)

    def remove(self) -> None:
        """Remove it with all in it, read-only directories too."""
        for directory, _, _ in os.walk(self.root):
            Path(directory).chmod(0o700)
        shutil.rmtree(self.root)

    def context(self, instance: str, settings: Mapping[str, Any]) -> DriverContext:
        """Return what the daemon would give to the driver; an instance is told by its name."""
        return DriverContext(self.root / f"{instance}-data", self.root / instance, settings)


class DriverTests:
    """What an author says of a driver: to be overridden as far as it differs."""

    settings: ClassVar[Mapping[str, Any]] = {}
    """The table [plugins.NAME] that the driver is made with."""
    cannot: ClassVar[Mapping[Role, str]] = {}
    """Roles that its containers cannot play, each with the reason, which is told where its tests are skipped."""
    shell: ClassVar[bool] = False
    """Whether the functions are shell programs, for images without a Python."""
    memory: ClassVar[int] = 64
    """MiB that a container may use which takes more than it may."""
    time_limit: ClassVar[float] = 120.0
    """Seconds that one test may take, less what a driver shields."""
    spare_descriptors: ClassVar[int] = 0
    """How many file descriptors a running driver may keep open for what comes next, such as connections to an engine:
    fewer than a dozen, or a descriptor that each container leaves could not be told from them."""
    most_cancellations: ClassVar[int | None] = None
    """At how many of its steps a start or a build is cancelled; None: at each. For drivers that take long."""

    _place: ClassVar[Place]

    @classmethod
    def setup_class(cls) -> None:
        """Make the directories of this class's tests."""
        cls._place = Place.make()

    @classmethod
    def teardown_class(cls) -> None:
        """Remove them."""
        cls._place.remove()

    def make_driver(self, context: DriverContext) -> Driver:
        """Return a new driver, as the plugin's `fnd_driver` does.

        Also called in processes of their own, to be killed, on an object of this class that has seen no fixture.
        """
        raise NotImplementedError("say how the driver is made")

    async def image(self, driver: Driver, role: Role, directory: Path) -> str:
        """Return an image whose containers play the role.

        The directory holds a function that does, ready for `build`. UNUSABLE has none: return a name of yours that
        leads nowhere.
        """
        if role is Role.UNUSABLE:
            return f"{driver.scheme}://no-such-image"
        return await driver.build(directory, lambda _: None)

    async def leftovers(self, context: DriverContext) -> Collection[str]:
        """Return names for all there is now of a driver with this context that a container or a build may leave.

        Containers, directories, images half built, control groups, networks… What there was before a test is not held
        against it. Processes of this host are found without it.
        """
        directory = context.runtime_directory
        return [path.name for path in directory.iterdir()] if directory.exists() else []

    def processor_time(self, container: Container) -> float | None:
        """Return how many seconds of processors a container has used, or None if that cannot be told."""
        return None if container.pid is None else processor_time(container.pid)

    def need(self, *roles: Role) -> None:
        """Skip the test if the driver's containers cannot play one of the roles."""
        for role in roles:
            if role in self.cannot:
                pytest.skip(f"{role.name}: {self.cannot[role]}")

    def context(self, instance: str = "run") -> DriverContext:
        """Return the context of one of the instances of the driver that there can be at a time."""
        return self._place.context(instance, self.settings)

    def function(self, role: Role, word: str = "word") -> Path:
        """Write a function that plays a role; return its directory, which is a new one.

        To be overridden where `build` needs more than a func.yaml.
        """
        directory = self._place.root / f"function-{secrets.token_hex(6)}"
        directory.mkdir()
        write_function(directory, role, shell=self.shell)
        (directory / "word").write_text(word)
        return directory

    @asynccontextmanager
    async def running(self, *roles: Role, instance: str = "run") -> AsyncIterator[Bench]:
        """Run a driver with images that play these roles. At the end, check that it has done no sink wrong."""
        context = self.context(instance)
        driver = self.make_driver(context)
        async with driver.running():
            images = self._place.images
            for role in roles:
                if role not in images and role is not Role.BUILT:
                    images[role] = await self.image(driver, role, self.function(role))
                    await self._prepare(driver, role)
            bench = Bench(suite=self, driver=driver, context=context, images=images)
            yield bench
        assert [complaint for log in bench.logs for complaint in log.complaints] == []

    async def _prepare(self, driver: Driver, role: Role) -> None:
        if role is not Role.UNUSABLE:
            await driver.prepare(self._place.images[role])


@attrs.frozen(kw_only=True)
class Bench:
    """A running driver, images for it, and a look whether anything is left of what it has started."""

    suite: DriverTests
    driver: Driver
    context: DriverContext
    images: dict[Role, str]
    ids: set[str] = attrs.field(factory=set, init=False)
    """Of all containers that were to be started."""
    logs: list[KeptLog] = attrs.field(factory=list, init=False)

    def spec(
        self,
        role: Role,
        *,
        log: KeptLog | None = None,
        link: Link = Link.SOCKET,
        memory: int = 128,
        environment: Mapping[str, str] | None = None,
        launcher: str = "",
    ) -> ContainerSpec:
        """Return the spec of a container that no other has been."""
        container_id = secrets.token_hex(13)
        self.ids.add(container_id)
        if log is None:
            log = KeptLog()
        self.logs.append(log)
        return container_spec(
            container_id,
            self.images[role],
            log,
            link=Link.STREAMS if role is Role.COPIES else link,
            memory=memory,
            environment=environment or {},
            launcher=launcher,
        )

    @asynccontextmanager
    async def start(self, role: Role, **spec: Any) -> AsyncIterator[tuple[Container, KeptLog]]:
        """Start a container that plays a role, and keep its log, which takes nothing any more once it is gone."""
        log = KeptLog()
        async with AsyncExitStack() as stack:
            stack.callback(log.end)
            yield await stack.enter_async_context(self.driver.start(self.spec(role, log=log, **spec))), log

    async def leftovers(self) -> set[str]:
        """Return what there is of it, processes included."""
        processes = {f"process {pid}" for pid in marked_processes(self.ids)}
        return processes | set(await self.suite.leftovers(self.context))

    @asynccontextmanager
    async def nothing_left(self) -> AsyncIterator[None]:
        """Check that what was started in here is gone at its end, and all that it had."""
        before = await self.leftovers()
        with no_descriptor_left(self.suite.spare_descriptors), no_child_left():
            yield
        assert await self.leftovers() - before == set()

    async def none_left_when_cancelled(self, scenario: Callable[[], Awaitable[object]], *, makes: bool = False) -> None:
        """Run a scenario, and check that nothing is left of it also if it is cancelled.

        What one `makes` that comes to its end stays.
        """
        ended: BaseException | None = None
        with trio.CancelScope(shield=True):
            before = await self.leftovers()
        with no_descriptor_left(self.suite.spare_descriptors), no_child_left():
            try:
                await scenario()
            except BaseException as error:  # cancellation, which goes on below
                ended = error
        if ended is not None or not makes:
            with trio.CancelScope(shield=True):
                assert await self.leftovers() - before == set()
        if ended is not None:
            raise ended


def container_spec(
    container_id: str,
    image: str,
    log: KeptLog,
    *,
    link: Link = Link.SOCKET,
    memory: int = 128,
    environment: Mapping[str, str],
    launcher: str = "",
) -> ContainerSpec:
    """Return a spec with what the kit's programs need in their environment, and by which their processes are found."""
    return ContainerSpec(
        container_id=container_id,
        app_id="app-id",
        app_name="app",
        fn_id="fn-id",
        fn_name="fn",
        image=image,
        memory=memory,
        cpu=0,
        link=link,
        environment=lambda directory: {
            SOCKET: f"{directory}/{SOCKET_NAME}",
            MARK: container_id,
            **environment,
        },
        log=log,
        launcher=launcher,
    )


def promise(
    *roles: Role,
) -> Callable[[Callable[[_Suite], Awaitable[None]]], Callable[[_Suite], None]]:
    """Make a test of an asynchronous method: it needs these roles, ends in time, and leaves no descriptor or child."""

    def decorate(test: Callable[[_Suite], Awaitable[None]]) -> Callable[[_Suite], None]:
        return on_trio(test, lambda suite: suite.need(*roles))

    return decorate


def promise_of_a_running_driver(
    *roles: Role,
) -> Callable[[Callable[[_Suite, Bench], Awaitable[None]]], Callable[[_Suite], None]]:
    """Make a test of an asynchronous method that is given a running driver, of which nothing may be left in the end."""

    def decorate(test: Callable[[_Suite, Bench], Awaitable[None]]) -> Callable[[_Suite], None]:
        @functools.wraps(test)
        async def hold(self: _Suite) -> None:
            async with self.running(*roles) as bench, bench.nothing_left():
                await test(self, bench)

        return promise(*roles)(hold)

    return decorate
