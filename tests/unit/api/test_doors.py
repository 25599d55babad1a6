"""Which door a request takes, and who is let in to manage."""

from __future__ import annotations

import os
from typing import Any

import attrs
import pytest
import trio

from fnd import errors
from fnd.api.doors import CONTROL, PUBLIC, Doors


@attrs.define
class Request:
    target: bytes
    authorization: bytes | None = None

    def header(self, name: bytes) -> bytes | None:
        assert name == b"authorization"
        return self.authorization


@attrs.define
class Connection:
    listener: str = PUBLIC
    peer_uid: int | None = None


@attrs.define
class House:
    """Notes which door was taken."""

    taken: list[str] = attrs.field(factory=list)

    async def invoke(self, connection: Any, request: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.taken.append("invoke")

    async def trigger(self, connection: Any, request: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.taken.append("trigger")

    async def __call__(self, connection: Any, request: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.taken.append("management")

    async def invoke_by_name(self, connection: Any, request: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.taken.append("lambda")


async def enter(request: Request, connection: Connection | None = None, token: str = "") -> list[str]:
    house: Any = House()
    doors = Doors(house, house.invoke_by_name, house, token, house)
    there: Any = connection or Connection()
    asked: Any = request
    await doors(there, asked)
    return list(house.taken)


OWN = Connection(CONTROL, os.geteuid())


@pytest.mark.parametrize(
    ("target", "door"),
    [
        (b"/invoke/id", "invoke"),
        (b"/invoke/", "invoke"),
        (b"/t/app/source", "trigger"),
        (b"/t/app", "trigger"),
        (b"/2015-03-31/functions/name/invocations", "lambda"),
        (b"/2015-03-31/functions", "management"),
        (b"/v2/apps", "management"),
        (b"/", "management"),
        (b"/invoke", "management"),
        (b"/tea", "management"),
        (b"http://here/invoke/id", "invoke"),
        (b"HTTPS://here:1/t/app", "trigger"),
        (b"http://here", "management"),
        (b"http://here/v2/apps?next=/invoke/id", "management"),
    ],
)
async def test_the_path_tells_the_door(target: bytes, door: str) -> None:
    assert await enter(Request(target), OWN) == [door]


@pytest.mark.parametrize("target", [b"*", b"here:80", b"ftp://here/invoke/id", b"invoke/id"])
async def test_a_target_that_is_no_path_is_bad(target: bytes) -> None:
    with pytest.raises(errors.BadRequest):
        await enter(Request(target), OWN)


@pytest.mark.parametrize("listener", [PUBLIC, CONTROL])
@pytest.mark.parametrize("target", [b"/invoke/id", b"/t/app/x"])
async def test_anybody_may_call_functions(listener: str, target: bytes) -> None:
    assert await enter(Request(target), Connection(listener, 12345))


async def test_the_control_socket_manages_for_its_own_user_and_root() -> None:
    for user in (os.geteuid(), 0):
        assert await enter(Request(b"/v2/apps"), Connection(CONTROL, user)) == ["management"]


@pytest.mark.parametrize("user", [12345, None, -1])
async def test_the_control_socket_manages_for_nobody_else(user: int | None) -> None:
    with pytest.raises(errors.Forbidden):
        await enter(Request(b"/v2/apps", b"Bearer secret"), Connection(CONTROL, user), "secret")


@pytest.mark.parametrize("authorization", [None, b"", b"Bearer ", b"Bearer secret"])
async def test_without_a_token_other_listeners_manage_for_nobody(authorization: bytes | None) -> None:
    with pytest.raises(errors.Forbidden):
        await enter(Request(b"/v2/apps", authorization), Connection(PUBLIC, 0))


@pytest.mark.parametrize("authorization", [None, b"", b"Bearer", b"Bearer secre", b"Bearer secrets", b"Basic secret"])
async def test_with_a_token_it_is_asked_for(authorization: bytes | None) -> None:
    with pytest.raises(errors.Unauthorized):
        await enter(Request(b"/v2/apps", authorization), Connection(PUBLIC), "secret")


async def test_who_has_the_token_manages() -> None:
    assert await enter(Request(b"/v2/apps", b"Bearer secret"), Connection(PUBLIC), "secret") == ["management"]
