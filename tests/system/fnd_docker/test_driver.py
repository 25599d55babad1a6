"""The Docker driver and its engine: what is built, what a dead daemon left, what happens while there is no engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from fnd.hookspecs import BuildFailed, ContainerFailed, Exit
from fnd.testing.log import KeptLog
from fnd_docker.driver import DockerDriver
from tests.private_docker import PrivateDocker, private_docker, python_image
from tests.system.fnd_docker.conftest import ANSWERING, LAMBDA, Bench, context
from tests.system.live_daemon import LiveDaemon, LiveFunction, eventually, live_daemon

pytestmark = pytest.mark.system


@contextmanager
def daemon_with(directory: Path, engine: PrivateDocker) -> Iterator[LiveDaemon]:
    """Run a daemon that has this engine's containers."""
    with live_daemon(directory, f'memory = 2048\n[plugins.docker]\nhost = "{engine.host}"\n') as daemon:
        yield daemon


def function_of(daemon: LiveDaemon, image: str, **fields: str) -> LiveFunction:
    """Make a fn of an image, whose containers stay however slow the machine is."""
    app_id = daemon.control.post("/v2/apps", {"name": "app"})["id"]
    kept = {"memory": 64, "idle_timeout": 3600}
    body = {"name": "f", "app_id": app_id, "image": f"docker://{image}", **kept, **fields}
    return LiveFunction(daemon, daemon.control.post("/v2/fns", body)["id"])


# Through a daemon.


async def test_calls_are_hot_and_nothing_is_left_when_it_stops(root: Path, engine: PrivateDocker) -> None:
    with daemon_with(root, engine) as daemon:
        function = function_of(daemon, ANSWERING)
        answers = [await function.call(body=b"%d" % number) for number in range(20)]
        assert [answer.body for answer in answers] == [b"%d" % number for number in range(20)]
        assert [answer.headers[b"fnd-container"] for answer in answers] == [b"cold", *[b"warm"] * 19]
        assert len(engine.containers()) == 1
    assert engine.containers() == []
    assert not list((root / "run").glob("docker/*"))


async def test_a_lambda_function_is_hot_in_an_image_with_a_python(root: Path, engine: PrivateDocker) -> None:
    with daemon_with(root, engine) as daemon:
        function = function_of(daemon, LAMBDA, format="lambda")
        for number in range(5):
            answer = await function.call(body=b"%d" % number)
            assert (answer.status, answer.body) == (200, b"%d" % number)
            assert answer.headers[b"fnd-container"] == (b"warm" if number else b"cold")


async def test_what_a_killed_daemon_left_is_cleared_and_nothing_of_another_daemons(
    root: Path, engine: PrivateDocker
) -> None:
    for name in ("one", "other"):
        (root / name).mkdir()
    with daemon_with(root / "other", engine) as other:
        kept = function_of(other, ANSWERING)
        await kept.call(body=b"x")
        with daemon_with(root / "one", engine) as one:
            await function_of(one, ANSWERING).call(body=b"x")
            assert len(engine.containers()) == 2
            one.process.kill()
            one.process.wait()
        assert len(engine.containers()) == 2
        with daemon_with(root / "one", engine):
            assert len(engine.containers()) == 1
            assert list((root / "one" / "run" / "docker").iterdir()) == []
        answer = await kept.call(body=b"still")
        assert (answer.body, answer.headers[b"fnd-container"]) == (b"still", b"warm")


# Building.


def write_function(directory: Path, dockerfile: str) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "func.yaml").write_text("name: Built_One\nruntime: docker\n")
    (directory / "Dockerfile").write_text(dockerfile)
    (directory / "said").write_text("as it was built")
    return directory


BUILDS = """FROM fnd-test/python:1
COPY said /said
ENTRYPOINT ["/bin/python", "-c", "print(open('/said').read())"]
"""


