"""A container's life, with real processes, in each way of confining them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio

from fnd.errors import ContainerFailed
from fnd.hookspecs import Exit, Link
from fnd.testing import cancelled_at_every_step
from fnd_process.container import ProcessContainer
from fnd_process.processes import read_entry
from fnd_process.usage import memory_of
from tests.system.fnd_process.workbench import SERVER, Log, Workbench, eventually, ready, run

pytestmark = pytest.mark.system


async def test_a_function_is_reached_through_the_socket_it_binds_in_its_directory(bench: Workbench) -> None:
    image = await bench.image(SERVER)
    async with bench.driver.start(bench.spec(image)) as container:
        with await ready(container) as connection:
            connection.sendall(b"hello")
            assert connection.recv(100) == b"hello"
        assert container.pid is not None
        assert Path(f"/proc/{container.pid}").exists()
        assert container.spec.image == image


async def test_what_it_writes_goes_to_its_log_last_words_included(bench: Workbench) -> None:
    _, log = await run(
        bench,
        """
        import sys
        print("to standard output")
        print("to standard error", file=sys.stderr)
        sys.stdout.write("no newline")
        """,
    )
    assert log.stdout == "to standard output\nno newline"
    assert log.stderr == "to standard error\n"


async def test_it_is_read_however_much_it_writes(bench: Workbench) -> None:
    result, log = await run(
        bench,
        """
        import os
        for _ in range(320):
            os.write(1, b"x" * 32768)
            os.write(2, b"y" * 32768)
        """,
    )
    assert result == Exit(code=0)
    assert len(log.streams["stdout"]) == len(log.streams["stderr"]) == 320 * 32768


@pytest.mark.parametrize(
    ("main", "result"),
    [
        ("raise SystemExit(0)", Exit(code=0)),
        ("raise SystemExit(7)", Exit(code=7)),
        ("import os; os.kill(os.getpid(), 9)", Exit(signal=9)),
        ("import os; os.abort()", Exit(signal=signal.SIGABRT)),
    ],
)
async def test_how_it_ended_is_told_to_all_who_wait_and_come_later(bench: Workbench, main: str, result: Exit) -> None:
    image = await bench.image(main)
    results = []
    async with bench.driver.start(bench.spec(image)) as container:

        async def wait() -> None:
            results.append(await container.wait())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)
        await wait()
    assert results == [result] * 3


async def test_streams_carry_bytes_both_ways_and_their_end(bench: Workbench) -> None:
    log = Log()
    image = await bench.image(
        """
        import sys
        for line in sys.stdin:
            print(line.upper(), end="", flush=True)
            print("took a line", file=sys.stderr)
        print("end", end="")
        """
    )
    async with bench.driver.start(bench.spec(image, log=log, link=Link.STREAMS)) as container:
        await container.streams.send_all(b"one\n")
        assert await container.streams.receive_some(100) == b"ONE\n"
        await container.streams.send_all(b"two\n")
        assert await container.streams.receive_some(100) == b"TWO\n"
        await container.streams.send_eof()
        assert await container.streams.receive_some(100) == b"end"
        assert await container.streams.receive_some(100) == b""
        assert await container.wait() == Exit(code=0)
    assert log.stdout == ""
    assert log.stderr == "took a line\n" * 2


async def test_it_is_asked_to_end_and_may_say_its_last_words(bench: Workbench) -> None:
    log = Log()
    image = await bench.image(
        """
        import signal, sys
        def end(*_):
            print("asked to end")
            sys.exit(3)
        signal.signal(signal.SIGTERM, end)
        print("ready")
        signal.pause()
        """
    )
    async with bench.driver.start(bench.spec(image, log=log)) as container:
        await log.until("ready\n")
    assert log.stdout == "ready\nasked to end\n"
    assert await container.wait() == Exit(code=3)


class TestOneThatDoesNotEnd:
    @pytest.fixture
    def settings(self) -> dict[str, float]:
        return {"stop_grace": 0.1}

    async def test_is_ended(self, bench: Workbench) -> None:
        log = Log()
        image = await bench.image(
            """
            import signal
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print("ready")
            while True:
                signal.pause()
            """
        )
        async with bench.driver.start(bench.spec(image, log=log)) as container:
            await log.until("ready")
        assert await container.wait() == Exit(signal=signal.SIGKILL)


async def test_children_that_left_its_session_go_with_it(bench: Workbench) -> None:
    log = Log()
    image = await bench.image(
        """
        import os, signal, time
        for kind in ("child", "session", "daemon"):
            if os.fork() == 0:
                if kind != "child":
                    os.setsid()
                if kind == "daemon":
                    if os.fork():
                        os._exit(0)
                    os.close(0); os.close(1); os.close(2)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
                while True:
                    signal.pause()
        os.wait()
        print("ready")
        signal.pause()
        """
    )
    async with bench.driver.start(bench.spec(image, log=log)):
        await log.until("ready")
        assert len(bench.living()) >= 4
    assert bench.living() == []


async def test_children_of_one_that_has_ended_go_with_it(bench: Workbench) -> None:
    result, _ = await run(
        bench,
        """
        import os, signal
        if os.fork() == 0:
            os.setsid()
            os.close(0); os.close(1); os.close(2)
            while True:
                signal.pause()
        """,
    )
    assert result == Exit(code=0)
    assert bench.living() == []


async def test_output_that_an_outliving_child_holds_open_does_not_hold_up_the_end(bench: Workbench) -> None:
    _, log = await run(
        bench,
        """
        import os, time
        if os.fork() == 0:
            os.setsid()
            time.sleep(1000)
        print("done")
        """,
    )
    assert log.stdout == "done\n"


class TestAForkBomb:
    @pytest.fixture
    def settings(self) -> dict[str, int]:
        return {"pids": 20}

    async def test_is_contained_where_that_is_said_and_goes_altogether(self, bench: Workbench) -> None:
        log = Log()
        image = await bench.image(
            """
            import os, signal
            forked = 0
            try:
                while forked < 60:  # enough to show it, and no danger to the machine
                    if os.fork() == 0:
                        os.setsid()
                        signal.pause()
                    forked += 1
            except BlockingIOError:
                pass
            print("forked", forked, "times")
            signal.pause()
            """
        )
        async with bench.driver.start(bench.spec(image, log=log)):
            await log.until("times")
            forked = int(log.stdout.split()[1])
        assert forked == (19 if bench.in_force("number of processes") else 60)
        assert bench.living() == []

    async def test_that_forks_while_it_is_killed_is_outrun(self, bench: Workbench) -> None:
        log = Log()
        image = await bench.image(
            """
            import os, signal
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            print("ready")
            # Each is replaced by its child, in a session of its own, before it can be looked at for long.
            while True:
                if os.fork():
                    os._exit(0)
                os.setsid()
            """
        )
        async with bench.driver.start(bench.spec(image, log=log)):
            await log.until("ready")
        assert bench.living() == []


async def test_one_that_takes_too_much_memory_is_killed_and_that_is_told(bench: Workbench) -> None:
    result, _ = await run(
        bench,
        """
        import time
        taken = []
        while True:
            taken.append(b"x" * (4 << 20))
            time.sleep(0.005)
        """,
        memory=64,
    )
    assert result.signal == signal.SIGKILL
    assert result.reason.startswith("memory limit of 64 MiB exceeded")


async def test_memory_is_counted_over_all_its_processes(bench: Workbench) -> None:
    result, _ = await run(
        bench,
        """
        import os, time
        for _ in range(4):
            if os.fork() == 0:
                taken = b"x" * (30 << 20)
                time.sleep(1000)
        time.sleep(1000)
        """,
        memory=64,
    )
    assert result.reason.startswith("memory limit of 64 MiB exceeded")


async def test_pages_that_its_processes_share_are_counted_once(bench: Workbench) -> None:
    log = Log()
    image = await bench.image(
        """
        import os, time
        shared = b"x" * (30 << 20)
        for _ in range(4):
            if os.fork() == 0:
                print("forked")
                time.sleep(1000)
        time.sleep(1000)
        """
    )
    async with bench.driver.start(bench.spec(image, log=log, memory=64)) as container:
        await eventually(lambda: log.stdout.count("forked") == 4)
        assert isinstance(container, ProcessContainer)
        tree = container._tree
        assert 30 << 20 < memory_of(tree.members(), tree.scratch(), 64 << 20) < 64 << 20
        assert memory_of(tree.members(), tree.scratch(), 1 << 40) > 64 << 20  # if they were counted by process


async def test_one_that_fills_the_directory_of_its_socket_is_killed_and_that_is_told(bench: Workbench) -> None:
    result, _ = await run(
        bench,
        """
        import os, time
        directory = os.path.dirname(os.environ["FN_LISTENER"].removeprefix("unix:"))
        with open(directory + "/junk", "wb") as file:
            file.write(b"x" * (4 << 20))
        time.sleep(1000)
        """,
    )
    assert result.signal == signal.SIGKILL
    assert result.reason == "more than 64 files or 1 MiB in the directory for its socket"


async def test_whatever_it_makes_of_its_directory_is_removed(bench: Workbench) -> None:
    result, _ = await run(
        bench,
        """
        import os
        os.chdir(os.path.dirname(os.environ["FN_LISTENER"].removeprefix("unix:")))
        os.symlink("/", "root")
        os.mkfifo("fifo")
        top = os.getcwd()
        for _ in range(1100):  # deeper than a path can be long
            os.mkdir("d" * 100)
            os.chdir("d" * 100)
        os.mkdir("locked")
        os.chmod("locked", 0)
        os.chmod(top, 0)
        """,
    )
    assert result == Exit(code=0)


async def test_it_has_the_environment_it_is_given_and_no_other(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_DAEMON", "x")
    given = {"GREETING": "héllo wörld", "MULTI": "a\nb", "EMPTY": "", "LD_DEBUG_OUTPUT": "/x", "a.b": "dotted"}
    _, log = await run(bench, "import os; print(dict(os.environ))", environment={**given, "HOME": "/somewhere/else"})
    found = eval(log.stdout)
    assert given.items() <= found.items()
    assert found["HOME"] == "/somewhere/else"
    assert found["FND_CONTAINER_ID"] in bench.ids
    assert set(found) == {
        *given,
        *("FN_LISTENER", "HOME", "PATH", "LANG", "FND_CONTAINER_ID"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"),
        *(() if bench.sandboxed else ("TMPDIR",)),
        *({"PWD"} & set(found)),  # where it is: bubblewrap and shells say so
    }


async def test_a_launcher_runs_first_and_becomes_the_function(bench: Workbench) -> None:
    log = Log()
    image = await bench.image("import os; print('the function', os.getpid(), os.environ['A'], os.environ['LAUNCHED'])")
    launcher = "import os, sys; os.environ['LAUNCHED'] = str(os.getpid()); os.execv(sys.argv[1], sys.argv[1:])"
    async with bench.driver.start(bench.spec(image, log=log, environment={"A": "b"}, launcher=launcher)) as container:
        assert (await container.wait()).code == 0
    _, _, pid, configured, launched_as = log.stdout.split()
    assert (pid, configured) == (launched_as, "b")


async def test_its_configuration_reaches_no_program_but_its_own(bench: Workbench, root: Path) -> None:
    """LD_PRELOAD would have code of the function's run in the programs that are to confine it."""
    log = Log()
    image = await bench.image("print('the function runs')")
    spec = bench.spec(image, log=log, environment={"LD_PRELOAD": "/no/such/library.so", "LD_DEBUG": "unused"})
    async with bench.driver.start(spec) as container:
        await container.wait()
    assert log.stdout.count("the function runs") == 1
    complaints = [line for line in log.stderr.splitlines() if "/no/such/library.so" in line]
    # env, which sets it, does not load it; Python does.
    assert len(complaints) == 1


