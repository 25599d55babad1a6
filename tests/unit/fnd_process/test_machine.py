"""What is found out of a machine, and that nothing more is claimed."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import attrs
import pytest

from fnd.errors import ConfigurationError
from fnd_process.cgroups import Cgroups
from fnd_process.host import Host
from fnd_process.machine import Machine, inspect, is_worthwhile
from fnd_process.privileges import Tools
from fnd_process.protection import protections
from fnd_process.sandbox import Sandbox
from fnd_process.settings import ProcessSettings
from fnd_process.users import BLOCK_SIZE, Users, is_container_user

TOOLS = Tools(setpriv="/usr/bin/setpriv", prlimit="/usr/bin/prlimit", env="/usr/bin/env")
OFF = ProcessSettings(bubblewrap="off", cgroup="off")


def machine(
    *, sandboxed: bool, users: bool, cgroups: Path | None, tools: bool, privileged: bool, filtered: bool
) -> Machine:
    chain = TOOLS if tools else attrs.evolve(TOOLS, setpriv=None, prlimit=None)
    sandbox = Sandbox(
        program="/usr/bin/bwrap",
        tools=chain,
        settings=OFF,
        own_user=users,
        filter=b"x" if filtered else None,
        hidden=(),
    )
    return Machine(
        settings=OFF,
        sandbox=sandbox if sandboxed else None,
        no_sandbox="" if sandboxed else "no bubblewrap",
        host=Host(tools=chain, settings=OFF, privileged=privileged),
        privileged=privileged,
        users=Users(1 << 31) if users else None,
        no_users="" if users else "no users",
        cgroups=None if cgroups is None else Cgroups(cgroups, None),
        no_cgroups="no cgroup" if cgroups is None else "",
    )


@pytest.fixture
def groups(tmp_path: Path) -> dict[str, Path | None]:
    """No group, one that counts nothing, and one that counts all."""
    found: dict[str, Path | None] = {"none": None}
    for name, controllers in (("bare", ""), ("full", "memory pids")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.subtree_control").write_text(controllers)
        found[name] = tmp_path / name
    return found


def test_nothing_is_said_to_be_in_force_by_what_is_not_there(groups: dict[str, Path | None]) -> None:
    switches = itertools.product((False, True), repeat=5)
    for (sandboxed, users, tools, privileged, filtered), group in itertools.product(switches, groups):
        found = machine(
            sandboxed=sandboxed,
            users=users,
            cgroups=groups[group],
            tools=tools,
            privileged=privileged,
            filtered=filtered,
        )
        for protection in protections(found):
            by = protection.by.partition(":")[0].partition(",")[0]
            if protection.in_force:
                there = {
                    "bubblewrap": sandboxed,
                    "seccomp": sandboxed and filtered,
                    "setpriv": users or (tools and not sandboxed),
                    "prlimit": tools,
                    "cgroup v2": group != "none",
                    "watchdog": True,
                    "by their user id": users,
                }[by]
                assert there, protection
            else:
                assert protection.by, protection


def test_a_protection_that_is_not_in_force_says_what_would_put_it(groups: dict[str, Path | None]) -> None:
    bare = machine(sandboxed=False, users=False, cgroups=None, tools=True, privileged=False, filtered=True)
    by = {protection.name: protection.by for protection in protections(bare) if not protection.in_force}
    assert by["file system"] == "nothing; bubblewrap would, but: no bubblewrap"
    assert by["number of processes"] == "nothing; a cgroup v2 with a pids controller would, but: no cgroup"
    assert by["user"] == "no users"
    assert "a process can shed" in by["ending all its processes"]


def test_the_kernel_counts_memory_only_where_it_has_the_controller(groups: dict[str, Path | None]) -> None:
    said = {}
    for name, group in groups.items():
        found = machine(sandboxed=True, users=True, cgroups=group, tools=True, privileged=True, filtered=True)
        (said[name],) = (each.by for each in protections(found) if each.name == "memory")
    assert said["full"] == "cgroup v2"
    assert said["bare"].startswith("watchdog")
    assert said["none"].startswith("watchdog")


def test_a_control_group_that_counts_nothing_is_not_worth_its_time_in_a_sandbox(groups: dict[str, Path | None]) -> None:
    worth = {}
    for name in ("bare", "full"):
        path = groups[name]
        assert path is not None
        found = Cgroups(path, None)
        worth[name] = tuple(is_worthwhile(found, ProcessSettings(), sandboxed=sandboxed) for sandboxed in (True, False))
    assert worth == {"bare": (False, True), "full": (True, True)}


def test_a_runtime_directory_too_long_for_sockets_is_refused_with_by_how_much(tmp_path: Path) -> None:
    room = 107 - len("/" + "0" * 26 + "/iofs/phonylsnr.sock")
    fits = Path("/" + "r" * (room - 1))
    inspect(OFF, tmp_path, fits)
    with pytest.raises(ConfigurationError, match=r"come to|would have 108 bytes, .*choose one 1 bytes shorter"):
        inspect(OFF, tmp_path, Path(f"{fits}x"))


def test_no_bubblewrap_is_told_and_refused_where_it_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = inspect(ProcessSettings(cgroup="off"), tmp_path, Path("/run/x"))
    assert found.sandbox is None
    assert found.no_sandbox == "bubblewrap is not installed (its program is bwrap)"
    with pytest.raises(ConfigurationError, match='"require", but bubblewrap is not installed'):
        inspect(ProcessSettings(cgroup="off", bubblewrap="require"), tmp_path, Path("/run/x"))


def test_a_user_block_is_one_that_no_process_has() -> None:
    users = Users.find()
    assert is_container_user(users.first)
    assert is_container_user(users.first + BLOCK_SIZE - 1)
    assert not is_container_user(os.getuid())


def test_each_container_has_a_user_and_the_last_one_none() -> None:
    users = Users(1000)
    taken = [users.take() for _ in range(BLOCK_SIZE)]
    assert len(set(taken)) == BLOCK_SIZE
    assert users.take() is None
    users.give_back(1234)
    assert users.take() == 1234
