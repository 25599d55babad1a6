"""Calls are counted by what became of them; failures are judged by what a scenario allows."""

from __future__ import annotations

import pytest

from tests.faults.tally import NO_ANSWER, Allowed, Failure, Tally, in_general, not_inside, unexpected

LOST = "error receiving function response"


def test_calls_are_counted_and_failures_by_status_and_reason() -> None:
    tally = Tally()
    for outcome in (None, Failure(502, LOST, "1"), None, Failure(502, LOST, "2"), Failure(NO_ANSWER, "refused")):
        tally.add(outcome)
    assert (tally.sent, tally.answered) == (5, 2)
    assert tally.reasons() == {(502, LOST): 2, (NO_ANSWER, "refused"): 1}


def test_tallies_add_up() -> None:
    one, other = Tally(), Tally()
    one.add(None)
    other.add(Failure(504, "Timed out"))
    one.merge(other)
    assert (one.sent, one.answered, len(one.failures)) == (2, 1, 1)


@pytest.mark.parametrize(
    ("why", "general"),
    [
        ("container 01M8A3A7HDW9CJM63JK100XV04 is gone", "container ID is gone"),
        ("[Errno 24] Too many open files", "[Errno N] Too many open files"),
        ("no answer at unix:///tmp/fnd-docker-x/docker.sock (2)", "no answer at PATH (N)"),
        ("x" * 200, "x" * 119 + "…"),
    ],
)
def test_reasons_of_one_kind_are_one_reason(why: str, general: str) -> None:
    assert in_general(why) == general


def test_only_what_is_not_allowed_is_unexpected() -> None:
    failures = [Failure(502, "Docker Engine does not answer"), Failure(502, LOST), Failure(503, "busy")]
    assert unexpected(failures, [Allowed(502, "Docker Engine"), Allowed(503)]) == [f"1 × 502: {LOST}"]
    assert unexpected(failures, [Allowed(502), Allowed(503)]) == []
    assert unexpected([Failure(NO_ANSWER, "refused")], []) == ["1 × no answer: refused"]


def test_only_calls_inside_killed_containers_may_fail_each_with_502() -> None:
    inside = [(Failure(502, LOST, "a"), "one"), (Failure(502, LOST, "b"), "other")]
    assert not_inside(inside, ["one", "other", "idle"]) == []


@pytest.mark.parametrize(
    ("failure", "container", "wrong"),
    [
        (Failure(504, "Timed out"), "one", "1 × failed with 504: Timed out"),
        (Failure(502, LOST), "two", f"1 × failed in a container that nobody killed with 502: {LOST}"),
        (Failure(502, LOST), "", f"1 × failed in no container with 502: {LOST}"),
        (Failure(NO_ANSWER, "refused"), "", "1 × failed with no answer: refused"),
    ],
)
def test_a_call_that_failed_elsewhere_is_told(failure: Failure, container: str, wrong: str) -> None:
    assert not_inside([(failure, container)], ["one"]) == [wrong]


def test_a_container_has_one_call_inside_when_it_is_killed() -> None:
    twice = [(Failure(502, LOST, call_id), "one") for call_id in "ab"]
    assert not_inside(twice, ["one"]) == [f"1 × a second call failed in one killed container with 502: {LOST}"]