@pytest.mark.parametrize("name", ["", "A=B", "A\0B"])
async def test_a_variable_that_cannot_be_one_fails_the_start_and_leaves_nothing(bench: Workbench, name: str) -> None:
    image = await bench.image(SERVER)
    with pytest.raises(ContainerFailed, match="no environment variable can hold"):
        async with bench.driver.start(bench.spec(image, environment={name: "x"})):
            pass


async def test_more_environment_than_a_process_can_have_fails_the_start_and_leaves_nothing(bench: Workbench) -> None:
    image = await bench.image("print('x')")
    log = Log()
    spec = bench.spec(image, log=log, environment={"LARGE": "x" * 3_000_000})
    if bench.sandboxed:
        async with bench.driver.start(spec) as container:
            assert (await container.wait()).code not in (0, None)
        assert "Argument list too long" in log.stderr
    else:
        with pytest.raises(ContainerFailed, match="Argument list too long"):
            async with bench.driver.start(spec):
                pass
    assert log.stdout == ""


async def test_an_id_that_is_taken_fails_the_start_and_leaves_the_other_alone(bench: Workbench) -> None:
    image = await bench.image(SERVER)
    spec = bench.spec(image)
    async with bench.driver.start(spec) as container:
        with pytest.raises(ContainerFailed, match="File exists"):
            async with bench.driver.start(spec):
                pass
        (await ready(container)).close()


