"""The chain of programs that gives up privileges."""

from __future__ import annotations

import pytest

from fnd_process.privileges import Tools, data_limit, split_environment
from fnd_process.settings import ProcessSettings

TOOLS = Tools(setpriv="/usr/bin/setpriv", prlimit="/usr/bin/prlimit", env="/usr/bin/env")


@pytest.mark.parametrize(
    "name",
    [
        *("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GLIBC_TUNABLES", "MALLOC_CHECK_", "GCONV_PATH", "LOCPATH"),
        *("BASH_ENV", "BASH_FUNC_echo%%", "ENV", "PS4", "SHELLOPTS", "NLSPATH", "a.b", "", "9X", "-i"),
    ],
)
def test_what_would_run_code_or_bend_the_loader_reaches_the_command_alone(name: str) -> None:
    assert split_environment({name: "x", "PATH": "/bin"}) == ({"PATH": "/bin"}, {name: "x"})


@pytest.mark.parametrize("name", ["PATH", "HOME", "FN_LISTENER", "_x", "OLD_LIBRARY", "TMPDIR", "PYTHONPATH"])
def test_what_the_chain_does_not_heed_is_simply_there(name: str) -> None:
    assert split_environment({name: "x"}) == ({name: "x"}, {})


def test_what_the_command_alone_may_see_is_set_last() -> None:
    assert TOOLS.set_variables({}) == []
    assert TOOLS.set_variables({"LD_PRELOAD": "/x.so"}) == ["/usr/bin/env", "--", "LD_PRELOAD=/x.so"]


def test_limits_are_set_for_what_is_counted() -> None:
    settings = ProcessSettings(open_files=10, file_size=2)
    always = ["/usr/bin/prlimit", "--nofile=10", "--fsize=2097152", "--core=0"]
    assert TOOLS.limit(settings, None, None) == always
    assert TOOLS.limit(settings, 5, 1000) == [*always, "--nproc=5", "--data=1000"]


def test_a_tool_that_is_missing_is_left_out() -> None:
    none = Tools(setpriv=None, prlimit=None, env="/usr/bin/env")
    assert none.limit(ProcessSettings(), 5, None) == []
    assert none.on_host(None, privileged=True) == []


def test_on_the_host_everything_is_given_up_that_can_be() -> None:
    assert TOOLS.on_host(5, privileged=True) == [
        *("/usr/bin/setpriv", "--reuid=5", "--regid=5", "--clear-groups"),
        *("--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs", "--pdeathsig=KILL"),
    ]
    assert "--bounding-set=-all" in TOOLS.on_host(None, privileged=True)
    assert "--bounding-set=-all" not in TOOLS.on_host(None, privileged=False)


def test_the_last_resort_against_memory_leaves_room_for_threads() -> None:
    assert data_limit(128) == 1 << 30
