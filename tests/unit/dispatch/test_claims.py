"""The order in which pools launch that want to and cannot yet."""

from __future__ import annotations

import pytest

from fnd.dispatch import Limits, Pool, PoolSettings
from fnd.dispatch.claims import Claims, Need

LIMITS = Limits(memory=1000, cores=2)


@pytest.fixture
def claims() -> Claims:
    return Claims()


def pool(name: str, cpu: int = 0) -> Pool:
    return Pool(name, PoolSettings(memory=100, cpu=cpu, idle_timeout=10.0), LIMITS)


def in_order(claims: Claims) -> list[object]:
    """Take out everybody, first to last."""
    order = []
    while (first := claims.first()) is not None:
        order.append(first.key)
        claims.remove(first)
    return order


def test_who_claims_first_is_first_and_claiming_again_changes_nothing(claims: Claims) -> None:
    first, second = pool("first"), pool("second")
    claims.add(first, Need.GROWING, 1.0)
    claims.add(second, Need.GROWING, 2.0)
    claims.add(first, Need.GROWING, 3.0)
    assert first.claimed_at == 1.0
    assert in_order(claims) == ["first", "second"]


def test_who_needs_it_more_is_before_who_claimed_earlier(claims: Claims) -> None:
    for need in reversed(Need):
        claims.add(pool(need.name), need, 1.0)
    assert in_order(claims) == [need.name for need in Need]


def test_who_comes_to_need_it_more_leaves_its_line_for_the_end_of_the_other(claims: Claims) -> None:
    first, second = pool("first"), pool("second")
    claims.add(second, Need.GROWING, 1.0)
    claims.add(first, Need.NEEDY, 2.0)
    claims.add(second, Need.NEEDY, 3.0)
    assert second.claimed_at == 3.0
    assert in_order(claims) == ["first", "second"]


def test_who_is_deferred_is_last_of_its_line(claims: Claims) -> None:
    pools = [pool("one"), pool("two", cpu=500), pool("three")]
    for each in pools:
        claims.add(each, Need.GROWING, 1.0)
    claims.defer(pools[0])
    claims.defer(pool("not here"))
    assert in_order(claims) == ["two", "three", "one"]


def test_who_is_deferred_is_also_behind_those_that_need_processors(claims: Claims) -> None:
    first, second = pool("first"), pool("second", cpu=500)
    claims.add(first, Need.GROWING, 1.0)
    claims.add(second, Need.GROWING, 1.0)
    claims.defer(first)
    assert in_order(claims) == ["second", "first"]


def test_pools_that_need_processors_and_those_that_do_not_stand_in_one_line(claims: Claims) -> None:
    for number in range(6):
        claims.add(pool(f"{number}", cpu=500 * (number % 2)), Need.GROWING, 1.0)
    assert in_order(claims) == ["0", "1", "2", "3", "4", "5"]


def test_where_processors_are_short_who_needs_none_can_be_asked_for(claims: Claims) -> None:
    with_cpu, without = pool("with", cpu=500), pool("without")
    claims.add(with_cpu, Need.NEEDY, 1.0)
    assert claims.first(but_for_cpu=True) is None
    claims.add(without, Need.GROWING, 2.0)
    assert claims.first() is with_cpu
    assert claims.first(but_for_cpu=True) is without


def test_a_pools_rival_is_the_first_other_with_callers(claims: Claims) -> None:
    holder, other, warming = pool("holder"), pool("other"), pool("warming")
    claims.add(warming, Need.WARMING, 1.0)
    claims.add(holder, Need.NEEDY, 1.0)
    assert claims.rival(holder) is None
    claims.add(other, Need.GROWING, 2.0)
    assert claims.rival(holder) is other
    assert claims.rival(other) is holder
    assert claims.rival(warming) is holder
