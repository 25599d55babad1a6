"""Apps, fns and triggers come back as they were put, pages are complete, and cancelling leaves done or not done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from fnd.catalog import Catalog
from fnd.errors import AppNotFound, BadRequest, Conflict, FnNotFound, StoreUnavailable, TriggerNotFound
from fnd.model import App, Fn, Trigger
from fnd.store import ListQuery, Store, open_store
from fnd.store import store as store_module

Make = Callable[..., App]
MakeFn = Callable[..., Fn]
MakeTrigger = Callable[..., Trigger]


async def test_what_is_inserted_is_read_back_equal_also_after_a_restart(
    data_directory: Path, make_app: Make, make_fn: MakeFn, make_trigger: MakeTrigger
) -> None:
    app = make_app(name="café", config={"A": "ü\0"}, annotations={"x": [1, 2.5, None, "é"]}, syslog_url="tcp://x:1")
    fn = make_fn(
        app,
        memory=512,
        timeout=3,
        idle_timeout=4,
        format="json",
        min_warm=1,
        max_containers=2,
        cpu=1500,
        concurrency=16,
        config={"B": ""},
    )
    trigger = make_trigger(fn, annotations={"y": True})
    async with open_store(data_directory) as store:
        assert await store.apps.insert(app) == app
        await store.fns.insert(fn)
        await store.triggers.insert(trigger)
    async with open_store(data_directory) as store:
        assert await store.apps.get(app.id) == app
        assert await store.fns.get(fn.id) == fn
        assert await store.triggers.get(trigger.id) == trigger
        contents = await store.load()
        assert (contents.apps, contents.fns, contents.triggers) == ([app], [fn], [trigger])


async def test_an_unknown_id_is_not_found(store: Store, make_app: Make) -> None:
    await store.apps.insert(make_app())
    for unknown in ("01JAPP0000000000000000NONE", "", "é", "\udc80", "a\0b"):
        with pytest.raises(AppNotFound):
            await store.apps.get(unknown)
        with pytest.raises(FnNotFound):
            await store.fns.delete(unknown)
        with pytest.raises(TriggerNotFound):
            await store.triggers.update(unknown, lambda trigger: trigger)


async def test_names_are_unique_in_their_scope(
    store: Store, make_app: Make, make_fn: MakeFn, make_trigger: MakeTrigger
) -> None:
    one, two = make_app(name="one"), make_app(name="two")
    await store.apps.insert(one)
    await store.apps.insert(two)
    with pytest.raises(Conflict, match="App already exists"):
        await store.apps.insert(make_app(name="one"))
    fn, other = make_fn(one), make_fn(two)
    await store.fns.insert(fn)
    await store.fns.insert(other)
    with pytest.raises(Conflict, match="Fn with specified name already exists"):
        await store.fns.insert(make_fn(one))
    await store.triggers.insert(make_trigger(fn))
    await store.triggers.insert(make_trigger(other))
    with pytest.raises(Conflict, match="Trigger already exists"):
        await store.triggers.insert(make_trigger(fn, source="/other"))
    with pytest.raises(Conflict, match="Trigger with the same type and source exists on this app"):
        await store.triggers.insert(make_trigger(fn, name="other"))


async def test_a_change_of_name_may_not_take_anothers(store: Store, make_app: Make, make_fn: MakeFn) -> None:
    app = make_app()
    fn, other = make_fn(app, name="fn"), make_fn(app, name="other")
    await store.apps.insert(app)
    await store.fns.insert(fn)
    await store.fns.insert(other)
    with pytest.raises(Conflict):
        await store.fns.update(other.id, lambda fn: attrs.evolve(fn, name="fn"))
    assert await store.fns.get(other.id) == other
    assert (await store.fns.update(other.id, lambda fn: attrs.evolve(fn, name="third"))).name == "third"


async def test_references_must_exist_and_a_triggers_fn_be_its_apps(
    store: Store, make_app: Make, make_fn: MakeFn, make_trigger: MakeTrigger
) -> None:
    one, two = make_app(name="one"), make_app(name="two")
    await store.apps.insert(one)
    await store.apps.insert(two)
    fn = make_fn(one)
    with pytest.raises(AppNotFound):
        await store.fns.insert(attrs.evolve(fn, app_id="none"))
    await store.fns.insert(fn)
    with pytest.raises(AppNotFound):
        await store.triggers.insert(make_trigger(fn, app_id="none"))
    with pytest.raises(FnNotFound):
        await store.triggers.insert(make_trigger(fn, fn_id="none"))
    with pytest.raises(BadRequest, match="Invalid Fn ID - not owned by specified app"):
        await store.triggers.insert(make_trigger(fn, app_id=two.id))


async def test_deleting_takes_along_what_belongs_to_it_and_nothing_else(
    store: Store, make_app: Make, make_fn: MakeFn, make_trigger: MakeTrigger
) -> None:
    one, two = make_app(name="one"), make_app(name="two")
    fns = [make_fn(one, name="a"), make_fn(one, name="b"), make_fn(two)]
    triggers = [make_trigger(fn, name=fn.name, source=f"/{fn.name}") for fn in fns]
    for app in (one, two):
        await store.apps.insert(app)
    for fn, trigger in zip(fns, triggers, strict=True):
        await store.fns.insert(fn)
        await store.triggers.insert(trigger)

    await store.fns.delete(fns[0].id)
    contents = await store.load()
    assert contents.fns == fns[1:]
    assert contents.triggers == triggers[1:]

    await store.apps.delete(one.id)
    contents = await store.load()
    assert (contents.apps, contents.fns, contents.triggers) == ([two], fns[2:], triggers[2:])


async def test_pages_give_each_entity_once_by_name_whatever_their_size(
    store: Store, make_app: Make, make_fn: MakeFn
) -> None:
    apps = [make_app(name=name) for name in ("b", "a", "c")]
    for app in apps:
        await store.apps.insert(app)
        for name in ("x", "z", "y"):
            await store.fns.insert(make_fn(app, name=name))
    for per_page in range(1, 11):
        names, cursor = [], ""
        while True:
            page = await store.fns.list(ListQuery(per_page=per_page, cursor=cursor))
            assert len(page.items) <= per_page
            names += [fn.name for fn in page.items]
            cursor = page.next_cursor
            if not cursor:
                break
        assert names == ["x"] * 3 + ["y"] * 3 + ["z"] * 3
    page_of_apps = await store.apps.list(ListQuery(per_page=3))
    assert [app.name for app in page_of_apps.items] == ["a", "b", "c"]
    assert page_of_apps.next_cursor == ""


async def test_filters_narrow_a_list(store: Store, make_app: Make, make_fn: MakeFn, make_trigger: MakeTrigger) -> None:
    one, two = make_app(name="one"), make_app(name="two")
    for app in (one, two):
        await store.apps.insert(app)
    fn_a, fn_b, fn_c = make_fn(one, name="a"), make_fn(one, name="b"), make_fn(two, name="a")
    for fn in (fn_a, fn_b, fn_c):
        await store.fns.insert(fn)
        await store.triggers.insert(make_trigger(fn, name=fn.name, source=f"/{fn.name}"))
    assert (await store.apps.list(ListQuery(per_page=9, name="two"))).items == [two]
    assert (await store.apps.list(ListQuery(per_page=9, name="none"))).items == []
    assert (await store.fns.list(ListQuery(per_page=9, app_id=one.id))).items == [fn_a, fn_b]
    assert (await store.fns.list(ListQuery(per_page=9, app_id=two.id, name="a"))).items == [fn_c]
    triggers = (await store.triggers.list(ListQuery(per_page=9, app_id=one.id, fn_id=fn_b.id))).items
    assert [trigger.name for trigger in triggers] == ["b"]


@pytest.mark.parametrize("cursor", ["!", "x", "é", "AAAA", "/w==", "a" * 5000])
async def test_a_cursor_that_is_none_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(BadRequest, match="Invalid cursor"):
        await store.apps.list(ListQuery(per_page=1, cursor=cursor))


async def test_updates_at_once_all_count(store: Store, make_app: Make) -> None:
    app = await store.apps.insert(make_app())

    async def add(key: str) -> None:
        await store.apps.update(app.id, lambda app: attrs.evolve(app, config={**app.config, key: key}))

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(add, str(number))
    assert len((await store.apps.get(app.id)).config) == 20


async def test_what_a_change_raises_is_raised_and_changes_nothing(store: Store, make_app: Make) -> None:
    app = await store.apps.insert(make_app())

    def refuse(app: App) -> App:
        raise BadRequest("no")

    with pytest.raises(BadRequest, match="no"):
        await store.apps.update(app.id, refuse)
    assert await store.apps.get(app.id) == app
    assert store.health.ok


async def test_a_write_cancelled_before_its_turn_is_not_done(store: Store, make_app: Make) -> None:
    gate = threading.Event()
    app = make_app()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.write, lambda connection: gate.wait(60))
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            nursery.start_soon(_cancel_when_blocked, scope)
            await store.apps.insert(app)
        assert scope.cancelled_caught
        gate.set()
    with pytest.raises(AppNotFound):
        await store.apps.get(app.id)


async def _cancel_when_blocked(scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()


async def test_a_write_cancelled_in_its_turn_is_done_and_in_the_catalog(store: Store, make_app: Make) -> None:
    app = await store.apps.insert(make_app())
    catalog = Catalog([app])
    gate = threading.Event()

    def change(app: App) -> App:
        gate.wait(60)
        return attrs.evolve(app, config={"A": "1"})

    async def update(scope: trio.CancelScope) -> None:
        with scope:
            catalog.put_app(await store.apps.update(app.id, change))
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(update, scope)
        await wait_all_tasks_blocked()
        scope.cancel()
        gate.set()
    assert scope.cancelled_caught
    assert (await store.apps.get(app.id)).config == {"A": "1"}
    assert catalog.app_of(app.id) == await store.apps.get(app.id)


async def test_callers_see_writes_in_the_order_of_commits(store: Store, make_app: Make) -> None:
    app = await store.apps.insert(make_app(config={"n": "0"}))
    seen: list[int] = []

    def increment(app: App) -> App:
        return attrs.evolve(app, config={"n": str(int(app.config["n"]) + 1)})

    async def update() -> None:
        seen.append(int((await store.apps.update(app.id, increment)).config["n"]))

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(update)
    assert seen == list(range(1, 31))


async def test_a_write_does_not_wait_for_its_turn_for_ever(
    store: Store, make_app: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.write, lambda connection: gate.wait(60))
        await wait_all_tasks_blocked()
        monkeypatch.setattr(store_module, "TURN_TIMEOUT", 0)
        with pytest.raises(StoreUnavailable):
            await store.apps.insert(make_app())
        assert "writes before this one" in store.health.error
        gate.set()
    assert store.health.ok


async def test_what_is_acknowledged_is_on_disk(data_directory: Path, store: Store, make_app: Make) -> None:
    level = await store.write(lambda connection: connection.exec_driver_sql("PRAGMA synchronous").scalar())
    mode = await store.write(lambda connection: connection.exec_driver_sql("PRAGMA journal_mode").scalar())
    assert (level, mode) == (2, "wal")  # 2 is FULL


async def test_only_its_owner_may_read_the_database(data_directory: Path, store: Store) -> None:
    assert data_directory.stat().st_mode & 0o777 == 0o700
    for file in data_directory.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file
