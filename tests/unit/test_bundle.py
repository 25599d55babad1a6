"""What func.yaml means, and what is said when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from fnd.bundle import (
    MAX_FILE_SIZE,
    FunctionFile,
    FunctionTrigger,
    find_function_file,
    parse_function_file,
    read_function_file,
)
from fnd.errors import ConfigurationError


def parse(text: str) -> FunctionFile:
    return parse_function_file(text.encode(), "func.yaml")


def refused(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert caught.value.message.startswith("func.yaml")
    return caught.value.message


def test_a_file_as_fn_init_writes_it_is_taken_unchanged() -> None:
    file = parse("""\
schema_version: 20180708
name: hello
version: 0.0.1
runtime: python3.11
build_image: fnproject/python:3.11-dev
run_image: fnproject/python:3.11
entrypoint: /python/bin/fdk /function/func.py handler
memory: 256
triggers:
- name: hello
  type: http
  source: /hello
""")
    assert (file.name, file.version, file.runtime, file.schema_version) == (
        "hello",
        "0.0.1",
        "python3.11",
        20180708,
    )
    assert file.entrypoint == ("/python/bin/fdk", "/function/func.py", "handler")
    assert file.triggers == (FunctionTrigger(name="hello", source="/hello"),)
    assert (file.memory, file.timeout, file.idle_timeout) == (256, 0, 0)
    assert file.ignored == ("build_image", "run_image")
    assert file.python


def test_fields_left_out_have_their_defaults() -> None:
    file = parse("name: hello")
    assert file.format == "http-stream"
    assert not file.network
    assert not file.python
    assert file.entrypoint == file.cmd == ()
    assert file.triggers == ()
    assert file.config == file.annotations == {}


def test_how_many_containers_there_are_may_be_none_or_not_said() -> None:
    said = parse_function_file(b"name: a\nmin_warm: 0\nmax_containers: 4\ncpu: 1500\nconcurrency: 16", "f")
    assert (said.min_warm, said.max_containers, said.cpu, said.concurrency) == (0, 4, 1500, 16)
    left_out = parse_function_file(b"name: a\nmin_warm:", "f")
    assert left_out.min_warm is left_out.max_containers is left_out.cpu is left_out.concurrency is None


def test_a_field_with_nothing_behind_it_is_a_field_left_out() -> None:
    file = parse("name: hello\nconfig:\ntriggers:\nmemory:\nannotations:\n")
    assert (file.config, file.triggers, file.memory, file.annotations) == ({}, (), 0, {})


@pytest.mark.parametrize(
    ("runtime", "python"),
    [("python", True), ("python3.12", True), ("python3", True), ("go", False), ("", False), ("pythonic", False)],
)
def test_python_of_any_version_is_python(runtime: str, python: bool) -> None:
    assert parse(f"name: a\nruntime: {runtime}").python is python


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("./serve --name 'two words'", ("./serve", "--name", "two words")),
        ("[./serve, '--name', two words]", ("./serve", "--name", "two words")),
    ],
)
def test_a_command_is_a_line_or_a_list(value: str, words: tuple[str, ...]) -> None:
    assert parse(f"name: a\nentrypoint: {value}").entrypoint == words
    assert parse(f"name: a\ncmd: {value}").cmd == words


def test_config_values_and_version_are_the_text_they_look_like() -> None:
    file = parse("name: a\nversion: 1.10\nconfig: {PORT: 8080, DEBUG: true, RATE: 1.10, EMPTY: ''}")
    assert file.version == "1.10"
    assert file.config == {"PORT": "8080", "DEBUG": "true", "RATE": "1.10", "EMPTY": ""}


def test_annotations_keep_their_json_types() -> None:
    file = parse("name: a\nannotations: {a/b: 1, c: [true, null, 1.5], d: {e: text}}")
    assert file.annotations == {"a/b": 1, "c": [True, None, 1.5], "d": {"e": "text"}}


def test_network_must_be_asked_for() -> None:
    assert parse("name: a\nnetwork: true").network
    assert not parse("name: a\nnetwork: false").network
    assert "network must be true or false, not 'host'" in refused("name: a\nnetwork: host")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version: 1", "name is missing"),
        ("name: a/b", "name may have letters"),
        (f"name: {'a' * 256}", "at most 255 bytes"),
        ("name: [a]", "name must be text"),
        ("name: a\nmemory: 8193", "memory must be a whole number of MiB from 0 to 8192, not '8193'"),
        ("name: a\nmemory: 128m", "memory must be a whole number of MiB"),
        ("name: a\ntimeout: 301", "timeout must be a whole number of seconds from 0 to 300, not '301'"),
        ("name: a\ntimeout: 1.5", "timeout must be a whole number"),
        ("name: a\nconcurrency: 0", "concurrency must be a whole number of calls from 1 to 1000, not '0'"),
        ("name: a\nmin_warm: -1", "min_warm must be a whole number of containers from 0 to 10000"),
        ("name: a\nidle_timeout: -1", "idle_timeout must be a whole number of seconds from 0 to 3600"),
        ("name: a\nschema_version: x", "schema_version must be a whole number from"),
        ("name: a\nentrypoint: {a: b}", "entrypoint must be a command line or a list of words"),
        ("name: a\nentrypoint: [[a]]", "entrypoint must be a command line or a list of words"),
        ("name: a\nentrypoint: ['', b]", "entrypoint has an empty command"),
        ('name: a\nentrypoint: [a, "\\0"]', "NUL"),
        ("name: a\nentrypoint: 'open \"quote'", "entrypoint cannot be split into words"),
        ("name: a\nconfig: [a]", "config must be a mapping"),
        ("name: a\nconfig: {a b: c}", "config has 'a b'"),
        ("name: a\nconfig: {A: [1]}", "config.A must be text"),
        ("name: a\nannotations: [a]", "annotations must be a mapping"),
        ("name: a\nannotations: {a: 2020-01-01}", "annotations.a must be a JSON value"),
        ("name: a\nannotations: {a: .nan}", "annotations.a must be a JSON value"),
        ("name: a\ntriggers: /x", "triggers must be a list"),
        ("name: a\ntriggers: [{name: t, source: x}]", "triggers[0]: source must start with /"),
        ("name: a\ntriggers: [{source: /x}]", "triggers[0]: name is missing"),
        ("name: a\ntriggers: [{name: t, source: /x, path: y}]", "triggers[0]: unknown field 'path'"),
        ("name: a\nentrypiont: x", "unknown field 'entrypiont'; did you mean entrypoint?"),
        ("name: a\nqqq: x", "unknown field 'qqq'; known are annotations"),
        ("just text", "must be a mapping of fields"),
        ("name: [", "is not valid YAML: line 1, column"),
        ("", "must be a mapping of fields"),
        ("name: a\nconfig: &x {A: b}\nannotations: *x", "aliases"),
        ("name: " + "[" * 5000, "values are nested more than 20 deep"),
    ],
)
def test_what_is_wrong_is_named(text: str, says: str) -> None:
    assert says in refused(text)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        parse_function_file(b"name: \xff", "func.yaml")


def test_a_directory_or_its_file_may_be_given(tmp_path: Path) -> None:
    (tmp_path / "func.yml").write_text("name: hello")
    assert read_function_file(tmp_path) == read_function_file(tmp_path / "func.yml")


def test_a_directory_without_one_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has no func\.yaml; `fnd init`"):
        find_function_file(tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gone/func\.yaml cannot be read: No such file"):
        read_function_file(tmp_path / "gone" / "func.yaml")


def test_a_file_too_large_to_be_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "func.yaml").write_bytes(b"name: a\n#" + b"x" * MAX_FILE_SIZE)
    with pytest.raises(ConfigurationError, match="larger than 64 KiB"):
        read_function_file(tmp_path)
