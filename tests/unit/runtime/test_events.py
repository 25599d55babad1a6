"""Events: who listens gets them, who does not costs nothing, who is slow is told."""

from __future__ import annotations

import json

from fnd.runtime.events import Event, EventBus, EventKind


async def test_every_listener_gets_what_happens_while_it_listens() -> None:
    bus = EventBus()
    bus.publish(Event(EventKind.FN_CREATED, {"fn_id": "before"}))
    with bus.subscribe() as first, bus.subscribe() as second:
        assert bus.listening
        event = Event(EventKind.FN_CREATED, {"fn_id": "f1"})
        bus.publish(event)
        assert await first.__anext__() is event
        assert await second.__anext__() is event
    assert not bus.listening


async def test_a_slow_listener_is_told_how_many_it_lost() -> None:
    bus = EventBus()
    with bus.subscribe(capacity=2) as events:
        for number in range(5):
            bus.publish(Event(EventKind.FN_CHANGED, {"number": number}))
        received = [await events.__anext__() for _ in range(3)]
    assert [event.kind for event in received] == ["fn.changed", "fn.changed", "events.lost"]
    assert received[2].fields == {"count": 3}


async def test_closing_ends_every_stream_old_and_new() -> None:
    bus = EventBus()
    with bus.subscribe() as events:
        bus.publish(Event(EventKind.DAEMON_STATE, {"state": "stopping"}))
        bus.close()
        assert [event.fields["state"] async for event in events] == ["stopping"]
    with bus.subscribe() as events:
        assert [event async for event in events] == []


def test_an_event_is_json() -> None:
    event = Event(EventKind.SETTINGS_RELOADED, {"changed": ("log_level",)}, at=12.5)
    assert json.loads(json.dumps(event.as_json())) == {
        "kind": "daemon.reloaded",
        "changed": ["log_level"],
        "at": 12.5,
    }