async def test_a_directory_with_a_dockerfile_is_built_once_for_the_same_content(bench: Bench, root: Path) -> None:
    said: list[str] = []
    source = write_function(root / "source", BUILDS)
    image = await bench.driver.build(source, said.append)
    assert image.startswith("docker://fnd/built-one:sha256-")
    assert any("COPY said" in line for line in said)
    assert await bench.driver.build(write_function(root / "copy", BUILDS), said.append) == image
    assert "is there already" in said[-1]
    log = KeptLog()
    async with bench.driver.start(bench.spec(image.removeprefix("docker://"), log=log)) as container:
        assert await container.wait() == Exit(code=0)
    assert log.streams["stdout"] == b"as it was built\n"
    (source / "said").write_text("otherwise")
    assert await bench.driver.build(source, said.append) != image


async def test_a_function_that_asks_for_the_network_is_in_it_if_fnd_built_it(bench: Bench, root: Path) -> None:
    source = write_function(root / "source", BUILDS)
    (source / "func.yaml").write_text("name: asks\nruntime: docker\nnetwork: true\n")
    image = await bench.driver.build(source, lambda line: None)
    await bench.driver.prepare(image)
    await bench.driver.prepare(f"docker://{ANSWERING}")
    assert (await bench.driver.service()).images.networked(image)
    assert not (await bench.driver.service()).images.networked(f"docker://{ANSWERING}")


@pytest.mark.parametrize(
    ("dockerfile", "why"),
    [
        ("FROM fnd-test/python:1\nCOPY nothing /x\n", "nothing"),
        ("FROM scratch\nNONSENSE\n", "unknown instruction"),
        ('FROM fnd-test/python:1\nRUN ["/bin/python", "-c", "import sys; sys.exit(3)"]\n', "non-zero code: 3"),
    ],
)
async def test_a_build_that_fails_says_why_and_leaves_no_container(
    bench: Bench, root: Path, dockerfile: str, why: str
) -> None:
    with pytest.raises(BuildFailed, match=why):
        await bench.driver.build(write_function(root / "source", dockerfile), lambda line: None)


async def test_a_build_that_is_given_up_leaves_no_container(bench: Bench, root: Path) -> None:
    begun = trio.Event()

    def progress(line: str) -> None:
        if "Running in" in line:
            begun.set()

    dockerfile = 'FROM fnd-test/python:1\nRUN ["/bin/python", "-c", "import time; time.sleep(1000)"]\n'
    source = write_function(root / "source", dockerfile)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.driver.build, source, progress)
            await begun.wait()
            nursery.cancel_scope.cancel()
    await eventually(lambda: not bench.engine.containers())


