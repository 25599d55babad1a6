"""What calls find in the catalog, and when a fn's containers stop being good for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from fnd.catalog import Catalog, CatalogCounts, FnVersion
from fnd.model import App, Fn, Trigger

MOMENT = datetime(2025, 3, 1, tzinfo=UTC)
LATER = datetime(2025, 3, 2, tzinfo=UTC)
APP = App(id="app-id", name="shop", created_at=MOMENT, updated_at=MOMENT, config={"A": "app", "B": "app"})
FN = Fn(
    id="fn-id",
    name="cart",
    app_id=APP.id,
    image="process:///cart",
    created_at=MOMENT,
    updated_at=MOMENT,
    config={"B": "fn"},
)
TRIGGER = Trigger(
    id="trigger-id",
    name="cart",
    app_id=APP.id,
    fn_id=FN.id,
    source="/cart/add",
    created_at=MOMENT,
    updated_at=MOMENT,
)


@pytest.fixture
def retired() -> list[FnVersion]:
    return []


@pytest.fixture
def catalog(retired: list[FnVersion]) -> Catalog:
    catalog = Catalog([APP], [FN], [TRIGGER])
    catalog.on_retired = retired.append
    return catalog


def version_of(catalog: Catalog, fn: Fn = FN) -> FnVersion:
    version = catalog.fn(fn.id)
    assert version is not None
    return version


def test_a_fn_is_found_by_its_id_and_stays_the_same_object(catalog: Catalog) -> None:
    version = version_of(catalog)
    assert (version.app, version.fn) == (APP, FN)
    assert catalog.fn(FN.id) is version
    assert catalog.fn("other") is None


def test_config_and_annotations_are_the_apps_with_the_fns_over_them() -> None:
    version = FnVersion(attrs.evolve(APP, annotations={"x": 1, "y": 1}), attrs.evolve(FN, annotations={"y": 2, "z": 2}))
    assert version.config() == {"A": "app", "B": "fn"}
    assert version.annotations() == {"x": 1, "y": 2, "z": 2}


def test_a_trigger_is_found_by_app_name_and_whole_source(catalog: Catalog) -> None:
    match = catalog.trigger("shop", "/cart/add")
    assert match is not None
    assert match.trigger == TRIGGER
    assert match.version is catalog.fn(FN.id)
    for app_name, path in (("shop", "/cart"), ("shop", "/cart/add/"), ("shop", ""), ("other", "/cart/add")):
        assert catalog.trigger(app_name, path) is None


def test_an_apps_bare_url_is_its_source_slash(catalog: Catalog) -> None:
    catalog.put_trigger(attrs.evolve(TRIGGER, id="root", name="root", source="/"))
    for path in ("", "/"):
        match = catalog.trigger("shop", path)
        assert match is not None
        assert match.trigger.id == "root"


@pytest.mark.parametrize(
    "change",
    [
        {"image": "process:///other"},
        {"timeout": 31},
        {"idle_timeout": 31},
        {"memory": 129},
        {"min_warm": 1},
        {"max_containers": 1},
        {"cpu": 1},
        {"concurrency": 2},
        {"format": "json"},
        {"name": "renamed"},
        {"config": {"B": "other"}},
        {"config": {}},
        {"annotations": {"a": 1}},
    ],
    ids=str,
)
def test_a_change_that_a_container_would_see_makes_a_new_version_and_retires_the_old(
    catalog: Catalog, retired: list[FnVersion], change: dict[str, Any]
) -> None:
    old = version_of(catalog)
    catalog.put_fn(attrs.evolve(FN, updated_at=LATER, **change))
    new = version_of(catalog)
    assert new.fn == attrs.evolve(FN, updated_at=LATER, **change)
    assert new.key != old.key
    assert retired == [old]


def test_a_change_that_no_container_would_see_keeps_its_containers(catalog: Catalog, retired: list[FnVersion]) -> None:
    old = version_of(catalog)
    catalog.put_fn(attrs.evolve(FN, updated_at=LATER, shape="GENERIC"))
    catalog.put_app(attrs.evolve(APP, updated_at=LATER, syslog_url="tcp://logs:514"))
    new = version_of(catalog)
    assert (new.fn.shape, new.app.syslog_url) == ("GENERIC", "tcp://logs:514")
    assert new.key == old.key
    assert retired == []


def test_a_change_of_an_apps_config_makes_new_versions_of_its_fns_alone(
    catalog: Catalog, retired: list[FnVersion]
) -> None:
    second, other_app = attrs.evolve(FN, id="second", name="second"), attrs.evolve(APP, id="other", name="other")
    elsewhere = attrs.evolve(FN, id="elsewhere", app_id="other")
    catalog.put_app(other_app)
    for fn in (second, elsewhere):
        catalog.put_fn(fn)
    old = [version_of(catalog, fn) for fn in (FN, second)]
    unaffected = version_of(catalog, elsewhere)
    app = attrs.evolve(APP, config={"A": "changed"}, updated_at=LATER)
    catalog.put_app(app)
    assert retired == old
    assert [version_of(catalog, fn).app for fn in (FN, second)] == [app, app]
    assert version_of(catalog, elsewhere) is unaffected


def test_a_config_that_the_fn_overrides_anyway_keeps_its_containers(catalog: Catalog, retired: list[FnVersion]) -> None:
    version_of(catalog)
    catalog.put_app(attrs.evolve(APP, config={"A": "app", "B": "changed"}))
    assert retired == []


def test_fns_that_are_to_be_kept_warm_are_told_of_at_each_new_version(catalog: Catalog) -> None:
    warm: list[FnVersion] = []
    catalog.on_warm = warm.append
    assert list(catalog.warm()) == []
    catalog.put_fn(attrs.evolve(FN, min_warm=1))
    assert warm == [version_of(catalog)]
    assert list(catalog.warm()) == warm
    catalog.put_app(attrs.evolve(APP, config={"NEW": "config"}))
    assert warm == [warm[0], version_of(catalog)]
    catalog.put_fn(attrs.evolve(FN, min_warm=0))
    assert len(warm) == 2


def test_a_fn_that_was_never_called_has_nothing_to_retire(catalog: Catalog, retired: list[FnVersion]) -> None:
    catalog.put_fn(attrs.evolve(FN, memory=256))
    catalog.remove_fn(FN.id)
    assert retired == []


def test_a_removed_fn_is_gone_with_its_triggers(catalog: Catalog, retired: list[FnVersion]) -> None:
    old = version_of(catalog)
    second = attrs.evolve(FN, id="second", name="second")
    catalog.put_fn(second)
    catalog.put_trigger(attrs.evolve(TRIGGER, id="kept", name="kept", fn_id="second", source="/kept"))
    catalog.remove_fn(FN.id)
    assert catalog.fn(FN.id) is None
    assert catalog.trigger("shop", "/cart/add") is None
    assert catalog.trigger("shop", "/kept") is not None
    assert retired == [old]
    assert catalog.counts() == CatalogCounts(apps=1, fns=1, triggers=1)


def test_a_removed_app_is_gone_with_everything_of_it(catalog: Catalog, retired: list[FnVersion]) -> None:
    old = version_of(catalog)
    catalog.remove_app(APP.id)
    assert catalog.fn(FN.id) is None
    assert catalog.trigger("shop", "/cart/add") is None
    assert catalog.app_named("shop") is None
    assert retired == [old]
    assert catalog.counts() == CatalogCounts(apps=0, fns=0, triggers=0)


def test_removing_what_is_not_there_changes_nothing(catalog: Catalog) -> None:
    catalog.remove_app("none")
    catalog.remove_fn("none")
    catalog.remove_trigger("none")
    assert catalog.counts() == CatalogCounts(apps=1, fns=1, triggers=1)


def test_a_changed_trigger_leads_from_its_new_source_only(catalog: Catalog) -> None:
    catalog.put_trigger(attrs.evolve(TRIGGER, source="/basket"))
    assert catalog.trigger("shop", "/cart/add") is None
    assert catalog.trigger("shop", "/basket") is not None
    catalog.remove_trigger(TRIGGER.id)
    assert catalog.trigger("shop", "/basket") is None


def test_people_find_apps_by_name_and_fns_by_app(catalog: Catalog) -> None:
    assert catalog.app_named("shop") == APP
    assert catalog.app_of(APP.id) == APP
    assert list(catalog.fns_of(APP.id)) == [FN]
    assert list(catalog.fns_of("none")) == []
    assert catalog.app_named("none") is None
    assert catalog.app_of("none") is None


def test_fns_are_found_by_name_in_all_apps_or_in_one(catalog: Catalog) -> None:
    other_app = attrs.evolve(APP, id="other-app", name="other")
    other = attrs.evolve(FN, id="other-fn", app_id=other_app.id)

    def found(name: str, app_name: str | None = None) -> list[str]:
        return [version.fn.id for version in catalog.fns_named(name, app_name)]

    assert found("cart") == [FN.id]
    catalog.put_app(other_app)
    catalog.put_fn(other)
    assert found("cart") == [FN.id, other.id]
    assert found("cart", "other") == [other.id]
    assert found("cart", "nobody") == found("bag") == []
    catalog.put_fn(attrs.evolve(other, memory=256))
    assert [version.fn.memory for version in catalog.fns_named("cart", "other")] == [256]
    catalog.put_fn(attrs.evolve(other, name="bag"))
    assert (found("cart"), found("bag")) == ([FN.id], [other.id])
    catalog.remove_fn(FN.id)
    assert found("cart") == []
    catalog.remove_app(other_app.id)
    assert found("bag") == []


def test_keys_tell_apart_what_only_looks_alike() -> None:
    assert FnVersion(APP, attrs.evolve(FN, annotations={"a": 1})).key != (
        FnVersion(APP, attrs.evolve(FN, annotations={"a": True})).key
    )
    assert FnVersion(APP, attrs.evolve(FN, config={"a": "1", "b": "2"})).key == (
        FnVersion(APP, attrs.evolve(FN, config={"b": "2", "a": "1"})).key
    )
