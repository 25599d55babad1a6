"""A real daemon for a test, and functions in it: what `fnd serve`, `fnd deploy` and a caller over HTTP do."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import attrs
import httpx
from rich.console import Console

from fnd.cli.client import Daemon
from fnd.cli.deployment import base_url, deploy_directory
from fnd.cli.init import make_function
from fnd.cli.own_daemon import OwnDaemon
from fnd.cli.progress import Progress

CALL_SECONDS: Final = 60.0
LOG_TAIL: Final = 20_000
"""Characters of its log that are shown if a test fails."""


@attrs.frozen
class Deployed:
    """A function in service."""

    daemon: RunningDaemon
    fn: Mapping[str, Any]
    """Its definition, as the daemon has it."""
    url: str

    def call(
        self, body: bytes | str | Iterable[bytes] = b"", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Call it over HTTP, as any caller does; return the answer, whatever its status."""
        return httpx.post(self.url, content=body, headers=dict(headers or {}), timeout=CALL_SECONDS, trust_env=False)

    def log(self, lines: int = 1000) -> str:
        """Return the end of what its containers have written; what they write last is there a moment later."""
        found = self.daemon.control.lines("GET", "/control/logs", fn=self.fn["id"], lines=lines)
        return "".join(f"{line['text']}\n" for line in found)

    def containers(self) -> list[Mapping[str, Any]]:
        """Return its containers, as `fnd top` shows them."""
        pools = self.daemon.control.get("/control/pools")["pools"]
        return [container for pool in pools if pool["fn_id"] == self.fn["id"] for container in pool["containers"]]


@attrs.frozen
class RunningDaemon:
    """A daemon that is ready. It may be asked in any thread, by one at a time, and blocks: in trio, use a thread."""

    own: OwnDaemon
    """Its process and its directories."""
    control: Daemon
    """Its control socket: `control.get("/control/status")` is what `fnd status` shows."""
    url: str
    """Where callers reach it: http://127.0.0.1:PORT."""

    @property
    def log(self) -> str:
        """What it has logged."""
        return self.own.written()

    def deploy(self, directory: Path, app: str = "test", driver: str | None = None, **fields: Any) -> Deployed:
        """Build a function's directory and put it into service, as `fnd deploy --create-app` does.

        `fields` of the fn are set beside what func.yaml says: config={"KEY": "value"}, memory=256. Raises
        ConfigurationError for a wrong func.yaml and CommandError if it cannot be built, both with what was said.
        """
        progress = Progress(Console(file=io.StringIO()))
        done = deploy_directory(self.control, directory, app, progress, create_app=True, driver=driver)
        fn = self.control.put(f"/v2/fns/{done.fn['id']}", fields) if fields else done.fn
        return Deployed(self, fn, done.invoke_url)

    def function(self, name: str, image: str, app: str = "test", **fields: Any) -> Deployed:
        """Make a function of an image that is there already, such as "mock://echo"."""
        apps = {one["name"]: one["id"] for one in self.control.items("/v2/apps")}
        app_id = apps.get(app) or self.control.post("/v2/apps", {"name": app})["id"]
        fn = self.control.post("/v2/fns", {"name": name, "app_id": app_id, "image": image, **fields})
        return Deployed(self, fn, f"{self.url}/invoke/{fn['id']}")

    def delete_app(self, app: str) -> None:
        """Delete an app with its functions, if there is one."""
        for one in self.control.items("/v2/apps", name=app):
            self.control.delete(f"/v2/apps/{one['id']}")


class Deploy(Protocol):
    """Puts a function into service for one test."""

    def __call__(self, directory: Path | str, *, driver: str | None = None, **fields: Any) -> Deployed:
        """Build a function's directory and put it into service; `fields` of the fn are set beside what func.yaml says.

        Raises CommandError, with what the build said, if it cannot be built.
        """


def example(directory: Path, runtime: str = "json") -> Path:
    """Make a function in a directory, as `fnd init --runtime` does, and return the directory.

    It answers {"name": "Ada"} with {"message": "Hello, Ada"}. The runtimes `command` (format http-stream) and `json`
    need nothing but a Python; `shell` needs a shell and jq.
    """
    make_function(directory, runtime, "hello")
    return directory


@contextmanager
def running_daemon(
    settings: str = "",
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    within: Sequence[str] = (),
) -> Iterator[RunningDaemon]:
    """Run a daemon while in the context: in directories and on a port of its own, with the plugins installed here.

    `settings` is the content of its configuration file. `directory`, if it is to be kept, must have a path short enough
    for sockets. `environment` is what it has beside ours, `within` a command that executes the one that follows it,
    with limits for instance. At the end it is stopped; raises CommandError, with the end of its log, if it does not
    start, or does not end well. If the body raises, its log is printed.
    """
    with OwnDaemon(directory, settings, environment=environment, within=within, adopt=False) as own:
        own.start()
        assert own.process is not None
        try:
            with own.client() as control:
                url = base_url(control.get("/control/status")["listeners"])
                yield RunningDaemon(own, control, url)
        except BaseException:
            print(own.written()[-LOG_TAIL:], file=sys.stderr)  # for whoever reads the failure
            raise
        if own.process.poll() is None:
            own.stop()
