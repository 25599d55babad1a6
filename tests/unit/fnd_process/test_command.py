"""What the words of a func.yaml's command stand for."""

from __future__ import annotations

from pathlib import Path

import pytest

from fnd.bundle import parse_function_file
from fnd_process.command import CommandUnusable, Resolver, command_words
from fnd_process.interpreters import Interpreter


def program(path: Path, content: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(0o755)
    return path


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    """A Python function in `function`, with an environment in `environment`."""
    program(tmp_path / "function" / "serve")
    (tmp_path / "function" / "func.py").write_text("")
    (tmp_path / "function" / "data").write_text("")
    program(tmp_path / "environment" / "bin" / "python", "\x7fELF")
    program(tmp_path / "environment" / "bin" / "fdk")
    program(tmp_path / "environment" / "bin" / "native", "\x7fELF")
    return Resolver(
        function=tmp_path / "function",
        environment=tmp_path / "environment",
        interpreter=Interpreter(Path("/usr/bin/python3"), Path("/usr"), "3.11.2"),
        visible=None,
    )


def words(text: str, has_func_py: bool = True) -> tuple[str, ...]:
    return command_words(parse_function_file(text.encode(), "func.yaml"), has_func_py)


def test_the_command_is_entrypoint_and_cmd() -> None:
    assert words("{name: a, entrypoint: ./serve one, cmd: [two]}") == ("./serve", "one", "two")
    assert words("{name: a, cmd: ./serve}") == ("./serve",)


def test_a_python_function_needs_none() -> None:
    assert words("{name: a, runtime: python}") == ("fdk", "func.py", "handler")
    assert words("{name: a, runtime: python, format: json}") == ("python", "func.py")


@pytest.mark.parametrize("text", ["{name: a, runtime: python}", "{name: a, runtime: go}", "{name: a}"])
def test_any_other_does(text: str) -> None:
    with pytest.raises(CommandUnusable, match=r"func\.yaml has no entrypoint"):
        words(text, has_func_py=False)


def test_the_places_of_fns_images_are_the_bundles_own(resolver: Resolver, tmp_path: Path) -> None:
    command = ("/python/bin/fdk", "/function/func.py", "handler")
    python, fdk = f"{tmp_path}/environment/bin/python", f"{tmp_path}/environment/bin/fdk"
    assert resolver.on_host(command) == (python, fdk, f"{tmp_path}/function/func.py", "handler")
    assert resolver.in_sandbox(command) == (python, fdk, "/function/func.py", "handler")


@pytest.mark.parametrize(
    ("argument", "becomes"),
    [
        ("/function", "{root}/function"),
        ("--config=/function/data", "--config={root}/function/data"),
        ("/functions/x", "/functions/x"),
        ("x/function/y", "x/function/y"),
        ("/python/lib", "{root}/environment/lib"),
    ],
)
def test_arguments_that_name_those_places_do_so_anywhere(
    resolver: Resolver, tmp_path: Path, argument: str, becomes: str
) -> None:
    assert resolver.on_host(("./serve", argument))[1] == becomes.format(root=tmp_path)


@pytest.mark.parametrize(
    ("word", "command"),
    [
        ("fdk", ("{root}/environment/bin/python", "{root}/environment/bin/fdk")),
        ("native", ("{root}/environment/bin/native",)),
        ("python", ("{root}/environment/bin/python",)),
        ("python3", ("/usr/bin/python3",)),
        ("python3.11", ("/usr/bin/python3",)),
        ("./serve", ("/function/serve",)),
        ("serve", ("/function/serve",)),
        ("/function/serve", ("/function/serve",)),
        ("./func.py", ("{root}/environment/bin/python", "/function/func.py")),
        ("func.py", ("{root}/environment/bin/python", "/function/func.py")),
        ("/bin/sh", ("/bin/sh",)),
    ],
)
def test_a_program_is_the_environments_the_functions_or_the_systems(
    resolver: Resolver, tmp_path: Path, word: str, command: tuple[str, ...]
) -> None:
    assert resolver.in_sandbox((word,)) == tuple(part.format(root=tmp_path) for part in command)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("gunicorn", "the command gunicorn is not installed: add the package that has it to requirements.txt"),
        ("/python/bin/gunicorn", "the command gunicorn is not installed"),
        ("./gone", "the command ./gone is not among the function's files"),
        ("/function/gone", "the command gone is not among the function's files"),
        ("../environment/bin/fdk", "the command ../environment/bin/fdk is not among the function's files"),
        ("./data", "the command ./data is not executable; `chmod +x ./data` makes it so"),
        ("/etc/passwd", "the command /etc/passwd is no program of this machine"),
        ("/etc", "the command /etc is no program of this machine"),
    ],
)
def test_what_is_no_program_is_told_apart(resolver: Resolver, word: str, says: str) -> None:
    with pytest.raises(CommandUnusable) as caught:
        resolver.in_sandbox((word,))
    assert str(caught.value).startswith(says)


def test_a_program_that_a_sandbox_does_not_show_is_refused(tmp_path: Path) -> None:
    tool = program(tmp_path / "opt" / "tool")
    link = tmp_path / "shown" / "tool"
    link.parent.mkdir()
    link.symlink_to(tool)
    resolver = Resolver(function=tmp_path, environment=None, interpreter=None, visible=[tmp_path / "shown"])
    for path in (tool, link):
        with pytest.raises(CommandUnusable, match="which sandboxed functions do not see"):
            resolver.in_sandbox((str(path),))
