"""From a function's directory to an image that runs, with real installs of a small package."""

from __future__ import annotations

import os
import stat
import sys
import zipfile
from pathlib import Path

import pytest
import trio

from fnd.errors import BuildFailed, ImageUnusable
from fnd.hookspecs import Exit
from fnd.testing import no_descriptor_left
from tests.system.fnd_process.workbench import Log, Workbench, run

pytestmark = pytest.mark.system


in_both_ways = pytest.mark.parametrize("way", ["sandbox", "host"])


@pytest.fixture
def way() -> str:
    return "host"


def wheel(directory: Path, *, version: str = "1.0", says: str = "the package") -> str:
    """Write a wheel with a module, and a program `greet` that prints what it `says`; return the file's name."""
    name = f"greeting-{version}-py3-none-any.whl"
    information = f"greeting-{version}.dist-info"
    with zipfile.ZipFile(directory / name, "w") as archive:
        archive.writestr("greeting.py", f"def main():\n    print({says!r})\n")
        archive.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: greeting\nVersion: {version}\n")
        archive.writestr(
            f"{information}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{information}/entry_points.txt", "[console_scripts]\ngreet = greeting:main\n")
        archive.writestr(f"{information}/RECORD", "")
    return name


def with_package(bench: Workbench, main: str = "import greeting; greeting.main()", **fields: str) -> Path:
    directory = bench.function(main, **fields)
    (directory / "requirements.txt").write_text(f"./{wheel(directory)}\n")
    return directory


async def output_of(bench: Workbench, image: str) -> str:
    log = Log()
    async with bench.driver.start(bench.spec(image, log=log)) as container:
        result = await container.wait()
    assert result == Exit(code=0), log.stderr
    return log.stdout


async def test_the_same_content_has_the_same_name_and_is_not_built_again(bench: Workbench) -> None:
    directory = bench.function("print('hello')")
    image = await bench.driver.build(directory, lambda _: None)
    name, _, digest = image.removeprefix("process://").partition("@sha256:")
    assert name == "function"
    assert len(digest) == 64
    bundle = bench.data / "bundles" / digest
    made = bundle.stat().st_ino

    os.utime(directory / "main.py", (0, 0))
    (directory / "__pycache__").mkdir()
    (directory / "__pycache__" / "main.cpython-311.pyc").write_bytes(b"not mine")
    said: list[str] = []
    assert await bench.driver.build(directory, said.append) == image
    assert said == ["nothing changed"]
    assert bundle.stat().st_ino == made
    assert await output_of(bench, image) == "hello\n"


async def test_other_content_has_another_name_and_both_run(bench: Workbench) -> None:
    directory = bench.function("print('one')")
    one = await bench.driver.build(directory, lambda _: None)
    (directory / "main.py").write_text("print('two')")
    two = await bench.driver.build(directory, lambda _: None)
    assert one != two
    assert await output_of(bench, one) == "one\n"
    assert await output_of(bench, two) == "two\n"


