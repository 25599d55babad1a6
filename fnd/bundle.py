"""func.yaml: what a function's directory says of itself; read by `fnd deploy` and by drivers that build images.

The fields are Fn's (its func.yaml, schema 20180708) and six of fnd's own: `format`, `network`, `cpu`, `min_warm`,
`max_containers` and `concurrency`. A field that neither knows is an error, because a misspelt one would otherwise be a
setting that silently does nothing.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from fnd.errors import ConfigurationError
from fnd.model import DEFAULT_FORMAT

FUNCTION_FILE_NAMES: Final = ("func.yaml", "func.yml")
MAX_FILE_SIZE: Final = 64 * 1024
"""Bytes of a func.yaml."""
MAX_DEPTH: Final = 20
"""Lists and mappings within each other in a func.yaml."""

NOT_BUNDLED: Final = frozenset(
    {".git", ".hg", ".svn", ".venv", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".DS_Store"}
)
"""Names of files and directories that are no part of a function, at any depth: history, caches, environments."""

_NAME: Final = re.compile(r"[\w-]+")
_CONFIG_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Fields of Fn's file that steer how Fn builds and pushes Docker images; they have no counterpart here.
_IGNORED: Final = frozenset(
    {"build", "build_image", "content_type", "deploy", "expects", "run_image", "setup_image", "shape", "type"}
)


@attrs.frozen(kw_only=True)
class FunctionTrigger:
    """A trigger that the function wants: `/t/{app}{source}` leads to it."""

    name: str
    source: str
    type: str = "http"


@attrs.frozen(kw_only=True)
class FunctionFile:
    """A func.yaml, checked. Sizes are MiB, times seconds; 0 means that the file does not say."""

    name: str
    schema_version: int = 0
    version: str = ""
    runtime: str = ""
    entrypoint: tuple[str, ...] = ()
    """The command; `cmd` follows it as further arguments."""
    cmd: tuple[str, ...] = ()
    memory: int = 0
    timeout: int = 0
    idle_timeout: int = 0
    cpu: int | None = None
    """Thousandths of a core; None where the file does not say, as for the next three."""
    min_warm: int | None = None
    """Containers kept even when nobody calls."""
    max_containers: int | None = None
    """Containers at most; 0 is no limit."""
    concurrency: int | None = None
    """Calls that a container serves at once."""
    config: Mapping[str, str] = attrs.field(factory=dict)
    annotations: Mapping[str, Any] = attrs.field(factory=dict)
    triggers: tuple[FunctionTrigger, ...] = ()
    format: str = DEFAULT_FORMAT
    network: bool = False
    """Whether the function may use the host's network."""
    ignored: tuple[str, ...] = ()
    """Fields of Fn's that the file sets and that mean nothing to fnd."""

    @property
    def python(self) -> bool:
        """Whether the runtime is Python, of whatever version."""
        return re.fullmatch(r"python[0-9.]*", self.runtime) is not None


def find_function_file(directory: Path) -> Path:
    """Return the path of the directory's func.yaml (or func.yml). Raises ConfigurationError if it has none."""
    for name in FUNCTION_FILE_NAMES:
        if (directory / name).is_file():
            return directory / name
    raise ConfigurationError(f"{directory} has no func.yaml; `fnd init` makes a function to start from")


def read_function_file(path: Path) -> FunctionFile:
    """Read a func.yaml, given itself or its directory.

    Raises ConfigurationError, which names the file, the field and what would be right.
    """
    if path.is_dir():
        path = find_function_file(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_SIZE + 1)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    return parse_function_file(data, str(path))


def parse_function_file(data: bytes, where: str) -> FunctionFile:
    """Check the content of a func.yaml; `where` is its name in errors. Raises ConfigurationError."""
    if len(data) > MAX_FILE_SIZE:
        raise ConfigurationError(f"{where} is larger than {MAX_FILE_SIZE // 1024} KiB")
    fields, typed = _load(data, where)
    reader = _Reader(fields, where)
    file = FunctionFile(
        schema_version=reader.number("schema_version", 0, 99999999),
        name=reader.name("name"),
        version=reader.text("version"),
        runtime=reader.text("runtime"),
        entrypoint=reader.words("entrypoint"),
        cmd=reader.words("cmd"),
        memory=reader.number("memory", 0, 8192, "MiB"),
        timeout=reader.number("timeout", 0, 300, "seconds"),
        idle_timeout=reader.number("idle_timeout", 0, 3600, "seconds"),
        cpu=reader.number_if_said("cpu", 0, 1_000_000, "thousandths of a core"),
        min_warm=reader.number_if_said("min_warm", 0, 10_000, "containers"),
        max_containers=reader.number_if_said("max_containers", 0, 10_000, "containers"),
        concurrency=reader.number_if_said("concurrency", 1, 1000, "calls"),
        config=reader.strings("config"),
        annotations=reader.annotations("annotations", typed),
        triggers=reader.triggers("triggers"),
        format=reader.text("format") or DEFAULT_FORMAT,
        network=reader.boolean("network"),
        ignored=reader.known(_IGNORED),
    )
    reader.finish()
    return file


