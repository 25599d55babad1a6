"""From a function's directory to a function in service: what `fnd deploy` and `fnd demo` do."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs

from fnd.bundle import FunctionFile, find_function_file, read_function_file
from fnd.cli.client import Daemon
from fnd.cli.exits import BadUsage, CommandError
from fnd.cli.lookup import NoSuchThing, find_app, find_fn, find_trigger
from fnd.cli.options import given
from fnd.cli.progress import Progress
from fnd.cli.source import pack


@attrs.frozen(kw_only=True)
class Deployment:
    """A function in service."""

    app: dict[str, Any]
    fn: dict[str, Any]
    created: bool
    """Whether there was no such function before."""
    triggers: tuple[dict[str, Any], ...]
    invoke_url: str
    trigger_urls: tuple[str, ...]


def deploy_directory(
    daemon: Daemon,
    directory: Path,
    app_name: str,
    progress: Progress,
    *,
    create_app: bool = False,
    driver: str | None = None,
    with_triggers: bool = True,
) -> Deployment:
    """Build `directory` and make it the function that its func.yaml names, with its triggers.

    Raises ConfigurationError for a wrong func.yaml, and CommandError for what goes wrong later; what was in service
    before stays in service unless the new image was built.
    """
    if not directory.is_dir():
        raise BadUsage(f"{directory} is not a directory")
    file = read_function_file(find_function_file(directory))
    for field in file.ignored:
        progress.say(f"func.yaml: {field} means nothing here and is not used")
    app = _app(daemon, app_name, create_app)
    image = _build(daemon, directory, file, driver, progress)
    with progress.step(f"Putting {file.name} into service", f"{file.name} is in service in {app_name}"):
        fn, created = _put_fn(daemon, app, file, image)
        triggers = _put_triggers(daemon, app, fn, file) if with_triggers else ()
        base = base_url(daemon.get("/control/status")["listeners"])
    return Deployment(
        app=app,
        fn=fn,
        created=created,
        triggers=triggers,
        invoke_url=f"{base}/invoke/{fn['id']}",
        trigger_urls=tuple(f"{base}/t/{quote(app_name)}{quote(trigger['source'])}" for trigger in triggers),
    )


def base_url(listeners: Sequence[str]) -> str:
    """Return the URL of the first listener that has one; "" if callers come through Unix sockets alone."""
    for listener in listeners:
        if not listener.startswith("unix:"):
            host, _, port = listener.rpartition(":")
            host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - read, not bound
            return f"http://{host}:{port}"
    return ""


def _app(daemon: Daemon, name: str, create: bool) -> dict[str, Any]:
    try:
        return find_app(daemon, name)
    except NoSuchThing:
        if not create:
            raise NoSuchThing(f"There is no app {name!r}: add --create-app, or fnd apps create {name}") from None
    created: dict[str, Any] = daemon.post("/v2/apps", {"name": name})
    return created


def _build(daemon: Daemon, directory: Path, file: FunctionFile, driver: str | None, progress: Progress) -> str:
    with tempfile.TemporaryFile() as archive:
        with progress.step(f"Packing {directory}", f"packed {directory}"):
            pack(directory, archive, lambda line: progress.say(f"left out {line}"))
            size = archive.tell()
            archive.seek(0)
        with progress.step(f"Building {file.name} ({size // 1024} KiB)", f"built {file.name}"):
            for line in daemon.lines("POST", "/control/build", archive, driver=driver):
                if "error" in line:
                    raise CommandError(f"{file.name} could not be built: {line['error']}")
                if "image" in line:
                    return str(line["image"])
                progress.detail(line["progress"])
    raise CommandError(f"The daemon ended the build of {file.name} without a result; its log has the cause")


def _put_fn(daemon: Daemon, app: dict[str, Any], file: FunctionFile, image: str) -> tuple[dict[str, Any], bool]:
    definition = given(
        image=image,
        format=file.format,
        memory=file.memory or None,
        timeout=file.timeout or None,
        idle_timeout=file.idle_timeout or None,
        cpu=file.cpu,
        min_warm=file.min_warm,
        max_containers=file.max_containers,
        concurrency=file.concurrency,
        config=dict(file.config) or None,
        annotations=dict(file.annotations) or None,
    )
    try:
        existing = find_fn(daemon, app, file.name)
    except NoSuchThing:
        return daemon.post("/v2/fns", {"app_id": app["id"], "name": file.name, **definition}), True
    return daemon.put(f"/v2/fns/{existing['id']}", definition), False


def _put_triggers(
    daemon: Daemon, app: dict[str, Any], fn: dict[str, Any], file: FunctionFile
) -> tuple[dict[str, Any], ...]:
    triggers = []
    for wanted in file.triggers:
        try:
            existing = find_trigger(daemon, app, wanted.name)
        except NoSuchThing:
            body = {"app_id": app["id"], "fn_id": fn["id"], **attrs.asdict(wanted)}
            triggers.append(daemon.post("/v2/triggers", body))
            continue
        if existing["fn_id"] != fn["id"]:
            raise CommandError(
                f"App {app['name']!r} has a trigger {wanted.name!r} of another function: "
                f"rename it in func.yaml, or fnd triggers delete {app['name']} {wanted.name}"
            )
        triggers.append(daemon.put(f"/v2/triggers/{existing['id']}", {"source": wanted.source}))
    return tuple(triggers)