async def test_a_bundle_is_compiled_and_read_only(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    directory = with_package(bench)
    (directory / "package").mkdir()
    (directory / "package" / "__init__.py").write_text("x = 1")
    await bench.driver.build(directory, lambda _: None)
    compiled = {path.name.partition(".")[0] for path in bench.data.rglob("*.pyc")}
    assert {"main", "__init__", "greeting"} <= compiled
    for path in bench.data.glob("*/*/**/*"):
        if not path.is_symlink():
            assert not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
            assert path.stat().st_mode & stat.S_IROTH


@in_both_ways
async def test_what_it_requires_is_installed_for_it_alone(bench: Workbench) -> None:
    image = await bench.driver.build(with_package(bench), lambda _: None)
    assert await output_of(bench, image) == "the package\n"
    other = await bench.image("import greeting", name="other")
    log = Log()
    async with bench.driver.start(bench.spec(other, log=log)) as container:
        assert (await container.wait()).code == 1
    assert "No module named 'greeting'" in log.stderr


@in_both_ways
@pytest.mark.parametrize(
    "entrypoint",
    [
        "greet",
        "/python/bin/greet",
        "/python/bin/python /function/main.py",
        "[python, -m, greeting_main]",
        "/bin/sh -c greet",  # by its first line, which must name the interpreter where the environment is now
    ],
)
async def test_the_environments_programs_can_be_its_command(bench: Workbench, entrypoint: str) -> None:
    directory = with_package(bench, entrypoint=entrypoint)
    (directory / "greeting_main.py").write_text("import greeting; greeting.main()")
    image = await bench.driver.build(directory, lambda _: None)
    assert await output_of(bench, image) == "the package\n"


@in_both_ways
async def test_a_function_of_any_language_is_its_own_program_or_one_of_the_systems(bench: Workbench) -> None:
    directory = bench.function("", runtime="native", entrypoint="./serve one", cmd="\"'two words'\"")
    (directory / "serve").write_text('#!/bin/sh\necho "$0" "$1" "$2" "$(cat data)"\n')
    (directory / "data").write_text("data")
    (directory / "serve").chmod(0o755)
    said = await output_of(bench, await bench.driver.build(directory, lambda _: None))
    assert said.endswith("/serve one two words data\n")
    assert said.startswith("/function/" if bench.sandboxed else str(bench.data))

    image = await bench.image("", runtime="native", entrypoint="[sh, -c, 'pwd; cat /function/func.yaml | head -c 4']")
    if bench.sandboxed:
        assert await output_of(bench, image) == "/function\nname"


async def test_the_same_requirements_are_installed_once(bench: Workbench, root: Path) -> None:
    directory = with_package(bench)
    (directory / "requirements.txt").write_text(f"--no-index\n--find-links {root}\ngreeting\n")
    # An option leads elsewhere, so to be shared, requirements are to be names alone.
    wheel(root)
    said: list[str] = []
    await bench.driver.build(directory, said.append)
    (directory / "main.py").write_text("print('changed')")
    await bench.driver.build(directory, said.append)
    assert "requirements.txt: already installed" not in said
    assert len(list((bench.data / "environments").iterdir())) == 2


async def test_requirements_by_name_are_shared_by_all_that_have_them(
    bench: Workbench, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(root))
    wheel(root)
    directory = bench.function("import greeting; greeting.main()")
    (directory / "requirements.txt").write_text("greeting==1.0\n")
    said: list[str] = []
    first = await bench.driver.build(directory, said.append)
    assert any("Successfully installed greeting-1.0" in line for line in said)
    (directory / "main.py").write_text("import greeting; print('changed'); greeting.main()")
    second = await bench.driver.build(directory, said.append)
    assert said[-1] == "requirements.txt: already installed"
    assert len(list((bench.data / "environments").iterdir())) == 1
    assert await output_of(bench, first) == "the package\n"
    assert await output_of(bench, second) == "changed\nthe package\n"


async def test_a_failed_install_says_what_pip_said_and_leaves_nothing(bench: Workbench) -> None:
    directory = bench.function("")
    (directory / "requirements.txt").write_text("--no-index\nno-such-package-of-ours\n")
    said: list[str] = []
    with no_descriptor_left(), pytest.raises(BuildFailed) as caught:
        await bench.driver.build(directory, said.append)
    assert caught.value.message.startswith("Installing requirements.txt with pip failed (exit code 1):")
    assert "No matching distribution found for no-such-package-of-ours" in caught.value.message
    assert any("No matching distribution" in line for line in said)
    assert list(bench.data.glob("*/*")) == []


@pytest.mark.parametrize("when", range(1, 4))
async def test_a_build_that_is_cancelled_leaves_nothing(bench: Workbench, when: int) -> None:
    """Cancelled at its first line of progress, its second, its third."""
    directory = bench.function("")
    (directory / "setup.py").write_text("import time; print('building', flush=True); time.sleep(1000)")
    (directory / "requirements.txt").write_text(f"./{wheel(directory)}\n./{wheel(directory, version='2.0')}\n")
    lines: list[str] = []
    with bench.nothing_left(), trio.CancelScope() as scope:

        def progress(line: str) -> None:
            lines.append(line)
            if len(lines) == when:
                scope.cancel()

        await bench.driver.build(directory, progress)
    assert scope.cancelled_caught
    assert list(bench.data.glob("*/*")) == []


async def test_what_a_build_started_is_gone_when_it_is_cancelled(bench: Workbench) -> None:
    """A package's own code runs when it is installed from source, and may do anything."""
    directory = bench.function("")
    backend = directory / "package"
    backend.mkdir()
    (backend / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (backend / "backend.py").write_text(
        "import os, signal, sys\n"
        "def get_requires_for_build_wheel(settings=None):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        open(os.environ['TEST_FILE'], 'w').write(str(os.getpid()))\n"
        "        while True: signal.pause()\n"
        "    while True: signal.pause()\n"
    )
    (directory / "requirements.txt").write_text("--no-index\n./package\n")
    sign = bench.root / "started"
    os.environ["TEST_FILE"] = str(sign)
    try:
        async with trio.open_nursery() as nursery:

            async def build() -> None:
                with pytest.raises(trio.Cancelled):
                    await bench.driver.build(directory, lambda _: None)
                await trio.lowlevel.checkpoint()

            nursery.start_soon(build)
            with trio.fail_after(60):
                while not sign.exists() or not sign.read_text():  # noqa: ASYNC110
                    await trio.sleep(0.01)
            pid = int(sign.read_text())
            assert Path(f"/proc/{pid}").exists()
            nursery.cancel_scope.cancel()
        stat_file = Path(f"/proc/{pid}/stat")
        assert not stat_file.exists() or " Z " in stat_file.read_text()
    finally:
        del os.environ["TEST_FILE"]
    assert list(bench.data.glob("*/*")) == []


async def test_a_function_that_is_not_valid_python_is_told_so(bench: Workbench) -> None:
    with pytest.raises(BuildFailed) as caught:
        await bench.image("def broken(:\n")
    assert "The function is not valid Python:" in caught.value.message
    assert "'main.py'" in caught.value.message
    assert "SyntaxError" in caught.value.message
    assert list(bench.data.glob("*/*")) == []


async def test_a_file_beside_it_that_is_not_valid_python_is_only_told_of(bench: Workbench) -> None:
    directory = bench.function("print('fine')")
    (directory / "template.py").write_text("{{ not python }} :(")
    said: list[str] = []
    image = await bench.driver.build(directory, said.append)
    assert any("template.py" in line for line in said)
    assert await output_of(bench, image) == "fine\n"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"entrypoint": "fdk main.py handler"}, "(for fdk, a line `fdk`)"),
        ({"entrypoint": "./gone"}, "the command ./gone is not among the function's files"),
        ({"entrypoint": "./data", "runtime": "native"}, "the command ./data is not executable; `chmod +x ./data`"),
        (
            {"entrypoint": "no-such-program", "runtime": "native"},
            "neither among the function's files nor on this",
        ),
        ({"entrypoint": "/no/such", "runtime": "native"}, "the command /no/such is no program of this machine"),
        ({"entrypoint": "''", "runtime": "native"}, "func.yaml has no entrypoint: say what to run"),
        ({"entrypoint": "''"}, "func.yaml has no entrypoint, and there is no func.py"),
        (
            {"runtime": "python2.6"},
            "runtime python2.6, which is not installed here; install it, or say",
        ),
        ({"memory": "lots"}, "func.yaml: memory must be a whole number"),
    ],
)
async def test_what_cannot_run_is_refused_with_what_to_do(bench: Workbench, fields: dict[str, str], says: str) -> None:
    directory = bench.function("", **fields)
    (directory / "data").write_text("")
    with pytest.raises(BuildFailed) as caught:
        await bench.driver.build(directory, lambda _: None)
    assert says in caught.value.message
    assert list(bench.data.glob("*/*")) == []


