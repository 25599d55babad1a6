"""Fn's REST interface as its clients meet it: statuses, lists, patches, and a catalog that is never behind."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from fnd.runtime.events import EventKind
from tests.management import Management, exchange, managing

NOUNS = ("apps", "fns", "triggers")


@pytest.fixture
async def management(tmp_path: Path) -> AsyncIterator[Management]:
    async with managing(tmp_path) as management:
        yield management


async def create(management: Management, name: str = "shop") -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Create an app with a fn and a trigger, all of one name."""
    app = await management.ask("POST", "/v2/apps", {"name": name})
    fn = await management.ask("POST", "/v2/fns", {"name": name, "app_id": app["id"], "image": "process:///x"})
    body = {"name": name, "app_id": app["id"], "fn_id": fn["id"], "type": "http", "source": f"/{name}"}
    return app, fn, await management.ask("POST", "/v2/triggers", body)


async def test_what_is_created_is_answered_whole_and_read_back_the_same(management: Management) -> None:
    app, fn, trigger = await create(management)
    assert set(app) == {
        *("id", "name", "config", "annotations", "syslog_url", "shape"),
        *("created_at", "updated_at"),
    }
    assert set(fn) == {
        *("id", "name", "app_id", "image", "format", "memory", "timeout", "idle_timeout"),
        *("cpu", "min_warm", "max_containers", "concurrency"),
        *("config", "annotations", "shape", "created_at", "updated_at"),
    }
    assert set(trigger) == {
        *("id", "name", "app_id", "fn_id", "type", "source", "annotations"),
        *("created_at", "updated_at"),
    }
    assert (fn["memory"], fn["timeout"], fn["idle_timeout"], fn["format"]) == (128, 30, 30, "http-stream")
    assert app["created_at"] == app["updated_at"]
    assert app["created_at"].endswith("Z")
    for noun, entity in zip(NOUNS, (app, fn, trigger), strict=True):
        assert await management.ask("GET", f"/v2/{noun}/{entity['id']}") == entity
        assert await management.ask("GET", f"/v2/{noun}") == {"items": [entity]}
    await management.check_catalog()


async def test_an_app_or_fn_that_is_not_there_cannot_be_referred_to(management: Management) -> None:
    app, fn, _ = await create(management)
    other = await management.ask("POST", "/v2/apps", {"name": "other"})
    new_fn = {"name": "f", "app_id": "none", "image": "i"}
    assert await management.refusal("POST", "/v2/fns", new_fn) == (404, "App not found")
    new = {"name": "t", "app_id": app["id"], "fn_id": fn["id"], "type": "http", "source": "/x"}
    assert await management.refusal("POST", "/v2/triggers", new | {"app_id": "none"}) == (404, "App not found")
    assert await management.refusal("POST", "/v2/triggers", new | {"fn_id": "none"}) == (404, "Fn not found")
    not_owned = (400, "Invalid Fn ID - not owned by specified app")
    assert await management.refusal("POST", "/v2/triggers", new | {"app_id": other["id"]}) == not_owned


async def test_a_name_or_source_that_is_taken_is_a_conflict(management: Management) -> None:
    app, fn, _ = await create(management)
    assert await management.refusal("POST", "/v2/apps", {"name": "shop"}) == (409, "App already exists")
    new_fn = {"name": "shop", "app_id": app["id"], "image": "i"}
    assert await management.refusal("POST", "/v2/fns", new_fn) == (409, "Fn with specified name already exists")
    new = {"name": "shop", "app_id": app["id"], "fn_id": fn["id"], "type": "http", "source": "/x"}
    assert await management.refusal("POST", "/v2/triggers", new) == (409, "Trigger already exists")
    same_source = (409, "Trigger with the same type and source exists on this app")
    assert await management.refusal("POST", "/v2/triggers", new | {"name": "x", "source": "/shop"}) == same_source
    second = await management.ask("POST", "/v2/triggers", new | {"name": "second"})
    taken = await management.refusal("PUT", f"/v2/triggers/{second['id']}", {"source": "/shop"})
    assert taken == same_source
    await management.check_catalog()


async def test_an_unknown_id_is_not_found(management: Management) -> None:
    for noun, message in (("apps", "App not found"), ("fns", "Fn not found"), ("triggers", "Trigger not found")):
        for unknown in ("01JAPP0000000000000000NONE", "%C3%A9", "%ff%fe", "a%00b", "%ed%a0%80", "x" * 5000):
            for method, body in (("GET", None), ("PUT", {}), ("DELETE", None)):
                assert await management.refusal(method, f"/v2/{noun}/{unknown}", body) == (404, message)


