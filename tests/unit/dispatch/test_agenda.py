"""The heap of things whose keys change."""

from __future__ import annotations

from fnd.dispatch.agenda import Agenda


def test_the_least_key_comes_first_and_of_equals_the_earlier() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.put("b", 2)
    agenda.put("a", 1)
    agenda.put("also a", 1)
    assert agenda.first() == (1, "a")


def test_an_item_that_moves_is_found_at_its_new_key_alone() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.put("a", 1)
    agenda.put("b", 2)
    agenda.put("a", 3)
    assert (agenda.first(), agenda.key("a")) == ((2, "b"), 3)
    agenda.discard("b")
    assert agenda.first() == (3, "a")
    agenda.discard("a")
    assert (agenda.first(), agenda.key("a")) == (None, None)


def test_what_moved_or_left_does_not_pile_up() -> None:
    agenda: Agenda[int] = Agenda()
    for key in range(10_000):
        agenda.put(key % 10, key)
    assert len(agenda._heap) < 200