async def test_a_directory_that_is_no_function_is_refused(bench: Workbench) -> None:
    with pytest.raises(BuildFailed, match=r"has no func\.yaml"):
        await bench.driver.build(bench.root, lambda _: None)


async def test_two_builds_of_the_same_at_once_make_one_bundle(bench: Workbench) -> None:
    directory = with_package(bench)
    images: list[str] = []

    async def build() -> None:
        images.append(await bench.driver.build(directory, lambda _: None))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(build)
        nursery.start_soon(build)
    assert len(set(images)) == 1
    assert len(list(bench.data.glob("bundles/*"))) == len(list(bench.data.glob("environments/*"))) == 1


async def test_a_bundle_whose_environment_is_gone_is_not_usable_until_it_is_built_again(root: Path, way: str) -> None:
    bench = Workbench(root, way, {})
    directory = with_package(bench)
    async with bench.driver.running():
        image = await bench.driver.build(directory, lambda _: None)
    (environment,) = (bench.data / "environments").iterdir()
    (environment / "bin").chmod(0o755)
    (environment / "bin" / "python").unlink()
    async with bench.driver.running():
        with pytest.raises(ImageUnusable, match=r"no longer installed; deploy it again"):
            await bench.driver.prepare(image)
        assert await bench.driver.build(directory, lambda _: None) == image
        assert await output_of(bench, image) == "the package\n"


