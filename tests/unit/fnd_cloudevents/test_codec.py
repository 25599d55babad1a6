"""The formats of CloudEvents: what a function reads, what its answer becomes, and what is no event or no answer.

Events are made and read by the CloudEvents SDK where it can be the judge.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from copy import deepcopy as copy
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from cloudevents.core.bindings.http import (
    HTTPMessage,
    from_http_event,
    from_structured_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.v1.event import CloudEvent
from trio.testing import MockClock, wait_all_tasks_blocked

from fnd import errors
from fnd.hookspecs import CallRequest, Codec
from fnd.testing import cancelled_at_every_step
from fnd.testing.call_bodies import Body
from fnd_cloudevents import fnd_codec
from fnd_cloudevents.events import MOST_ATTRIBUTES
from tests.stdio_stage import CAPACITY, FakeContainer, Serve, Talks, call, check_cancellation, context, opened

OK01 = b'{"contentType":"text/plain","data":"ok"}\n'
OK10 = b'{"specversion":"1.0","id":"1","source":"s","type":"t","datacontenttype":"text/plain","data":"ok"}\n'
JSON_TYPE = (b"content-type", b"application/json")
STRUCTURED_TYPE = (b"content-type", b"application/cloudevents+json; charset=utf-8")
BINARY = [(b"ce-specversion", b"1.0"), (b"ce-id", b"1"), (b"ce-source", b"s"), (b"ce-type", b"t")]
MIB = 1 << 20


def make(format_: str, **fields: Any) -> Codec:
    (codec,) = (codec for codec in fnd_codec(context(max_frame_size=1, **fields)) if codec.format == format_)
    return codec


@pytest.fixture(params=["cloudevent", "cloudevents-1.0"])
async def talks(request: pytest.FixtureRequest) -> AsyncIterator[Talks]:
    async with opened(make(request.param)) as talks:
        yield talks


@pytest.fixture
async def old() -> AsyncIterator[Talks]:
    """With a function that is spoken to in 0.1."""
    async with opened(make("cloudevent")) as talks:
        yield talks


@pytest.fixture
async def new() -> AsyncIterator[Talks]:
    """With a function that is spoken to in 1.0."""
    async with opened(make("cloudevents-1.0")) as talks:
        yield talks


def answering(*answer: bytes) -> Serve:
    """A function that reads its call and writes this, in these parts."""

    async def serve(container: FakeContainer) -> None:
        await container.reads(b"}\n")
        for part in answer:
            await container.writes(part)
            await wait_all_tasks_blocked()

    return serve


async def sent(talks: Talks, request: CallRequest) -> bytes:
    """Have an exchange; return the frame that the function was sent."""
    frames: list[bytes] = []

    async def serve(container: FakeContainer) -> None:
        frames.append(await container.reads(b"}\n"))
        await container.writes(OK01)

    await talks.exchange(request, serve)
    (frame,) = frames
    assert frame.count(b"\n") == 1
    assert talks.session.reusable
    return frame


async def received(talks: Talks, request: CallRequest) -> CloudEvent:
    """Have an exchange; return the event that the function was sent, as the SDK reads it."""
    frame = await sent(talks, request)
    event = from_structured_event(HTTPMessage({"content-type": "application/cloudevents+json"}, frame))
    assert isinstance(event, CloudEvent)
    return event


def from_caller(message: HTTPMessage, **fields: Any) -> CallRequest:
    """Return the call that an event of the SDK makes."""
    headers = [(name.encode(), value.encode()) for name, value in message.headers.items()]
    return call(Body(message.body), headers, **fields)


# A call that is no event becomes one.


async def test_fns_own_is_version_0_1(old: Talks) -> None:
    headers = [(b"host", b"h:1"), (b"x-y", b"1"), JSON_TYPE]
    sent_frame = await sent(old, call(b'{"a": [1, 2e400]}', headers))
    frame = json.loads(sent_frame.replace(b"2e400", b"2"))  # numbers pass as they are written
    assert datetime.fromisoformat(frame.pop("eventTime")).tzinfo is UTC
    assert frame == {
        "cloudEventsVersion": "0.1",
        "eventID": "CALL",
        "source": "http://h:1/t/a/b?c=d",
        "eventType": "io.fnproject.call",
        "eventTypeVersion": "1.0",
        "schemaURL": "",
        "contentType": "application/json",
        "extensions": {
            "deadline": "2020-09-13T12:26:40.250Z",
            "protocol": {
                "type": "http",
                "method": "PUT",
                "request_url": "http://h:1/t/a/b?c=d",
                "headers": {"X-Y": ["1"], "Content-Type": ["application/json"]},
            },
        },
        "data": {"a": [1, 2]},
    }


async def test_version_1_0_is_what_the_sdk_reads(new: Talks) -> None:
    event = await received(new, call(b'{"a": 1}', [(b"host", b"h"), JSON_TYPE]))
    assert (event.get_id(), event.get_source(), event.get_type()) == ("CALL", "http://h/t/a/b?c=d", "io.fnproject.call")
    assert event.get_time() is not None
    assert (event.get_datacontenttype(), event.get_data()) == ("application/json", {"a": 1})
    assert [event.get_extension(name) for name in ("fncallid", "fndeadline", "fnmethod", "fnrequesturl")] == [
        "CALL",
        "2020-09-13T12:26:40.250Z",
        "PUT",
        "http://h/t/a/b?c=d",
    ]


@pytest.mark.parametrize(
    ("type_", "body", "data"),
    [
        (b"", b"", None),
        (b"", b"text", b"text"),
        (b"text/plain", b"te\nxt}\n\xe2\x82\xac", "te\nxt}\n\u20ac"),
        (b"image/png", b"\x89\xff", b"\x89\xff"),
        (b"application/problem+json;a=b", b'{\n"a"\n:\n1}\n', {"a": 1}),
        (b"Application/JSON", b'"x"', "x"),
    ],
)
async def test_data_is_whatever_its_type_says(new: Talks, type_: bytes, body: bytes, data: object) -> None:
    headers = [(b"content-type", type_)] if type_ else []
    assert (await received(new, call(body, headers))).get_data() == data


@pytest.mark.parametrize("parts", [(b"", b'{"a":', b"1}"), (b'{"a":1', b"}")])
async def test_a_body_that_is_arriving_is_taken_whole(talks: Talks, parts: tuple[bytes, ...]) -> None:
    assert json.loads(await sent(talks, call(Body(*parts), [JSON_TYPE])))["data"] == {"a": 1}


# A call that is an event stays one.

EVENT = {
    "id": "7",
    "source": "/here?x=1",
    "type": "com.example.made",
    "subject": 'a "b" 100% \u20ac\r\nx: y',
    "dataschema": "https://example.com/schema",
    "time": datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC),
    "datacontenttype": "application/json",
    "other": "more",
}


@pytest.mark.parametrize("mode", [to_binary_event, to_structured_event])
@pytest.mark.parametrize(
    ("type_", "data"), [("application/json", {"a": "\u20ac"}), ("text/plain", "text"), ("image/png", b"\x89\xff")]
)
async def test_an_event_of_the_sdks_arrives_as_it_was(new: Talks, mode: Any, type_: str, data: Any) -> None:
    made = CloudEvent({**EVENT, "datacontenttype": type_}, data)
    event = await received(new, from_caller(mode(made)))
    told = {name: value for name, value in event.get_attributes().items() if not name.startswith("fn")}
    assert (told, event.get_data()) == (made.get_attributes(), data)
    assert event.get_extension("fncallid") == "CALL"


@pytest.mark.parametrize("mode", [to_binary_event, to_structured_event])
async def test_an_event_becomes_one_of_0_1_for_who_speaks_that(old: Talks, mode: Any) -> None:
    frame = json.loads(await sent(old, from_caller(mode(CloudEvent(dict(EVENT), {"a": 1})))))
    assert (frame["cloudEventsVersion"], frame["eventID"], frame["eventType"]) == ("0.1", "7", "com.example.made")
    assert (frame["source"], frame["schemaURL"]) == ("/here?x=1", "https://example.com/schema")
    assert frame["eventTime"].startswith("2020-01-02T03:04:05")
    assert (frame["contentType"], frame["data"]) == ("application/json", {"a": 1})
    assert (frame["extensions"]["subject"], frame["extensions"]["other"]) == (EVENT["subject"], "more")
    assert frame["extensions"]["protocol"]["method"] == "PUT"


async def test_attributes_have_their_types(new: Talks) -> None:
    made = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "a": True, "b": -5, "c": None}
    frame = json.loads(await sent(new, call(json.dumps(made).encode(), [STRUCTURED_TYPE])))
    assert (frame["a"], frame["b"], "c" in frame, "data" in frame) == (True, -5, False, False)


async def test_what_tells_of_the_call_cannot_be_forged(new: Talks) -> None:
    made = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "fncallid": "forged", "fnmethod": "forged"}
    frame = json.loads(await sent(new, call(json.dumps(made).encode(), [STRUCTURED_TYPE])))
    assert (frame["fncallid"], frame["fnmethod"]) == ("CALL", "PUT")


async def test_header_values_may_be_quoted(new: Talks) -> None:
    headers = [
        (b"CE-SpecVersion", b"1.0"),
        (b"ce-id", rb'"a \"b\" %e2%82%ac"'),
        (b"ce-source", b"s"),
        (b"ce-type", b"t"),
    ]
    assert json.loads(await sent(new, call(headers=headers)))["id"] == 'a "b" \u20ac'


def structured(**members: object) -> bytes:
    return json.dumps({"specversion": "1.0", "id": "1", "source": "s", "type": "t", **members}).encode()


@pytest.mark.parametrize(
    ("headers", "body", "told"),
    [
        ([JSON_TYPE], b"{", "not the JSON"),
        ([JSON_TYPE], b'"\xff"', "not the JSON"),
        ([JSON_TYPE], b"[" * 100_000, "not the JSON"),
        ([JSON_TYPE], b"{}{}", "not the JSON"),
        (BINARY[1:], b"", "specversion"),
        ([(b"ce-specversion", b"0.3"), *BINARY[1:]], b"", "specversion"),
        (BINARY[:-1], b"", "no type"),
        ([*BINARY[:-1], (b"ce-type", b"")], b"", "no type"),
        ([*BINARY, (b"Ce-Id", b"2")], b"", "several ce-id"),
        ([*BINARY, (b"ce-some-thing", b"2")], b"", "ce-some-thing"),
        ([*BINARY, (b"ce-data", b"2")], b"", "ce-data"),
        ([*BINARY, (b"ce-other", b"%ff")], b"", "ce-other"),
        ([STRUCTURED_TYPE], b"", "JSON object"),
        ([STRUCTURED_TYPE], b"[]", "JSON object"),
        ([STRUCTURED_TYPE], b"{" * 100, "JSON object"),
        ([STRUCTURED_TYPE], b'{"\xff":1}', "JSON object"),
        ([STRUCTURED_TYPE], b"{}", "specversion"),
        ([STRUCTURED_TYPE], structured(id=""), "no id"),
        ([STRUCTURED_TYPE], structured(source=5), "no source"),
        ([STRUCTURED_TYPE], structured(other={}), "other"),
        ([STRUCTURED_TYPE], structured(other=1.5), "other"),
        ([STRUCTURED_TYPE], structured(other=1 << 31), "other"),
        ([STRUCTURED_TYPE], structured(Other=1), "Other"),
        ([STRUCTURED_TYPE], structured(datacontenttype=5), "datacontenttype"),
        ([STRUCTURED_TYPE], structured(datacontenttype="text/plain", data={}), "data"),
        ([STRUCTURED_TYPE], structured(data=1, data_base64="YQ=="), "both"),
        ([STRUCTURED_TYPE], structured(data_base64="Y"), "base64"),
        ([STRUCTURED_TYPE], structured(data_base64=5), "data"),
        ([STRUCTURED_TYPE], structured(datacontenttype="application/json", data_base64="ew=="), "not the JSON"),
        ([STRUCTURED_TYPE], structured(**{f"a{number}": 1 for number in range(MOST_ATTRIBUTES // 7)}), "attributes"),
        ([(b"content-type", b"application/cloudevents-batch+json")], b"[]", "application/cloudevents\\+json"),
    ],
)
async def test_what_is_no_event_is_the_callers_fault_and_costs_no_container(
    talks: Talks, headers: list[tuple[bytes, bytes]], body: bytes, told: str
) -> None:
    with pytest.raises(errors.BadRequest, match=told):
        await talks.exchange(call(body, headers), answering(OK01))
    assert talks.session.reusable


async def test_version_0_1_has_no_room_for_what_is_no_text(old: Talks) -> None:
    with pytest.raises(errors.BadRequest, match="neither"):
        await old.exchange(call(b"\xff", [(b"content-type", b"image/png")]), answering(OK01))
    assert old.session.reusable


@pytest.mark.parametrize(
    "body",
    [Body(b"x" * (MIB + 1)), Body(b"", length=MIB + 1), Body(*[b"x" * CAPACITY] * 17), Body(b"x" * MIB, b"x")],
)
async def test_too_large_a_body_is_refused_and_costs_no_container(talks: Talks, body: Body) -> None:
    with pytest.raises(errors.BodyTooLarge):
        await talks.exchange(call(copy(body)), answering(OK01))
    assert talks.session.reusable


async def test_a_caller_that_goes_away_has_cost_no_container(talks: Talks) -> None:
    with pytest.raises(errors.CallerGone):
        await talks.exchange(call(Body(b"text", errors.CallerGone())), answering(OK01))
    assert talks.session.reusable


# Answers.


@pytest.mark.parametrize(
    ("answer", "headers", "body"),
    [
        ({}, [(b"Fn-Http-Status", b"200")], b""),
        (
            {"contentType": "text/plain", "data": "\u20ac", "eventID": "1", "more": {}},
            [(b"Fn-Http-Status", b"200"), (b"Content-Type", b"text/plain")],
            "\u20ac".encode(),
        ),
        (
            {"data": {"a": 1}, "extensions": {"protocol": {"status_code": 404, "headers": {"X": ["1"], "y": "2"}}}},
            [
                (b"Fn-Http-Status", b"404"),
                (b"Content-Type", b"application/json"),
                (b"Fn-Http-H-X", b"1"),
                (b"Fn-Http-H-y", b"2"),
            ],
            b'{"a": 1}',
        ),
        ({"contentType": None, "data": None, "extensions": None}, [(b"Fn-Http-Status", b"200")], b""),
        ({"specversion": "1.0", "fnstatus": 201}, [(b"Fn-Http-Status", b"201")], b""),
        (
            {"specversion": "1.0", "id": "only", "fnstatus": "404", "data": None, "data_base64": "/w=="},
            [(b"Fn-Http-Status", b"404")],
            b"\xff",
        ),
    ],
)
async def test_an_answer_of_either_version_is_the_callers(
    talks: Talks, answer: object, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    response, data = await talks.exchange(call(), answering(json.dumps(answer).encode() + b"\n"))
    assert (response.headers, data) == (headers, body)
    assert talks.session.reusable


def as_caller_sees(headers: list[tuple[bytes, bytes]], body: bytes, *, through_trigger: bool) -> HTTPMessage:
    """Return an answer as it leaves by one of the doors."""
    seen = {}
    for name, value in headers:
        text = name.decode().lower()
        if through_trigger and not text.startswith("fn-http-h-") and text != "content-type":
            continue
        seen[text.removeprefix("fn-http-h-") if through_trigger else text] = value.decode("ascii")
    return HTTPMessage(seen, body)


@pytest.mark.parametrize("through_trigger", [False, True])
@pytest.mark.parametrize(
    ("type_", "data"), [("application/json", {"a": "\u20ac"}), ("text/plain", "text"), ("image/png", b"\x89\xff")]
)
async def test_an_event_goes_out_in_binary_mode_as_the_sdk_reads_it(
    talks: Talks, type_: str, data: Any, through_trigger: bool
) -> None:
    made = CloudEvent({**EVENT, "datacontenttype": type_}, data)
    answer = to_structured_event(made).body + b"\n"
    response, body = await talks.exchange(call(through_trigger=through_trigger), answering(answer))
    event = from_http_event(as_caller_sees(response.headers, body, through_trigger=through_trigger))
    assert event.get_attributes() == made.get_attributes()
    assert event.get_data() == data


async def test_a_function_may_answer_with_the_event_that_it_got(new: Talks) -> None:
    async def serve(container: FakeContainer) -> None:
        await container.writes(await container.reads(b"}\n"))

    made = CloudEvent(dict(EVENT), {"a": 1})
    response, body = await new.exchange(from_caller(to_binary_event(made)), serve)
    event = from_http_event(as_caller_sees(response.headers, body, through_trigger=False))
    assert (event.get_attributes(), event.get_data()) == (made.get_attributes(), {"a": 1})


@pytest.mark.parametrize("cut", range(1, 30, 7))
async def test_it_does_not_matter_how_an_answer_is_cut(talks: Talks, cut: int) -> None:
    for _ in range(3):
        assert (await talks.exchange(call(), answering(OK10[:cut], OK10[cut:])))[1] == b"ok"


INVALID = errors.InvalidFunctionResponse


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"Starting...\n", INVALID),
        (b"{]\n", INVALID),
        (OK01 + OK01, INVALID),
        (OK10[:-2] + b"\n", None),  # never ends
        (structured(specversion="2.0"), INVALID),
        (structured(specversion=None), INVALID),
        (structured(other={}), INVALID),
        (structured(data_base64="Y"), INVALID),
        (structured(data=1, data_base64=""), INVALID),
        (structured(datacontenttype="a/b\r\nx: y"), INVALID),
        (structured(fnstatus=199), INVALID),
        (structured(fnstatus=True), INVALID),
        (structured(fnstatus="9" * 5000), INVALID),
        (structured(fnstatus="-200"), INVALID),
        (structured(**{"a b": 1}), INVALID),
        (structured(subject="x" * 2000), errors.FunctionHeadersTooLarge),
        (structured(subject="x" * MOST_ATTRIBUTES), INVALID),
        (structured(data="x" * 100_001), errors.FunctionBodyTooLarge),
        (b'{"data": "\xff"}\n', INVALID),
        (b'{"contentType": "a/json", "data": "\xff"}\n', INVALID),
        (b'{"contentType": 5}\n', INVALID),
        (b'{"contentType": "a/b", "data": {}}\n', INVALID),
        (b'{"extensions": 5}\n', INVALID),
        (b'{"extensions": {"protocol": {"status_code": 1}}}\n', INVALID),
        (b'{"extensions": {"protocol": {"headers": {"a\\n": "b"}}}}\n', INVALID),
        (
            b'{"extensions": {"protocol": {"headers": {%b}}}}\n' % b",".join(b'"%d":""' % n for n in range(2000)),
            errors.FunctionHeadersTooLarge,
        ),
        (b'{"data": %b1%b}\n' % (b"[" * 200, b"]" * 200), INVALID),
    ],
)
async def test_what_is_no_answer_fails_the_call_and_the_container(
    talks: Talks, answer: bytes, error: type[errors.FunctionError] | None, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(60) as scope:
        with pytest.raises(errors.FunctionError) as caught:
            await talks.exchange(call(), answering(answer))
        assert caught.type is error
    assert scope.cancelled_caught is (error is None)
    assert not talks.session.reusable


async def test_data_in_base64_is_that(new: Talks) -> None:
    answer = structured(data_base64=base64.b64encode(bytes(range(256))).decode())
    assert (await new.exchange(call(), answering(answer)))[1] == bytes(range(256))


@pytest.mark.parametrize("format_", ["cloudevent", "cloudevents-1.0"])
@pytest.mark.parametrize("parts", [(b"text",), (b"x" * CAPACITY, b"y" * CAPACITY)])
async def test_cancelled_at_any_step_of_an_exchange_it_is_not_reusable(format_: str, parts: tuple[bytes, ...]) -> None:
    async def scenario() -> None:
        request = call(Body(*parts), [(b"content-type", b"text/plain")])
        await check_cancellation(make(format_), request, answering(OK01[:5], OK01[5:]))

    await cancelled_at_every_step(scenario, at_least=4)


@pytest.mark.parametrize("format_", ["cloudevent", "cloudevents-1.0"])
def test_it_tells_the_function_its_format(format_: str) -> None:
    assert make(format_).environment("/tmp/iofs") == {"FN_FORMAT": format_}
