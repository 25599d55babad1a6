"""Whatever is asked of the management API, it answers, never with a fault of its own, and always in JSON.

Two ways to ask: bytes that a hostile caller might send to any route, and what schemathesis makes of the API's own
document, to which it also holds the answers. The application runs under trio in a thread of its own, over one
store for all that is asked.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import attrs
import httpx
import pytest
import schemathesis
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.management import Answer, Management, exchange, managing


@attrs.define
class Running:
    """The API, running in another thread."""

    management: Management
    token: trio.lowlevel.TrioToken
    known: dict[bytes, bytes]
    """What stands for an id in a request that is made up, and an id that is there."""

    def exchange(self, *request: Any) -> Answer:
        """Ask, as `tests.management.exchange` does."""
        return trio.from_thread.run(exchange, self.management.application, *request, trio_token=self.token)

    def check_catalog(self) -> None:
        """Check that the catalog is as the store."""
        trio.from_thread.run(self.management.check_catalog, trio_token=self.token)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    started: SimpleQueue[Running] = SimpleQueue()
    finish: list[trio.Event] = []

    async def run(directory: Path) -> None:
        finish.append(trio.Event())
        async with managing(directory) as management:
            app = await management.ask("POST", "/v2/apps", {"name": "known"})
            new = {"name": "known", "app_id": app["id"]}
            fn = await management.ask("POST", "/v2/fns", new | {"image": "process:///x"})
            trigger = await management.ask("POST", "/v2/triggers", new | {"fn_id": fn["id"], "source": "/x"})
            known = {b"APP-ID": app, b"FN-ID": fn, b"TRIGGER-ID": trigger}
            ids = {name: entity["id"].encode() for name, entity in known.items()}
            started.put(Running(management, trio.lowlevel.current_trio_token(), ids))
            await finish[0].wait()

    thread = threading.Thread(target=trio.run, args=(run, tmp_path_factory.mktemp("management")))
    thread.start()
    running = started.get(timeout=60)
    yield running
    running.check_catalog()
    running.token.run_sync_soon(finish[0].set)
    thread.join()


def check_answer(method: str, answer: Answer) -> None:
    """Check what holds for every answer."""
    assert 200 <= answer.status < 500, answer
    content_type = answer.header(b"content-type") or b""
    if method == "HEAD" or answer.status == 204:
        assert answer.body == b""
    elif answer.status >= 400:
        assert content_type == b"application/json; charset=utf-8"
        problem = json.loads(answer.body)
        assert list(problem) == ["message"]
        assert problem["message"]
        assert "Traceback" not in problem["message"]
    elif content_type == b"application/json":
        json.loads(answer.body)
    elif content_type == b"application/x-ndjson":
        assert all(json.loads(line) for line in answer.body.splitlines())
    else:
        assert content_type.startswith((b"text/plain; version=", b"application/openmetrics-text;")), answer


EXAMPLES = settings().max_examples

# Bytes.

PATHS = (
    *(b"/", b"/version", b"/metrics", b"/openapi.json", b"/v2/apps", b"/v2/fns", b"/v2/triggers"),
    *(b"/v2/apps/APP-ID", b"/v2/fns/FN-ID", b"/v2/triggers/TRIGGER-ID"),
    *(b"/control/status", b"/control/pools", b"/control/drain", b"/control/reload", b"/control/stop"),
    *(b"/control/logs", b"/control/events", b"/control/build"),
)
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "TRACE", "BREW")
ROUTES = (
    *(("GET", path) for path in PATHS[:10]),
    *(("POST", path) for path in (b"/v2/apps", b"/v2/fns", b"/v2/triggers", b"/control/build")),
    *(("PUT", path) for path in (b"/v2/apps/APP-ID", b"/v2/fns/FN-ID", b"/v2/triggers/TRIGGER-ID")),
)
PARAMETERS = (
    *(b"cursor", b"per_page", b"name", b"app_id", b"fn_id"),
    *(b"fn", b"app", b"call", b"follow", b"lines", b"driver"),
)
CONTENT_TYPES = (b"application/json", b"text/plain", b"multipart/form-data", b"x/y+json", b";;;", b"\xff", b"")
ODD_PATHS = (
    *(b"APP-ID", b"FN-ID", b"TRIGGER-ID", b"01M8898J6SHK87BP1H7T00SP2X"),
    *(b"..", b".", b"", b"%00", b"%2f", b"%ed%a0%80", b"{app_id}"),
)
ODD_TEXTS = (
    *("APP-ID", "FN-ID", "TRIGGER-ID", "a", "/a", "http", "http-stream", "process:///x"),
    *("", "\0", "\u202e", "é" * 128, "a" * 256),
)
RIGHT: dict[str, Any] = {"app_id": "APP-ID", "fn_id": "FN-ID", "image": "process:///x", "type": "http"}
"""Enough for an app, a fn and a trigger; each ignores the fields of the others."""

raw = st.binary(max_size=40)
path_parts = st.sampled_from(ODD_PATHS) | raw
queries = st.one_of(
    st.just(b""),
    raw,
    st.lists(st.tuples(st.sampled_from(PARAMETERS), raw), max_size=3).map(
        lambda pairs: b"&".join(name + b"=" + value for name, value in pairs)
    ),
)
odd_paths = st.builds(
    lambda path, parts: path + b"".join(b"/" + part.replace(b"?", b"") for part in parts),
    st.sampled_from(PATHS),
    st.lists(path_parts, max_size=2),
)
routes = st.sampled_from(ROUTES) | st.tuples(st.sampled_from(METHODS), odd_paths)
texts = st.text(max_size=300) | st.sampled_from(ODD_TEXTS)
words = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
FIELDS = {
    **dict.fromkeys(("id", "app_id", "fn_id", "type", "image", "format", "syslog_url", "shape"), texts),
    **dict.fromkeys(("memory", "timeout", "idle_timeout"), st.integers(-10, 10_000) | st.integers()),
    "name": words | texts,
    "source": words.map(lambda word: f"/{word}") | texts,
    "config": st.dictionaries(words | texts, texts | st.none(), max_size=3),
    "annotations": st.dictionaries(words | texts, values, max_size=3),
}
right_bodies = st.builds(
    lambda name, more: RIGHT | {"name": name, "source": f"/{name}"} | more,
    words,
    st.just({}) | st.fixed_dictionaries({}, optional=FIELDS),
)
wrong_bodies = st.dictionaries(st.sampled_from(list(FIELDS)) | texts, values, max_size=5) | values
bodies = st.one_of(
    st.one_of(right_bodies, wrong_bodies).map(
        lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    ),
    st.one_of(right_bodies, wrong_bodies).map(lambda value: json.dumps(value).encode()),
    raw,
)
no_headers: list[tuple[bytes, bytes]] = []
headers = st.just(no_headers) | st.lists(
    st.one_of(
        st.tuples(st.just(b"content-type"), st.sampled_from(CONTENT_TYPES)),
        st.tuples(st.sampled_from([b"host", b"accept", b"content-type", b"content-length", b"cookie"]), raw),
    ),
    max_size=3,
)


@settings(max_examples=4 * EXAMPLES)
@given(
    route=routes,
    query=queries,
    headers=headers,
    body=bodies,
    cut=st.integers(0, 40),
    cut_short=st.just(False) | st.booleans(),
)
def test_whatever_bytes_are_sent_the_answer_is_json_and_no_fault(
    running: Running,
    route: tuple[str, bytes],
    query: bytes,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    cut: int,
    cut_short: bool,
) -> None:
    method, path = route
    target = path + b"?" + query
    for name, known in running.known.items():
        target, body = target.replace(name, known), body.replace(name, known)
    check_answer(method, running.exchange(method, target, headers, [body[:cut], body[cut:]], cut_short))


# Changes that make sense.

NAMES = st.sampled_from(["a", "b", "c"])
CHANGES = st.one_of(
    st.tuples(st.just("POST"), st.sampled_from(["apps", "fns", "triggers"]), NAMES, NAMES),
    st.tuples(st.just("PUT"), st.sampled_from(["apps", "fns", "triggers"]), NAMES, NAMES),
    st.tuples(st.just("DELETE"), st.sampled_from(["apps", "fns", "triggers"]), NAMES, NAMES),
)


@settings(max_examples=EXAMPLES // 2)
@given(st.lists(CHANGES, min_size=5, max_size=25))
def test_whatever_is_changed_the_catalog_is_as_the_store(
    running: Running, changes: list[tuple[str, str, str, str]]
) -> None:
    async def make_changes(management: Management) -> None:
        ids: dict[tuple[str, str], str] = {}
        for method, noun, name, other in changes:
            await _change(management, ids, method, noun, name, other)
        await management.check_catalog()

    trio.from_thread.run(make_changes, running.management, trio_token=running.token)


async def _change(
    management: Management, ids: dict[tuple[str, str], str], method: str, noun: str, name: str, other: str
) -> None:
    """Make one change to the entity by that name, or try to; `other` is what it is changed to or belongs to."""
    body: dict[str, Any] = {"config": {name: other}, "annotations": {other: name}}
    if noun == "fns":
        body |= {"name": name, "app_id": ids.get(("apps", other)), "image": f"process:///{other}"}
    elif noun == "triggers":
        body |= {"name": name, "app_id": ids.get(("apps", other)), "fn_id": ids.get(("fns", other))}
        body |= {"source": f"/{other}"}
    path = f"/v2/{noun}"
    if method == "POST":
        body["name"] = name
    else:
        path += f"/{ids.get((noun, name), 'none')}"
        body.pop("app_id", None)
    response = await management.client.request(method, path, json=body if method != "DELETE" else None)
    assert response.status_code < 500
    if method == "POST" and response.status_code == 200:
        ids[noun, name] = response.json()["id"]


# The API's own document.

# Not those that expect every rule to be in the document: names that are taken, what is needed on create.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def operations(running: Running) -> list[Any]:
    document = json.loads(running.exchange("GET", b"/openapi.json").body)
    found = schemathesis.openapi.from_dict(document).get_all_operations()
    return [operation.ok() for operation in found if isinstance(operation, Ok)]


@settings(suppress_health_check=list(HealthCheck))
@given(st.data(), st.sampled_from(list(GenerationMode)))
def test_whatever_the_document_allows_or_not_the_answer_is_as_documented(
    running: Running, operations: list[Any], data: st.DataObject, mode: GenerationMode
) -> None:
    case = data.draw(data.draw(st.sampled_from(operations)).as_strategy(generation_mode=mode))
    arguments = case.as_transport_kwargs(base_url="http://fnd.test")
    request = httpx.Request(content=arguments.pop("data", None), **arguments)
    answer = running.exchange(request.method, request.url.raw_path, request.headers.raw, [request.content])
    check_answer(request.method, answer)
    response = httpx.Response(answer.status, headers=answer.headers, content=answer.body, request=request)
    response.elapsed = timedelta()
    case.validate_response(response, checks=CHECKS)