async def test_of_more_images_than_may_be_kept_the_least_recently_used_go(root: Path, engine: PrivateDocker) -> None:
    driver = DockerDriver(context(root, engine, image_disk_limit=300))
    made: list[str] = []

    def there() -> list[str]:
        tags = [tag for image in engine.request("GET", "/images/json") for tag in image["RepoTags"] or ()]
        return [image for image in made if image.removeprefix("docker://") in tags]

    async with driver.running():
        bench = Bench(driver, engine, root / "run")
        source = write_function(root / "source", BUILDS)
        size = image_size(engine)
        for number in range(3):
            (source / "said").write_text(f"{number}")
            made.append(await driver.build(source, lambda line: None))
        assert len(there()) == min(3, 300 // size)
    # What was used and when is known to the next daemon, too.
    driver = DockerDriver(context(root, engine, image_disk_limit=2 * size + 1))
    async with driver.running():
        bench = Bench(driver, engine, root / "run")
        oldest, *others = there()
        async with driver.start(bench.spec(oldest.removeprefix("docker://"))) as container:
            await container.wait()
        (source / "said").write_text("one more")
        made.append(await driver.build(source, lambda line: None))
        assert made[-1] in there()
        assert oldest in there(), "it was used last"
        assert others[0] not in there()
        async with driver.start(bench.spec(oldest.removeprefix("docker://"))):
            (source / "said").write_text("and another")
            made.append(await driver.build(source, lambda line: None))
        assert oldest in there(), "a container used it"
    assert len(there()) == 2


def image_size(engine: PrivateDocker) -> int:
    """Return the size of an image with an interpreter, in MiB, rounded up."""
    return int(engine.request("GET", "/images/fnd-test/python:1/json")["Size"] / (1 << 20)) + 1


# No engine.


async def test_without_an_engine_the_driver_runs_and_says_what_is_missing(root: Path) -> None:
    nowhere = PrivateDocker(root)
    driver = DockerDriver(context(root, nowhere))
    async with driver.running():
        (protection,) = driver.protection()
        assert (protection.name, protection.in_force) == ("engine", False)
        assert "nobody has used" in protection.by
        assert await driver.clear() == 0
        bench = Bench(driver, nowhere, root / "run")
        await driver.service()
        (protection,) = driver.protection()
        assert "does not answer" in protection.by
        with pytest.raises(ContainerFailed, match="does not answer"):
            await driver.clear()
        with pytest.raises(ContainerFailed, match="does not answer"):
            await driver.prepare("docker://anything")
        with pytest.raises(ContainerFailed, match="start it, or name another"):
            async with driver.start(bench.spec()):
                pass
        with pytest.raises(BuildFailed, match="does not answer"):
            await driver.build(write_function(root / "source", BUILDS), lambda line: None)


async def test_an_engine_that_stops_ends_its_containers_and_is_found_again_when_it_is_back(root: Path) -> None:
    with private_docker() as engine:
        python_image(engine)
        driver = DockerDriver(context(root, engine))
        async with driver.running():
            bench = Bench(driver, engine, root / "run")
            spec = bench.spec(await sleeping_image(bench, root))
            async with driver.start(spec) as container:
                await trio.to_thread.run_sync(engine.stop)
                with pytest.raises(ContainerFailed, match="does not answer"):
                    async with driver.start(bench.spec(spec.image.removeprefix("docker://"))):
                        pass
                await trio.to_thread.run_sync(engine.start)
                with trio.fail_after(30):
                    assert (await container.wait()).signal is not None
            async with driver.start(bench.spec(spec.image.removeprefix("docker://"))):
                pass
            await driver.clear()
            bench.nothing_is_left()


async def test_what_could_not_be_removed_is_as_soon_as_the_engine_is_back(root: Path) -> None:
    with private_docker() as engine:
        python_image(engine)
        driver = DockerDriver(context(root, engine))
        async with driver.running():
            bench = Bench(driver, engine, root / "run")
            image = await sleeping_image(bench, root)
            async with driver.start(bench.spec(image)) as kept:
                async with driver.start(bench.spec(image)):
                    await trio.to_thread.run_sync(engine.kill)
                with pytest.raises(ContainerFailed, match="does not answer"):
                    async with driver.start(bench.spec(image)):
                        pass
                assert len(list(bench.runtime.iterdir())) == 2, "what was never asked for leaves no directory"
                await trio.to_thread.run_sync(engine.start)
                await eventually(lambda: len(engine.containers()) == 1)
                await eventually(lambda: [path.name for path in bench.runtime.iterdir()] == [kept.spec.container_id])
            bench.nothing_is_left()


async def test_what_an_earlier_daemon_left_is_cleared_even_if_the_engine_comes_later(root: Path) -> None:
    with private_docker() as engine:
        python_image(engine)
        first = DockerDriver(context(root, engine))
        async with first.running():
            bench = Bench(first, engine, root / "run")
            image = await sleeping_image(bench, root)
            async with first.start(bench.spec(image)):
                await trio.to_thread.run_sync(engine.kill)
        assert len(list(bench.runtime.iterdir())) == 1
        driver = DockerDriver(context(root, engine))
        async with driver.running():
            with pytest.raises(ContainerFailed, match="does not answer"):
                await driver.clear()
            await trio.to_thread.run_sync(engine.start)
            await eventually(lambda: not engine.containers() and not list(bench.runtime.iterdir()))


async def sleeping_image(bench: Bench, root: Path) -> str:
    dockerfile = 'FROM fnd-test/python:1\nENTRYPOINT ["/bin/python", "-c", "import time; time.sleep(1000)"]\n'
    image = await bench.driver.build(write_function(root / "source", dockerfile), lambda line: None)
    return image.removeprefix("docker://")
