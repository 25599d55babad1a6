"""Every rule of apps, fns and triggers: what is refused, in which order and in which words, and what a patch does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from fnd.api.schemas import AppBody, FnBody, TriggerBody
from fnd.api.validation import (
    HTTP_ENDPOINT,
    INVOKE_ENDPOINT,
    MAX_CONFIG,
    changed_app,
    changed_fn,
    changed_trigger,
    check_app_id,
    check_fn_id,
    check_trigger_id,
    new_app,
    new_fn,
    new_trigger,
)
from fnd.errors import APIError, BadRequest, Conflict
from fnd.model import App, Fn, Trigger

FORMATS = {"http-stream": 1, "json": 1, "web": 1000, "pair": 2}
CREATED = datetime(2025, 1, 1, tzinfo=UTC)
NOW = datetime(2025, 2, 2, tzinfo=UTC)
APP = App(id="A", name="app", created_at=CREATED, updated_at=CREATED)
FN = Fn(id="F", name="fn", app_id="A", image="process:///f", created_at=CREATED, updated_at=CREATED)
TRIGGER = Trigger(id="T", name="t", app_id="A", fn_id="F", source="/t", created_at=CREATED, updated_at=CREATED)
Fields = dict[str, Any]

APP_FIELDS: Fields = {"name": "app"}
FN_FIELDS: Fields = {"name": "fn", "app_id": "A", "image": "process:///f"}
TRIGGER_FIELDS: Fields = {"name": "t", "app_id": "A", "fn_id": "F", "type": "http", "source": "/t"}

MEMORY = "memory value is out of range. It should be between 0 and 8192"
TIMEOUT = "timeout value is out of range, must be between 0 and 300"
IDLE_TIMEOUT = "idle_timeout value is out of range, must be between 0 and 3600"
KEY = "Invalid annotation key, annotation keys must be non-empty ASCII strings excluding whitespace"
KEY_LENGTH = "Invalid annotation key length, annotation keys may not be larger than 128 bytes"
VALUE_LENGTH = (
    "Invalid annotation value length, annotation values may not be larger than 512 bytes when serialized as JSON"
)
TOO_MANY = "Invalid annotation change, new key(s) exceed maximum permitted number of annotations keys (100)"

ANNOTATIONS: list[tuple[Fields, str]] = [
    ({"annotations": {"": 1}}, KEY),
    ({"annotations": {"a b": 1}}, KEY),
    ({"annotations": {"é": 1}}, KEY),
    ({"annotations": {"a\n": 1}}, KEY),
    ({"annotations": {"a" * 129: 1}}, KEY_LENGTH),
    ({"annotations": {"a": "x" * 511}}, VALUE_LENGTH),
    ({"annotations": {"a": ["é" * 255]}}, VALUE_LENGTH),
    ({"annotations": {str(number): 1 for number in range(101)}}, TOO_MANY),
]
CONFIG: list[tuple[Fields, str]] = [
    ({"config": {"": "x"}}, "config key '' is invalid: it must not be empty or contain = or NUL"),
    ({"config": {"A=B": "x"}}, "config key 'A=B' is invalid: it must not be empty or contain = or NUL"),
    ({"config": {"A\0": "x"}}, "config key 'A\\x00' is invalid: it must not be empty or contain = or NUL"),
    ({"config": {"A": "x\0"}}, "config value of 'A' is invalid: it must not contain NUL"),
    (
        {"config": {"A": "é" * (MAX_CONFIG // 2)}},
        f"config must be {MAX_CONFIG} bytes or less, keys and values together",
    ),
]

APP_REFUSALS: list[tuple[Fields, str]] = [
    ({"name": None}, "Missing Name"),
    ({"name": ""}, "Missing Name"),
    ({"name": "a" * 256}, "App name must be 255 characters or less"),
    ({"name": "é" * 128}, "App name must be 255 characters or less"),
    ({"name": "a b"}, "Invalid app name"),
    ({"name": "a/b"}, "Invalid app name"),
    ({"name": "a.b"}, "Invalid app name"),
    ({"name": "a\0"}, "Invalid app name"),
    ({"name": "½"}, "Invalid app name"),
    ({"id": "A"}, "App ID cannot be supplied on create"),
    ({"syslog_url": "x" * 1025}, "syslog_url must be 1024 bytes or less"),
    ({"shape": "\x1b[2J"}, "shape must not contain control characters"),
    *ANNOTATIONS,
    *CONFIG,
]
FN_REFUSALS: list[tuple[Fields, str]] = [
    ({"id": "F"}, "ID cannot be provided for Fn creation"),
    ({"name": None}, "Missing Fn name"),
    ({"name": "a" * 256}, "Fn name must be 255 characters or less"),
    ({"name": "a b"}, "name must be a valid string"),
    ({"name": "a/b"}, "name must be a valid string"),
    ({"name": "a?"}, "name must be a valid string"),
    ({"name": "é"}, "name must be a valid string"),
    ({"name": "a\n"}, "name must be a valid string"),
    ({"app_id": ""}, "Missing AppID on Fn"),
    ({"image": None}, "Missing image on Fn"),
    ({"image": "i" * 1025}, "image must be 1024 bytes or less"),
    ({"image": "i\0"}, "image must not contain control characters"),
    ({"timeout": -1}, TIMEOUT),
    ({"timeout": 301}, TIMEOUT),
    ({"timeout": 1 << 70}, TIMEOUT),
    ({"idle_timeout": -1}, IDLE_TIMEOUT),
    ({"idle_timeout": 3601}, IDLE_TIMEOUT),
    ({"memory": -1}, MEMORY),
    ({"memory": 8193}, MEMORY),
    ({"min_warm": -1}, "min_warm value is out of range, must be between 0 and 10000"),
    ({"min_warm": 10_001}, "min_warm value is out of range, must be between 0 and 10000"),
    ({"cpu": -1}, "cpu value is out of range, must be between 0 and 1000000"),
    ({"cpu": 1_000_001}, "cpu value is out of range, must be between 0 and 1000000"),
    ({"max_containers": -1}, "max_containers value is out of range, must be between 0 and 10000"),
    ({"max_containers": 10_001}, "max_containers value is out of range, must be between 0 and 10000"),
    ({"min_warm": 3, "max_containers": 2}, "min_warm must not be more than max_containers"),
    ({"format": "smoke"}, "format 'smoke' is not one of those that fnd speaks here: http-stream, json, pair, web"),
    ({"concurrency": -1}, "concurrency value is out of range, must be between 1 and 1000"),
    ({"concurrency": 1001}, "concurrency value is out of range, must be between 1 and 1000"),
    (
        {"concurrency": 2},
        "concurrency 2 is too much for the format 'http-stream', whose containers serve one call at once; formats here "
        "that can: pair, web",
    ),
    (
        {"format": "pair", "concurrency": 3},
        "concurrency 3 is too much for the format 'pair', whose containers serve 2 calls at once; formats here that "
        "can: web",
    ),
    ({"shape": "\x7f"}, "shape must not contain control characters"),
    *ANNOTATIONS,
    *CONFIG,
]
TRIGGER_REFUSALS: list[tuple[Fields, str]] = [
    ({"id": "T"}, "ID cannot be provided for Trigger creation"),
    ({"name": ""}, "Missing name on Trigger"),
    ({"name": "a" * 256}, "Trigger name must be 255 characters or less"),
    ({"name": "a b"}, "Invalid name for Trigger"),
    ({"app_id": ""}, "Missing App ID on Trigger"),
    ({"fn_id": None}, "Missing Fn ID on Trigger"),
    ({"type": "smtp"}, "Trigger Type Not Supported"),
    ({"source": ""}, "Missing Trigger Source"),
    ({"source": "t"}, "Missing Trigger Source Prefix '/'"),
    ({"source": "/" + "t" * 1024}, "source must be 1024 bytes or less"),
    ({"source": "/\0"}, "source must not contain control characters"),
    *ANNOTATIONS,
]


def named(table: list[tuple[Fields, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("fields", "message"), table, ids=lambda value: repr(value)[:40])


@named(APP_REFUSALS)
def test_an_app_that_breaks_a_rule_is_refused(fields: Fields, message: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        new_app(AppBody(**APP_FIELDS | fields), NOW)
    assert refusal.value.message == message


@named(FN_REFUSALS)
def test_a_fn_that_breaks_a_rule_is_refused(fields: Fields, message: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        new_fn(FnBody(**FN_FIELDS | fields), FORMATS, NOW)
    assert refusal.value.message == message


@named(TRIGGER_REFUSALS)
def test_a_trigger_that_breaks_a_rule_is_refused(fields: Fields, message: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        new_trigger(TriggerBody(**TRIGGER_FIELDS | fields), NOW)
    assert refusal.value.message == message


def test_a_fn_is_checked_in_fns_order() -> None:
    wrong: Fields = {
        "name": "a b",
        "app_id": "",
        "image": "",
        "timeout": 301,
        "idle_timeout": 3601,
        "memory": 8193,
        "annotations": {"": 1},
    }
    right: Fields = {"name": "a", "app_id": "A", "image": "i", "timeout": 1, "idle_timeout": 1, "memory": 1}
    expected = ["name must be a valid string", "Missing AppID on Fn", "Missing image on Fn"]
    for message in [*expected, TIMEOUT, IDLE_TIMEOUT, MEMORY, KEY]:
        with pytest.raises(BadRequest) as refusal:
            new_fn(FnBody(**wrong), FORMATS, NOW)
        assert refusal.value.message == message
        field = next((field for field in right if wrong[field] != right[field]), None)
        if field is not None:
            wrong[field] = right[field]


def test_a_trigger_is_checked_in_order() -> None:
    fields: Fields = {"type": "smtp", "annotations": {"": 1}}
    steps: list[tuple[str, Fields]] = [
        ("Missing name on Trigger", {"name": "!"}),
        ("Invalid name for Trigger", {"name": "t"}),
        ("Missing App ID on Trigger", {"app_id": "A"}),
        ("Missing Fn ID on Trigger", {"fn_id": "F"}),
        ("Trigger Type Not Supported", {"type": "http"}),
        ("Missing Trigger Source", {"source": "t"}),
        ("Missing Trigger Source Prefix '/'", {"source": "/t"}),
        (KEY, {}),
    ]
    for message, mended in steps:
        with pytest.raises(BadRequest) as refusal:
            new_trigger(TriggerBody(**fields), NOW)
        assert refusal.value.message == message
        fields |= mended


@pytest.mark.parametrize("name", ["a", "Z9_-", "é" * 127, "a" * 255, "日本", "٣"])
def test_an_apps_name_is_unicode_letters_digits_underscores_and_dashes(name: str) -> None:
    assert new_app(AppBody(name=name), NOW).name == name


@pytest.mark.parametrize("name", ["a", "Z9_-.~", "$&+:=@", "a" * 255])
def test_a_fns_name_needs_no_escaping_in_a_url(name: str) -> None:
    assert new_fn(FnBody(**FN_FIELDS | {"name": name}), FORMATS, NOW).name == name


@pytest.mark.parametrize("given", [None, 0])
def test_absent_and_zero_numbers_are_the_defaults(given: int | None) -> None:
    fn = new_fn(FnBody(**FN_FIELDS, memory=given, timeout=given, idle_timeout=given), FORMATS, NOW)
    assert (fn.memory, fn.timeout, fn.idle_timeout, fn.format) == (128, 30, 30, "http-stream")


@pytest.mark.parametrize("numbers", [(1, 1, 1), (8192, 300, 3600)])
def test_numbers_are_taken_up_to_their_bounds(numbers: tuple[int, int, int]) -> None:
    memory, timeout, idle_timeout = numbers
    fn = new_fn(FnBody(**FN_FIELDS, memory=memory, timeout=timeout, idle_timeout=idle_timeout), FORMATS, NOW)
    assert (fn.memory, fn.timeout, fn.idle_timeout) == numbers


def test_what_is_new_has_an_id_of_its_own_and_the_time() -> None:
    one, two = (new_app(AppBody(**APP_FIELDS, config={"A": None, "B": "b"}), NOW) for _ in range(2))
    assert one.id != two.id
    assert one.created_at == one.updated_at == NOW
    assert one.config == {"A": "", "B": "b"}
    assert new_trigger(TriggerBody(**TRIGGER_FIELDS | {"type": None}), NOW).type == "http"


@pytest.mark.parametrize("value", ["x" * 510, 12, 1.5, True, False, 0, [], {}, {"deep": [[[None]]]}])
def test_an_annotation_is_any_json_up_to_its_bound(value: object) -> None:
    annotations = {"a" * 128: value} | {str(number): 1 for number in range(99)}
    assert new_app(AppBody(**APP_FIELDS, annotations=annotations), NOW).annotations == annotations


def test_annotations_that_are_empty_or_the_servers_own_are_not_kept() -> None:
    annotations = {"a": "", "b": None, INVOKE_ENDPOINT: "http://x", HTTP_ENDPOINT: "http://x", "c": 1}
    assert new_fn(FnBody(**FN_FIELDS, annotations=annotations), FORMATS, NOW).annotations == {"c": 1}


# Patches.


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        ({"config": {"A": "2", "C": "3"}}, {"config": {"A": "2", "B": "1", "C": "3"}}),
        ({"config": {"A": "", "B": None, "Z": ""}}, {"config": {}}),
        ({"annotations": {"a": {"n": 1}, "c": False}}, {"annotations": {"a": {"n": 1}, "b": 1, "c": False}}),
        ({"annotations": {"a": "", "b": None, "z": ""}}, {"annotations": {}}),
        ({"annotations": {"a": True}}, {"annotations": {"a": True, "b": 1}}),
        ({"syslog_url": "tcp://x"}, {"syslog_url": "tcp://x"}),
        ({"shape": "S"}, {"shape": "S"}),
    ],
    ids=str,
)
def test_an_apps_patch_changes_what_it_has(fields: Fields, changes: Fields) -> None:
    app = attrs.evolve(APP, config={"A": "1", "B": "1"}, annotations={"a": 1, "b": 1})
    changed = changed_app(app, AppBody(**fields), NOW)
    assert changed == attrs.evolve(app, updated_at=NOW, **changes)
    for name, value in changes.get("annotations", {}).items():
        assert type(changed.annotations[name]) is type(value)


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        ({"name": "new"}, {"name": "new"}),
        ({"image": "docker://x"}, {"image": "docker://x"}),
        ({"format": "json"}, {"format": "json"}),
        ({"memory": 1}, {"memory": 1}),
        ({"timeout": 300}, {"timeout": 300}),
        ({"idle_timeout": 3600}, {"idle_timeout": 3600}),
        ({"min_warm": 2, "max_containers": 2}, {"min_warm": 2, "max_containers": 2}),
        ({"cpu": 250}, {"cpu": 250}),
        ({"format": "web", "concurrency": 16}, {"format": "web", "concurrency": 16}),
        ({"config": {"A": "1"}}, {"config": {"A": "1"}}),
        ({"annotations": {"a": [1]}}, {"annotations": {"a": [1]}}),
        ({"shape": "S"}, {"shape": "S"}),
    ],
    ids=str,
)
def test_a_fns_patch_changes_what_it_has(fields: Fields, changes: Fields) -> None:
    assert changed_fn(FN, FnBody(**fields), FORMATS, NOW) == attrs.evolve(FN, updated_at=NOW, **changes)


@pytest.mark.parametrize(
    "fields", [{"name": "new"}, {"fn_id": "G"}, {"source": "/new"}, {"annotations": {"a": 1}}], ids=str
)
def test_a_triggers_patch_changes_what_it_has(fields: Fields) -> None:
    assert changed_trigger(TRIGGER, TriggerBody(**fields), NOW) == attrs.evolve(TRIGGER, updated_at=NOW, **fields)


def test_how_many_calls_at_once_are_checked_when_they_or_the_format_change() -> None:
    fn = attrs.evolve(FN, format="web", concurrency=16)
    with pytest.raises(BadRequest, match="too much for the format 'json'"):
        changed_fn(fn, FnBody(format="json"), FORMATS, NOW)
    assert changed_fn(fn, FnBody(format="json", concurrency=1), FORMATS, NOW).concurrency == 1
    assert changed_fn(fn, FnBody(memory=64), {}, NOW).memory == 64, "though its codec is not there"
    assert changed_fn(fn, FnBody(concurrency=0), FORMATS, NOW) is fn


def test_how_many_containers_a_fn_has_can_be_set_back_to_nothing() -> None:
    fn = attrs.evolve(FN, min_warm=2, max_containers=4)
    assert changed_fn(fn, FnBody(memory=0), FORMATS, NOW) is fn
    assert changed_fn(fn, FnBody(min_warm=0), FORMATS, NOW) == attrs.evolve(fn, min_warm=0, updated_at=NOW)
    assert changed_fn(fn, FnBody(max_containers=0), FORMATS, NOW) == attrs.evolve(fn, max_containers=0, updated_at=NOW)


def test_a_patch_that_changes_nothing_leaves_the_very_same() -> None:
    app = attrs.evolve(APP, config={"A": "1"}, annotations={"a": 1}, syslog_url="u", shape="s")
    for fields in (
        {},
        {"id": "A", "name": "app", "config": {"A": "1"}, "annotations": {"a": 1}},
        {"name": "", "config": {}, "annotations": {}, "syslog_url": "", "shape": ""},
        {"config": {"Z": ""}, "annotations": {"z": None, INVOKE_ENDPOINT: "x"}},
    ):
        assert changed_app(app, AppBody(**fields), NOW) is app
    zero = FnBody(name="", app_id="", image="", format="", memory=0, timeout=0, idle_timeout=0, shape="")
    assert changed_fn(FN, zero, FORMATS, NOW) is FN
    assert changed_trigger(TRIGGER, TriggerBody(name="", fn_id="", type="", source=""), NOW) is TRIGGER


@named([refusal for refusal in APP_REFUSALS if refusal[0].keys() <= {"annotations", "config", "syslog_url", "shape"}])
def test_an_apps_patch_obeys_the_rules_of_creation(fields: Fields, message: str) -> None:
    patch = {**fields, "config": fields.get("config")}
    with pytest.raises(BadRequest) as refusal:
        changed_app(APP, AppBody(**patch), NOW)
    assert refusal.value.message == message


@named([refusal for refusal in FN_REFUSALS if "id" not in refusal[0] and any(refusal[0].values())])
def test_a_fns_patch_obeys_the_rules_of_creation(fields: Fields, message: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        changed_fn(FN, FnBody(**fields), FORMATS, NOW)
    assert refusal.value.message == message


@named([refusal for refusal in TRIGGER_REFUSALS if "id" not in refusal[0] and any(refusal[0].values())])
def test_a_triggers_patch_obeys_the_rules_of_creation(fields: Fields, message: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        changed_trigger(TRIGGER, TriggerBody(**fields), NOW)
    assert refusal.value.message == message


def test_what_cannot_change_is_a_conflict() -> None:
    refusals: list[tuple[Any, str]] = [
        (lambda: changed_app(APP, AppBody(name="other"), NOW), "Could not update - name is immutable"),
        (lambda: changed_fn(FN, FnBody(app_id="B"), FORMATS, NOW), "Could not update - app_id is immutable"),
        (lambda: changed_trigger(TRIGGER, TriggerBody(app_id="B"), NOW), "Could not update - app_id is immutable"),
    ]
    for change, message in refusals:
        with pytest.raises(Conflict) as refusal:
            change()
        assert refusal.value.message == message


def test_an_id_in_the_body_must_be_the_paths() -> None:
    checks: list[tuple[Any, Any, str]] = [
        (check_app_id, AppBody, "App ID in path does not match ID in body"),
        (check_fn_id, FnBody, "Fn ID in path does not match that in body"),
        (check_trigger_id, TriggerBody, "ID in path does not match ID in body"),
    ]
    for check, body, message in checks:
        check("X", body(id="X"))
        check("X", body(id=""))
        check("X", body())
        with pytest.raises(APIError) as refusal:
            check("X", body(id="Y"))
        assert (refusal.value.status, refusal.value.message) == (400, message)


def test_a_fn_whose_format_is_no_longer_spoken_can_be_changed_otherwise() -> None:
    fn = attrs.evolve(FN, format="gone")
    assert changed_fn(fn, FnBody(memory=1, format="gone"), FORMATS, NOW).memory == 1
