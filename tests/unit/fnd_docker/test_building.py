"""What a function's image is built of, and by what it is named."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from fnd.hookspecs import BuildFailed, read_function_file
from fnd_docker.building import Context, read_context


def directory(tmp_path: Path, name: str = "one", **files: str) -> Path:
    source = tmp_path / name
    source.mkdir()
    for file, content in {"func.yaml": "name: hello\nruntime: python3.12\n", "func.py": "", **files}.items():
        (source / file.replace("_", ".")).write_text(content)
    return source


def context_of(source: Path) -> Context:
    return read_context(source, read_function_file(source))


def archive(context: Context) -> dict[str, bytes]:
    buffer = io.BytesIO()
    context.write(buffer)
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()}  # type: ignore[union-attr]


def test_without_a_dockerfile_one_is_made_for_fns_images(tmp_path: Path) -> None:
    made = context_of(directory(tmp_path)).dockerfile
    assert made is not None
    lines = made.decode().splitlines()
    assert lines[0] == "FROM fnproject/python:3.12-dev AS build"
    assert "RUN pip3 install --no-cache-dir --target /python fdk" in lines
    assert lines[-1] == 'ENTRYPOINT ["/python/bin/fdk", "/function/func.py", "handler"]'


def test_requirements_and_an_entrypoint_are_honoured(tmp_path: Path) -> None:
    source = directory(tmp_path, requirements_txt="fdk\n")
    (source / "func.yaml").write_text("name: a\nruntime: python\nentrypoint: python main.py\ncmd: --fast\n")
    (source / "requirements.txt").write_text("fdk\n")
    made = context_of(source).dockerfile
    assert made is not None
    assert b"pip3 install --no-cache-dir --target /python -r requirements.txt" in made
    assert made.endswith(b'ENTRYPOINT ["python", "main.py", "--fast"]\n')


def test_a_runtime_that_tells_no_way_needs_a_dockerfile(tmp_path: Path) -> None:
    source = directory(tmp_path)
    (source / "func.yaml").write_text("name: a\nruntime: go\n")
    with pytest.raises(BuildFailed, match="no Dockerfile"):
        context_of(source)
    (source / "Dockerfile").write_text("FROM scratch\n")
    assert context_of(source).dockerfile is None


def test_the_same_content_has_the_same_name_wherever_and_whenever_it_was_written(tmp_path: Path) -> None:
    one, other = context_of(directory(tmp_path, "one")), context_of(directory(tmp_path, "other"))
    os.utime(other.source / "func.py", (1, 1))
    assert one.digest == other.digest
    assert archive(one) == archive(other)


@pytest.mark.parametrize("change", ["content", "name", "mode", "link", "dockerfile"])
def test_any_change_is_another_name(tmp_path: Path, change: str) -> None:
    source = directory(tmp_path)
    (source / "link").symlink_to("func.py")
    before = context_of(source).digest
    match change:
        case "content":
            (source / "func.py").write_text("pass")
        case "name":
            (source / "func.py").rename(source / "other.py")
        case "mode":
            (source / "func.py").chmod(0o755)
        case "link":
            (source / "link").unlink()
            (source / "link").symlink_to("func.yaml")
        case _:
            (source / "Dockerfile").write_text("FROM scratch\n")
    assert context_of(source).digest != before


def test_history_and_caches_are_no_part_of_it(tmp_path: Path) -> None:
    source = directory(tmp_path)
    (source / "lib").mkdir()
    (source / "lib" / "module.py").write_text("")
    for name in (".git", "__pycache__"):
        (source / name).mkdir()
        (source / name / "x").write_text("")
    assert set(archive(context_of(source))) == {"func.yaml", "func.py", "lib/module.py", ".fnd.Dockerfile"}


def test_what_is_no_file_is_refused_by_name(tmp_path: Path) -> None:
    source = directory(tmp_path)
    os.mkfifo(source / "pipe")
    with pytest.raises(BuildFailed, match="pipe"):
        context_of(source)