async def test_deleting_answers_204_and_takes_along_what_belongs_to_it(management: Management) -> None:
    app, fn, trigger = await create(management)
    other = await create(management, "other")
    assert await management.ask("DELETE", f"/v2/triggers/{trigger['id']}", status=204) is None
    assert await management.refusal("GET", f"/v2/triggers/{trigger['id']}") == (404, "Trigger not found")
    assert await management.ask("DELETE", f"/v2/fns/{fn['id']}", status=204) is None
    assert management.catalog.fn(fn["id"]) is None
    assert await management.ask("DELETE", f"/v2/apps/{other[0]['id']}", status=204) is None
    assert await management.refusal("GET", f"/v2/fns/{other[1]['id']}") == (404, "Fn not found")
    assert await management.refusal("GET", f"/v2/triggers/{other[2]['id']}") == (404, "Trigger not found")
    assert await management.ask("GET", "/v2/apps") == {"items": [app]}
    await management.check_catalog()


# Lists.


async def test_a_list_comes_in_pages_by_name(management: Management) -> None:
    for name in ("b", "d", "a", "c", "e"):
        await management.ask("POST", "/v2/apps", {"name": name})
    names: list[str] = []
    query: dict[str, Any] = {"per_page": "2"}
    for expected in (2, 2, 1):
        page = await management.ask("GET", "/v2/apps", **query)
        assert len(page["items"]) == expected
        names += [app["name"] for app in page["items"]]
        query["cursor"] = page.get("next_cursor", "")
    assert names == ["a", "b", "c", "d", "e"]
    assert "next_cursor" not in page