def _load(data: bytes, where: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the top-level mapping twice: with every scalar as the text it is, and with YAML's types."""
    # Only who reads function files pays for the parser: the daemon at rest does not.
    import yaml

    try:
        text = data.decode()
        _refuse_traps(text, where)
        # Scalars stay text so that `version: 1.10` and config values mean what they look like.
        plain = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 (builds strings, lists and dicts only)
        typed = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{where} is not UTF-8 text") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{where} is not valid YAML: {_yaml_problem(error)}") from error
    except ValueError as error:
        raise ConfigurationError(f"{where} is not valid YAML: {error}") from error
    if not isinstance(plain, dict) or not isinstance(typed, dict):
        raise ConfigurationError(f"{where} must be a mapping of fields, such as `name: hello`")
    return plain, typed


def _refuse_traps(text: str, where: str) -> None:
    """Refuse what would cost the parser or a reader out of proportion to the file's size."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        if isinstance(event, yaml.AliasEvent):  # a small file could stand for an enormous value
            raise ConfigurationError(f"{where}: YAML aliases (*name) are not supported; write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ConfigurationError(f"{where}: values are nested more than {MAX_DEPTH} deep")


def _yaml_problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    return problem if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


class _Reader:
    """Takes fields one by one, remembering which, so that what is left at the end is unknown."""

    def __init__(self, fields: Mapping[str, Any], where: str) -> None:
        self._fields = dict(fields)
        self._where = where
        self._known: set[str] = set()

    def _take(self, field: str) -> Any:
        self._known.add(field)
        return self._fields.pop(field, "")

    def _error(self, field: str, problem: str) -> ConfigurationError:
        return ConfigurationError(f"{self._where}: {field} {problem}")

    def text(self, field: str) -> str:
        value = self._take(field)
        if not isinstance(value, str):
            raise self._error(field, "must be text")
        if "\0" in value:
            raise self._error(field, "has a NUL character in it")
        return value.strip()

    def name(self, field: str) -> str:
        value = self.text(field)
        if not value:
            raise self._error(field, "is missing: give the function a name, such as `name: hello`")
        if not _NAME.fullmatch(value) or len(value.encode()) > 255:
            raise self._error(field, f"may have letters, digits, _ and -, at most 255 bytes, not {value!r}")
        return value

    def number(self, field: str, least: int, most: int, unit: str = "") -> int:
        return self.number_if_said(field, least, most, unit) or 0

    def number_if_said(self, field: str, least: int, most: int, unit: str = "") -> int | None:
        value = self.text(field)
        if not value:
            return None
        if not re.fullmatch(r"[0-9]{1,9}", value) or not least <= int(value) <= most:
            what = f"number of {unit}" if unit else "number"
            raise self._error(field, f"must be a whole {what} from {least} to {most}, not {value!r}")
        return int(value)

    def boolean(self, field: str) -> bool:
        value = self.text(field)
        if value.lower() not in ("", "true", "false"):
            raise self._error(field, f"must be true or false, not {value!r}")
        return value.lower() == "true"

    def words(self, field: str) -> tuple[str, ...]:
        value = self._take(field)
        if isinstance(value, str):
            try:
                words: Sequence[Any] = shlex.split(value)
            except ValueError as error:
                raise self._error(field, f"cannot be split into words: {error}") from error
        else:
            words = value
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise self._error(field, "must be a command line or a list of words")
        if any("\0" in word for word in words) or (words and not words[0]):
            raise self._error(field, "has an empty command or a NUL character in it")
        return tuple(words)

    def strings(self, field: str) -> Mapping[str, str]:
        value = self._take(field) or {}
        if not isinstance(value, dict):
            raise self._error(field, "must be a mapping of names to values")
        for key, entry in value.items():
            if not isinstance(key, str) or not _CONFIG_KEY.fullmatch(key):
                raise self._error(field, f"has {key!r}, which is no name for an environment variable")
            if not isinstance(entry, str) or "\0" in entry:
                raise self._error(f"{field}.{key}", "must be text")
        return value

    def annotations(self, field: str, typed: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._take(field):
            return {}
        value = typed[field]
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise self._error(field, "must be a mapping of names to JSON values")
        for key, entry in value.items():
            if not _is_json(entry):
                raise self._error(f"{field}.{key}", "must be a JSON value (a date needs quotes)")
        return value

    def triggers(self, field: str) -> tuple[FunctionTrigger, ...]:
        value = self._take(field) or []
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise self._error(field, "must be a list of triggers, each with name, type and source")
        return tuple(self._trigger(f"{field}[{index}]", entry) for index, entry in enumerate(value))

    def _trigger(self, field: str, entry: Mapping[str, Any]) -> FunctionTrigger:
        reader = _Reader(entry, f"{self._where}: {field}")
        trigger = FunctionTrigger(
            name=reader.name("name"), type=reader.text("type") or "http", source=reader.text("source")
        )
        reader.finish()
        if not trigger.source.startswith("/"):
            raise self._error(f"{field}: source", f"must start with /, not {trigger.source!r}")
        return trigger

    def known(self, fields: frozenset[str]) -> tuple[str, ...]:
        """Take these fields whatever they hold; return those that are there."""
        self._known |= fields
        return tuple(sorted(field for field in fields if self._fields.pop(field, None) is not None))

    def finish(self) -> None:
        for field in self._fields:
            close = difflib.get_close_matches(str(field), self._known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(self._known - _IGNORED))}"
            raise ConfigurationError(f"{self._where}: unknown field {field!r}; {hint}")


def _is_json(value: object) -> bool:
    match value:
        case None | bool() | int() | str():
            return True
        case float():
            return value == value and abs(value) != float("inf")
        case list():
            return all(_is_json(entry) for entry in value)
        case dict():
            return all(isinstance(key, str) and _is_json(entry) for key, entry in value.items())
        case _:
            return False