async def test_it_is_paused_and_resumed_all_of_it(bench: Workbench) -> None:
    log = Log()
    image = await bench.image(
        """
        import os, time
        os.fork()
        print("ready", os.getpid())
        while True:
            pass
        """
    )
    async with bench.driver.start(bench.spec(image, log=log)) as container:
        await eventually(lambda: log.stdout.count("ready") == 2)
        await container.pause()
        await container.pause()  # once is enough
        await eventually(lambda: busy(bench) == 0)
        await container.resume()
        await eventually(lambda: busy(bench) == 2)


def busy(bench: Workbench) -> int:
    """Return how many of the bench's processes compute."""
    groups = bench.driver._running.machine.cgroups
    if groups is not None and any(
        "frozen 1" in (group.path / "cgroup.events").read_text() for group in groups.existing()
    ):
        return 0
    entries = [read_entry(pid) for pid in bench.living()]
    return sum(entry is not None and entry.state == "R" for entry in entries)


async def test_one_that_is_paused_ends_as_any(bench: Workbench) -> None:
    log = Log()
    image = await bench.image(
        """
        import signal, sys
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("asked to end"))
        print("ready")
        while True:
            signal.pause()
        """
    )
    async with bench.driver.start(bench.spec(image, log=log)) as container:
        await log.until("ready")
        await container.pause()
    assert log.stderr == "asked to end\n"
    await container.pause()  # of no consequence, since there is nothing left
    await container.resume()