async def test_a_page_size_out_of_range_falls_back(management: Management, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    listing = management.store.apps.list

    async def spy(query: Any) -> Any:
        asked.append(query.per_page)
        return await listing(query)

    monkeypatch.setattr(management.store.apps, "list", spy)
    table = {"": 30, "1": 1, "100": 100, "101": 100, "9" * 5000: 30, "0": 30, "-1": 30, "x": 30, "1.5": 30}
    for per_page in table:
        await management.ask("GET", "/v2/apps", per_page=per_page)
    assert asked == list(table.values())


async def test_a_cursor_that_is_none_is_refused(management: Management) -> None:
    for noun in NOUNS:
        status, message = await management.refusal("GET", f"/v2/{noun}", cursor="*")
        assert (status, message[:14]) == (400, "Invalid cursor")


async def test_lists_are_narrowed_by_name_app_and_fn(management: Management) -> None:
    one, two = await create(management, "one"), await create(management, "two")
    assert await management.ask("GET", "/v2/apps", name="two") == {"items": [two[0]]}
    assert await management.ask("GET", "/v2/fns", app_id=one[0]["id"]) == {"items": [one[1]]}
    assert await management.ask("GET", "/v2/fns", app_id=one[0]["id"], name="two") == {"items": []}
    assert await management.ask("GET", "/v2/triggers", fn_id=two[1]["id"]) == {"items": [two[2]]}
    assert await management.ask("GET", "/v2/triggers", app_id=one[0]["id"], name="one") == {"items": [one[2]]}
    assert await management.ask("GET", "/v2/triggers", app_id="none") == {"items": []}


# Updates.


async def test_an_update_merges_and_moves_the_time_only_when_something_changed(management: Management) -> None:
    app, _, _ = await create(management)
    path = f"/v2/apps/{app['id']}"
    changed = await management.ask("PUT", path, {"config": {"A": "1", "B": "2"}, "annotations": {"x": {"y": [1]}}})
    assert (changed["config"], changed["annotations"]) == ({"A": "1", "B": "2"}, {"x": {"y": [1]}})
    assert changed["updated_at"] > app["updated_at"]
    assert changed["created_at"] == app["created_at"]
    merged = await management.ask("PUT", path, {"config": {"A": "", "C": "3"}, "annotations": {"x": None}})
    assert (merged["config"], merged["annotations"]) == ({"B": "2", "C": "3"}, {})
    assert await management.ask("PUT", path, merged) == merged
    assert await management.ask("PUT", path, {}) == merged
    assert await management.ask("GET", path) == merged
    await management.check_catalog()


async def test_what_a_client_read_it_can_write_back_unchanged(management: Management) -> None:
    entities = await create(management)
    for noun, entity in zip(NOUNS, entities, strict=True):
        assert await management.ask("PUT", f"/v2/{noun}/{entity['id']}", entity) == entity
    contents = await management.store.load()
    assert contents.fns[0].annotations == {}
    assert contents.triggers[0].annotations == {}


async def test_what_cannot_change_is_refused(management: Management) -> None:
    app, fn, trigger = await create(management)
    put = management.refusal
    app_path, fn_path, trigger_path = (
        f"/v2/{noun}/{entity['id']}" for noun, entity in zip(NOUNS, (app, fn, trigger), strict=True)
    )
    assert await put("PUT", app_path, {"name": "x"}) == (409, "Could not update - name is immutable")
    assert await put("PUT", fn_path, {"app_id": "x"}) == (409, "Could not update - app_id is immutable")
    assert await put("PUT", trigger_path, {"app_id": "x"}) == (409, "Could not update - app_id is immutable")
    assert await put("PUT", trigger_path, {"type": "smtp"}) == (400, "Trigger Type Not Supported")
    assert await put("PUT", trigger_path, {"fn_id": "x"}) == (404, "Fn not found")
    assert await put("PUT", app_path, {"id": "x"}) == (400, "App ID in path does not match ID in body")
    assert await put("PUT", fn_path, {"id": "x"}) == (400, "Fn ID in path does not match that in body")
    assert await put("PUT", trigger_path, {"id": "x"}) == (400, "ID in path does not match ID in body")
    await management.check_catalog()


async def test_calls_see_a_change_as_soon_as_it_is_answered(management: Management) -> None:
    app, fn, trigger = await create(management)
    before = management.catalog.fn(fn["id"])
    await management.ask("PUT", f"/v2/fns/{fn['id']}", {"memory": 256})
    after = management.catalog.fn(fn["id"])
    assert after is not None
    assert after.fn.memory == 256
    assert management.retired == [before]
    await management.ask("PUT", f"/v2/apps/{app['id']}", {"config": {"A": "1"}})
    last = management.catalog.fn(fn["id"])
    assert last is not None
    assert last.config() == {"A": "1"}
    assert management.retired == [before, after]
    await management.ask("PUT", f"/v2/triggers/{trigger['id']}", {"source": "/moved"})
    assert management.catalog.trigger("shop", "/shop") is None
    match = management.catalog.trigger("shop", "/moved")
    assert match is not None
    assert match.version is last


async def test_listeners_hear_of_every_change_and_of_nothing_else(management: Management) -> None:
    with management.services.events.subscribe() as subscription:
        app, fn, trigger = await create(management)
        for noun, entity in zip(NOUNS, (app, fn, trigger), strict=True):
            for body in ({}, {"annotations": {"a": 1}}, {"annotations": {"a": 1}}):
                await management.ask("PUT", f"/v2/{noun}/{entity['id']}", body)
        await management.ask("DELETE", f"/v2/triggers/{trigger['id']}", status=204)
        await management.ask("DELETE", f"/v2/apps/{app['id']}", status=204)
        told = []
        async for event in subscription:
            told.append(event.kind)
            if event.kind is EventKind.APP_DELETED:
                break
    assert told == [
        *(EventKind.APP_CREATED, EventKind.FN_CREATED, EventKind.TRIGGER_CREATED),
        *(EventKind.APP_CHANGED, EventKind.FN_CHANGED, EventKind.TRIGGER_CHANGED),
        *(EventKind.TRIGGER_DELETED, EventKind.FN_DELETED, EventKind.APP_DELETED),
    ]


async def test_the_log_of_a_deleted_fn_goes(management: Management, monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[str] = []
    monkeypatch.setattr(management.services.logs, "forget", forgotten.append)
    _, one, _ = await create(management, "one")
    app, two, _ = await create(management, "two")
    await management.ask("DELETE", f"/v2/fns/{one['id']}", status=204)
    await management.ask("DELETE", f"/v2/apps/{app['id']}", status=204)
    assert forgotten == [one["id"], two["id"]]


# Endpoints.


async def test_fns_and_triggers_show_the_urls_they_are_called_at(management: Management) -> None:
    app = await management.ask("POST", "/v2/apps", {"name": "café"})
    fn = await management.ask("POST", "/v2/fns", {"name": "f", "app_id": app["id"], "image": "i"})
    new = {"name": "t", "app_id": app["id"], "fn_id": fn["id"], "type": "http", "source": "/a b/é?x=/%"}
    trigger = await management.ask("POST", "/v2/triggers", new)
    assert fn["annotations"] == {"fnproject.io/fn/invokeEndpoint": f"http://fnd.test:8080/invoke/{fn['id']}"}
    url = "http://fnd.test:8080/t/caf%C3%A9/a%20b/%C3%A9%3Fx=/%25"
    assert trigger["annotations"] == {"fnproject.io/trigger/httpEndpoint": url}


@pytest.mark.parametrize(
    ("listen", "base"),
    [
        ("127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("0.0.0.0:9000", "http://localhost:9000"),
        ("[::]:9000", "http://localhost:9000"),
        ("[::1]:9000", "http://[::1]:9000"),
        ("host.example:80", "http://host.example:80"),
        ("unix:/run/fnd/public.sock", ""),
    ],
)
async def test_on_the_control_socket_urls_are_those_of_the_first_tcp_listener(
    tmp_path: Path, listen: str, base: str
) -> None:
    async with managing(tmp_path, listen) as management:
        transport: Any = management.client._transport
        application = transport.app

        async def over_control_socket(scope: Any, receive: Any, send: Any) -> None:
            await application({**scope, "state": {"fnd.listener": "control"}}, receive, send)

        transport.app = over_control_socket
        _, fn, _ = await create(management)
        assert fn["annotations"]["fnproject.io/fn/invokeEndpoint"] == f"{base}/invoke/{fn['id']}"


async def test_a_host_that_is_none_is_refused_or_at_least_not_repeated(management: Management) -> None:
    _, fn, _ = await create(management)
    for host in (b"", b"evil/path", b"a b", b"user@host", b"h:port", b"x\x7f", b"\xff", b"[::1"):
        answer = await exchange(management.application, "GET", f"/v2/fns/{fn['id']}".encode(), [(b"host", host)])
        body = json.loads(answer.body)
        if answer.status == 400:
            assert body == {"message": "Invalid host header"}
        else:
            endpoint = body["annotations"]["fnproject.io/fn/invokeEndpoint"]
            assert endpoint == f"http://127.0.0.1:8080/invoke/{fn['id']}"


# Bodies.


NOT_JSON = (
    b"",
    b"{",
    b"null",
    b"[]",
    b'"x"',
    b"1",
    b"{} {}",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b'{"name": 1}',
    b'{"name": ["x"]}',
    b'{"name": "\xff"}',
    b'{"name": "\\ud800"}',
    b'{"name": "\\udc00x"}',
    b'{"config": {"a": 1}}',
    b'{"config": []}',
    b'{"config": {"a": NaN}}',
    b'{"annotations": []}',
    b'{"annotations": {"a": NaN}}',
    b'{"annotations": {"a": Infinity}}',
    b'{"annotations": {"a": 1e999}}',
    b'{"annotations": {"a": 1' + b"0" * 5000 + b"}}",
    b'{"annotations": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    b'{"annotations": {"a": ' + b'{"a":' * 100_000,
    b'{"memory": "128"}',
    b'{"memory": 1.5}',
    b'{"memory": true}',
    b'{"memory": 1' + b"0" * 5000 + b"}",
)


async def test_a_body_that_is_not_the_routes_json_is_refused(management: Management) -> None:
    for body in NOT_JSON:
        for method, path in (("POST", "/v2/fns"), ("PUT", "/v2/fns/x")):
            response = await management.client.request(method, path, content=body)
            assert (response.status_code, response.json()) == (400, {"message": "Invalid JSON"}), body[:80]


async def test_fields_that_are_not_known_and_the_last_of_two_alike_are_as_in_fn(management: Management) -> None:
    body = b'{"name": "a", "name": "b", "created_at": 7, "future": {"x": 1}}'
    response = await management.client.post("/v2/apps", content=body)
    assert response.json()["name"] == "b"


async def test_a_nesting_within_the_bound_is_kept(management: Management) -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    app = await management.ask("POST", "/v2/apps", {"name": "a", "annotations": {"a": deep}})
    assert (await management.ask("GET", f"/v2/apps/{app['id']}"))["annotations"] == {"a": deep}


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x"]
)
async def test_a_body_of_another_type_is_refused(management: Management, content_type: str) -> None:
    headers = {"content-type": content_type}
    response = await management.client.post("/v2/apps", content=b'{"name": "a"}', headers=headers)
    assert (response.status_code, response.json()) == (415, {"message": "Content Type not supported"})


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json", None]
)
async def test_json_is_taken_by_any_of_its_names(management: Management, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    response = await management.client.post("/v2/apps", content=b'{"name": "a"}', headers=headers)
    assert response.status_code == 200


async def test_a_body_over_a_mebibyte_is_refused_declared_or_not(management: Management) -> None:
    declared = [(b"content-length", b"1048577")]
    for headers, parts in ((declared, [b"{"]), ([], [b" " * 65536] * 17)):
        answer = await exchange(management.application, "POST", b"/v2/apps", headers, parts)
        assert (answer.status, json.loads(answer.body)) == (413, {"message": "Request content too large"})


async def test_a_body_that_is_cut_short_is_not_taken_for_whole(
    management: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [b'{"name": "a"}']
    answer = await exchange(management.application, "POST", b"/v2/apps", parts=parts, cut_short=True)
    assert answer.status == 444
    assert capsys.readouterr().out == "", "a caller who hangs up is nothing to log"
    assert (await management.store.load()).apps == []


# When things go wrong.


async def test_a_store_that_fails_is_503_and_known_functions_stay(management: Management) -> None:
    _, fn, _ = await create(management)
    path = management.store.path
    path.rename(path.with_name("away"))
    with management.services.events.subscribe() as subscription:
        for method, url, body in (("GET", "/v2/apps", None), ("POST", "/v2/apps", {"name": "x"})):
            response = await management.client.request(method, url, json=body)
            assert response.status_code == 503
            assert response.headers["retry-after"] == "15"
            assert "still answered" in response.json()["message"]
        assert not management.store.health.ok
        assert management.catalog.fn(fn["id"]) is not None
        assert management.catalog.app_named("x") is None
        path.with_name("away").rename(path)
        await management.ask("GET", "/v2/apps")
        await management.ask("POST", "/v2/apps", {"name": "x"})
        assert [event.kind async for event in _until(subscription, EventKind.APP_CREATED)] == [EventKind.APP_CREATED]
    await management.check_catalog()


async def _until(subscription: Any, kind: EventKind) -> AsyncIterator[Any]:
    async for event in subscription:
        yield event
        if event.kind is kind:
            return


async def test_a_change_whose_asker_hangs_up_meanwhile_is_done_in_both(management: Management) -> None:
    app, _, _ = await create(management)
    gate = threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(management.store.write, lambda connection: gate.wait(60))
        await wait_all_tasks_blocked()
        early, late = trio.CancelScope(), trio.CancelScope()
        nursery.start_soon(_put, management, app["id"], {"A": "early"}, early)
        await wait_all_tasks_blocked()
        early.cancel()
        gate.set()
    assert (await management.ask("GET", f"/v2/apps/{app['id']}"))["config"] == {}
    await management.check_catalog()

    holding, held = management.store._database.write, threading.Event()
    gate.clear()

    def slow(work: Any) -> Any:
        held.set()
        gate.wait(60)
        return holding(work)

    management.store._database.write = slow  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_put, management, app["id"], {"A": "late"}, late)
        await trio.to_thread.run_sync(held.wait, 60)
        late.cancel()
        gate.set()
    assert late.cancel_called
    assert (await management.ask("GET", f"/v2/apps/{app['id']}"))["config"] == {"A": "late"}
    await management.check_catalog()


async def _put(management: Management, app_id: str, config: dict[str, str], scope: trio.CancelScope) -> None:
    with scope:
        await management.ask("PUT", f"/v2/apps/{app_id}", {"config": config})


async def test_many_changes_at_once_leave_the_catalog_as_the_store(management: Management) -> None:
    app, fn, _ = await create(management)

    async def churn(number: int) -> None:
        name = f"fn-{number}"
        new = await management.ask("POST", "/v2/fns", {"name": name, "app_id": app["id"], "image": "i"})
        await management.ask("PUT", f"/v2/apps/{app['id']}", {"config": {name: "1"}})
        await management.ask("PUT", f"/v2/fns/{fn['id']}", {"config": {name: "1"}})
        if number % 2:
            await management.ask("DELETE", f"/v2/fns/{new['id']}", status=204)

    async with trio.open_nursery() as nursery:
        for number in range(12):
            nursery.start_soon(churn, number)
    assert len((await management.ask("GET", f"/v2/apps/{app['id']}"))["config"]) == 12
    await management.check_catalog()