class TestImagesThatAreNotUsable:
    @pytest.mark.parametrize(
        ("image", "says"),
        [
            ("process://hello@sha256:" + "0" * 64, "there is no such bundle on this machine; deploy the function here"),
            ("process://hello", "is not one of the process driver's, which are process://NAME@sha256:DIGEST"),
            ("fnproject/hello:0.0.1", "is not one of the process driver's"),
            ("process:///no/such/directory", "there is no such directory on this machine"),
            ("process://../../etc@sha256:" + "0" * 64, "is not one of the process driver's"),
        ],
    )
    async def test_are_told_apart(self, bench: Workbench, image: str, says: str) -> None:
        with pytest.raises(ImageUnusable) as caught:
            await bench.driver.prepare(image)
        assert says in caught.value.message
        assert image in caught.value.message
        with pytest.raises(ImageUnusable):
            async with bench.driver.start(bench.spec(image)):
                pass

    async def test_a_bundle_of_another_version_is_one(self, bench: Workbench) -> None:
        image = await bench.image("")
        manifest = bench.data / "bundles" / image.rpartition(":")[2] / "manifest.json"
        manifest.chmod(0o644)
        manifest.write_text('{"version": 99}')
        with pytest.raises(ImageUnusable, match=r"cannot be read \(it was built by another version of fnd\); deploy"):
            await bench.driver.prepare(image)


class TestADirectoryAsAnImage:
    @in_both_ways
    async def test_runs_as_it_is_now(self, bench: Workbench) -> None:
        directory = bench.function("print('one')")
        image = f"process://{directory}"
        await bench.driver.prepare(image)
        assert await output_of(bench, image) == "one\n"
        (directory / "main.py").write_text("print('two')")
        assert await output_of(bench, image) == "two\n"
        (directory / "other.py").write_text("print('three')")
        (directory / "func.yaml").write_text("name: f\nruntime: python\nentrypoint: python /function/other.py\n")
        assert await output_of(bench, image) == "three\n"

    async def test_needs_no_scheme(self, bench: Workbench) -> None:
        assert await output_of(bench, str(bench.function("print('one')"))) == "one\n"

    async def test_has_what_it_requires_installed_when_that_changes(self, bench: Workbench) -> None:
        directory = with_package(bench)
        image = f"process://{directory}"
        await bench.driver.prepare(image)
        assert await output_of(bench, image) == "the package\n"
        (directory / "requirements.txt").write_text(f"./{wheel(directory, version='2.0', says='the new one')}\n")
        await bench.driver.prepare(image)
        assert await output_of(bench, image) == "the new one\n"

    async def test_is_unusable_while_its_func_yaml_is(self, bench: Workbench) -> None:
        directory = bench.function("print('one')", memory="lots")
        with pytest.raises(ImageUnusable, match="memory must be a whole number"):
            await bench.driver.prepare(f"process://{directory}")
        bench.function("print('one')")
        assert await output_of(bench, f"process://{directory}") == "one\n"


@in_both_ways
async def test_an_interpreter_of_another_version_is_found(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the daemon's own were an older one, and this one were found by its name."""
    programs = bench.root / "bin"
    programs.mkdir()
    version = ".".join(sys.version.split(".")[:2])
    (programs / f"python{version}").symlink_to(os.path.realpath(sys.executable))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(sys, "version", "3.1.0 (an older one)")
    directory = with_package(bench, "import sys, greeting; print(sys.version_info[:2])", runtime=f"python{version}")
    image = await bench.driver.build(directory, lambda _: None)
    assert await output_of(bench, image) == f"({version.replace('.', ', ')})\n"


async def test_a_daemon_without_pip_uses_the_one_that_python_brings(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    pytest.importorskip("ensurepip")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert await output_of(bench, await bench.driver.build(with_package(bench), lambda _: None)) == "the package\n"


@in_both_ways
async def test_errors_of_a_run_name_the_functions_own_files(bench: Workbench) -> None:
    result, log = await run(bench, "raise ValueError('oops')")
    assert result == Exit(code=1)
    place = "/function" if bench.sandboxed else str(bench.data / "bundles")
    assert f'File "{place}' in log.stderr
    assert "raise ValueError('oops')" in log.stderr