async def test_what_its_user_raises_comes_out_as_it_is_and_it_is_gone(bench: Workbench) -> None:
    image = await bench.image(SERVER)
    with pytest.raises(ZeroDivisionError):
        async with bench.driver.start(bench.spec(image)):
            raise ZeroDivisionError
    assert bench.living() == []


async def test_cancelled_wherever_it_can_be_nothing_is_left(bench: Workbench) -> None:
    image = await bench.image("import signal; signal.pause()")
    await bench.driver.prepare(image)

    async def scenario() -> None:
        with bench.nothing_left():
            async with bench.driver.start(bench.spec(image)) as container:
                await trio.lowlevel.checkpoint()
                await container.pause()
                await container.resume()
                await trio.lowlevel.checkpoint()

    await cancelled_at_every_step(scenario, at_least=10)


async def test_many_at_once_leave_nothing(bench: Workbench) -> None:
    image = await bench.image(SERVER)

    async def one() -> None:
        async with bench.driver.start(bench.spec(image)) as container:
            with await ready(container) as connection:
                connection.sendall(b"x")
                assert connection.recv(1) == b"x"

    with bench.nothing_left():
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(one)


async def test_it_is_a_user_of_its_own_where_that_is_said(bench: Workbench) -> None:
    _, log = await run(bench, "import os; print(os.getuid())")
    if bench.in_force("user"):
        assert int(log.stdout) > 1 << 30
    elif bench.sandboxed:
        assert int(log.stdout) == 1000
    else:
        assert int(log.stdout) == os.getuid()
