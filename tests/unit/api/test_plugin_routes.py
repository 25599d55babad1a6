"""Plugins' own routes: mounted under their names, and apart from the daemon in all that they do wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from fnd.api import plugin_routes
from fnd.api.plugin_routes import PluginRoutes
from fnd.hookspecs import ASGIApplication, Receive, Scope, Send
from fnd.plugins import Plugin
from tests.http_caller import Answer, Serving, serving


@pytest.fixture
def plugin() -> Plugin:
    plugin = Plugin("out-sider", "", "")
    plugin.offers.append("routes /plugins/out-sider")
    return plugin


@asynccontextmanager
async def mounted(applications: Mapping[Plugin, ASGIApplication]) -> AsyncIterator[Serving]:
    routes = PluginRoutes()
    async with routes.mounting(applications), serving(routes) as here:
        yield here


async def ask(here: Serving, target: bytes) -> Answer:
    caller = await here.caller()
    answer = await caller.ask(target=target)
    caller.close()
    return answer


async def respond(send: Send, body: bytes = b"", status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status})
    await send({"type": "http.response.body", "body": body})


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what was asked for; knows no lifespan."""
    if scope["type"] != "http":
        raise NotImplementedError
    await respond(send, json.dumps([scope["path"], scope["root_path"]]).encode())


@pytest.mark.parametrize("path", ["/plugins/out-sider", "/plugins/out-sider/", "/plugins/out-sider/a/b"])
async def test_an_application_is_asked_for_what_is_below_its_name(plugin: Plugin, path: str) -> None:
    async with mounted({plugin: tell}) as here:
        answer = await ask(here, path.encode() + b"?x=1")
    assert (answer.status, json.loads(answer.body)) == (200, [path, "/plugins/out-sider"])


@pytest.mark.parametrize("target", [b"/plugins/other/a", b"/plugins/", b"/plugins/out-sider2", b"/plugins/out"])
async def test_what_no_plugin_has_is_not_found(plugin: Plugin, target: bytes) -> None:
    async with mounted({plugin: tell}) as here:
        assert (await ask(here, target)).status == 404


async def raises(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        raise LookupError("no such thing")


async def exits(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        sys.exit(3)


async def says_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("application", "error"),
    [
        (raises, "GET /plugins/out-sider/a: LookupError: no such thing"),
        (exits, "GET /plugins/out-sider/a: RuntimeError: it raised SystemExit(3)"),
        (says_nothing, "GET /plugins/out-sider/a: RuntimeError: the application returned without an answer"),
    ],
)
async def test_what_goes_wrong_in_one_is_its_plugins_and_the_others_answer(
    plugin: Plugin, application: ASGIApplication, error: str
) -> None:
    async with mounted({plugin: application, Plugin("other", "", ""): tell}) as here:
        answer = await ask(here, b"/plugins/out-sider/a")
        assert (answer.status, json.loads(answer.body)) == (500, {"message": "internal server error"})
        assert (await ask(here, b"/plugins/other")).status == 200
    (trouble,) = plugin.status().troubles
    assert (trouble.where, trouble.error) == ("routes", error)


async def test_a_caller_that_hangs_up_is_nobodys_trouble(plugin: Plugin) -> None:
    asked, cancelled = trio.Event(), trio.Event()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            asked.set()
            try:
                await trio.sleep_forever()
            finally:
                cancelled.set()

    async with mounted({plugin: waits}) as here:
        caller = await here.caller()
        await caller.send(b"GET /plugins/out-sider/ HTTP/1.1\r\nHost: here\r\n\r\n")
        await asked.wait()
        caller.close()
        await cancelled.wait()
    assert plugin.status().state == "in use"


class Lives:
    """Knows the lifespan protocol, and says how far it has come."""

    def __init__(self, start: str = "startup.complete", stop: str = "shutdown.complete") -> None:
        self.told: list[str] = []
        self._says = {"lifespan.startup": start, "lifespan.shutdown": stop}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await respond(send)
            return
        while True:
            told = (await receive())["type"]
            self.told.append(told)
            says = self._says[told]
            if says == "hangs":
                await trio.sleep_forever()
            if says == "raises":
                raise LookupError("no luck")
            await send({"type": f"lifespan.{says}", "message": "no room"})
            if told == "lifespan.shutdown":
                return


async def test_an_application_is_started_and_stopped(plugin: Plugin) -> None:
    lives = Lives()
    async with mounted({plugin: lives}) as here:
        assert lives.told == ["lifespan.startup"]
        assert (await ask(here, b"/plugins/out-sider")).status == 200
    assert lives.told == ["lifespan.startup", "lifespan.shutdown"]
    assert plugin.status().state == "in use"


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ("startup.failed", "The application failed to start: no room"),
        ("raises", "The application failed to start: LookupError('no luck')"),
        ("hangs", "the application did not start within 0.05 s"),
    ],
)
async def test_one_that_cannot_start_is_not_mounted_and_the_daemon_goes_on(
    plugin: Plugin, monkeypatch: pytest.MonkeyPatch, says: str, error: str
) -> None:
    monkeypatch.setattr(plugin_routes, "LIFESPAN_SECONDS", 0.05)
    async with mounted({plugin: Lives(start=says), Plugin("other", "", ""): tell}) as here:
        assert (await ask(here, b"/plugins/out-sider")).status == 404
        assert (await ask(here, b"/plugins/other")).status == 200
        (trouble,) = plugin.status().troubles
        assert error in trouble.error
        assert plugin.status().offers == ()


@pytest.mark.parametrize("says", ["shutdown.failed", "raises", "hangs"])
async def test_one_that_cannot_stop_keeps_the_daemon_from_nothing(
    plugin: Plugin, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    lives: Any = Lives(stop=says)
    async with mounted({plugin: lives}):
        monkeypatch.setattr(plugin_routes, "LIFESPAN_SECONDS", 0.05)
    (trouble,) = plugin.status().troubles
    assert "stop" in trouble.error
