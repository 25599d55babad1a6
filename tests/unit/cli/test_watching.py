"""What the daemon does and what functions write, as people and as programs get it."""

from __future__ import annotations

from typing import Any

import pytest

from fnd.cli.exits import ExitCode
from tests.unit.cli.scripted_daemon import Fnd, ScriptedDaemon, Seen, reply_lines

POOLS = {
    "memory_limit": 1024,
    "memory_reserved": 256,
    "cpu_limit": 2000,
    "cpu_reserved": 0,
    "calls_running": 1,
    "calls_waiting": 2,
    "calls_total": 30,
    "launches_total": 4,
    "pools": [
        {
            "app_name": "demo",
            "fn_name": name,
            "memory": 128,
            "retired": False,
            "waiting": 0,
            "calls": calls,
            "failures": 0,
            "launches": 2,
            "mean_run": 0.0015,
            "mean_start": None,
            "containers": [
                {
                    "id": f"C{name}",
                    "state": state,
                    "age": 90.0,
                    "in_state": 0.5,
                    "calls": calls,
                    "pid": 42,
                    "running": 0,
                    "call_id": "",
                }
            ],
        }
        for name, state, calls in (("quiet", "idle", 20), ("active", "busy", 10))
    ],
}

STATUS = {
    "version": "9.9",
    "pid": 42,
    "state": "ready",
    "uptime": 7300.0,
    "listeners": ["127.0.0.1:8080"],
    "control": "/run/fnd/control.sock",
    "data_directory": "/var/lib/fnd",
    "store": {"ok": False, "error": "disk full"},
    "logs": {"taken": 100, "cut": 0, "lost": 17, "pending": 0, "error": ""},
    "memory_limit": 1024,
    "memory_reserved": 256,
    "cpu_limit": 2000,
    "cpu_reserved": 0,
    "calls_running": 1,
    "calls_waiting": 2,
    "calls_total": 30,
    "launches_total": 4,
    "containers": 2,
    "pools": 2,
    "apps": 1,
    "fns": 2,
    "triggers": 0,
    "drivers": [
        {
            "scheme": "process",
            "protection": [
                {"name": "network", "in_force": True, "by": "bubblewrap"},
                {"name": "memory", "in_force": False, "by": "nothing: no cgroup v2"},
            ],
        }
    ],
    "default_driver": "process",
    "formats": ["http-stream"],
}


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


class TestStatus:
    """`fnd status`."""

    def test_for_programs_it_is_the_daemons_own(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        daemon.answer("GET", "/control/status", STATUS)
        assert fnd("status", "-o", "json").json == STATUS

    def test_for_people_it_tells_what_is_wrong_and_what_is_not_protected(
        self, fnd: Fnd, daemon: ScriptedDaemon
    ) -> None:
        daemon.answer("GET", "/control/status", STATUS)
        out = fnd("status").out
        assert "failing: disk full" in out
        assert "17 bytes lost" in out
        assert "2.03 h" in out
        assert ["memory", "no", "nothing:", "no", "cgroup", "v2"] in rows(out)
        assert ["network", "yes", "bubblewrap"] in rows(out)

    def test_for_people_it_tells_of_processors_if_any_are_reserved(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        daemon.answer("GET", "/control/status", STATUS)
        assert "cores" not in fnd("status").out
        daemon.answer("GET", "/control/status", STATUS | {"cpu_reserved": 1500})
        assert "256 of 1024 MiB reserved, 1.5 of 2 cores" in fnd("status").out

    def test_for_people_it_tells_that_functions_output_cannot_be_written(
        self, fnd: Fnd, daemon: ScriptedDaemon
    ) -> None:
        daemon.answer("GET", "/control/status", STATUS | {"logs": {"lost": 17, "error": "read-only"}})
        assert "failing: read-only" in fnd("status").out


class TestTop:
    """`fnd top`."""

    @pytest.fixture(autouse=True)
    def pools(self, daemon: ScriptedDaemon) -> None:
        daemon.answer("GET", "/control/pools", POOLS)

    def test_the_busiest_function_comes_first(self, fnd: Fnd) -> None:
        out = rows(fnd("top", "--once").out)
        assert [row[:4] for row in out[-2:]] == [["demo", "active", "1", "busy"], ["demo", "quiet", "1", "idle"]]
        assert "1.5 ms" in " ".join(out[-1])

    def test_each_container_can_be_seen(self, fnd: Fnd) -> None:
        out = rows(fnd("top", "--once", "--containers").out)
        assert out[-2][:5] == ["demo", "active", "Cactive", "busy", "42"]

    def test_for_programs_it_is_a_line_of_json_each_time(self, fnd: Fnd) -> None:
        assert fnd("top", "--once", "-o", "json").json_lines == [POOLS]

    def test_where_nobody_looks_it_goes_on_line_by_line_until_ctrl_c(
        self, fnd: Fnd, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pauses = iter([None, None])

        def sleep(seconds: float) -> None:
            assert seconds == 3
            if next(pauses, "over") == "over":
                raise KeyboardInterrupt

        monkeypatch.setattr("fnd.cli.top.time.sleep", sleep)
        ended = fnd("top", "-o", "json", "--interval", "3")
        assert (ended.code, len(ended.json_lines)) == (0, 3)


class TestLogs:
    """`fnd logs`."""

    @pytest.fixture
    def app(self, daemon: ScriptedDaemon) -> dict[str, Any]:
        app = daemon.add("apps", name="demo")
        for name in ("one", "two"):
            daemon.add("fns", name=name, app_id=app["id"])
        daemon.routes["GET", "/control/logs"] = self.answer
        return app

    @staticmethod
    def answer(seen: Seen) -> Any:
        """Two lines of each function, alternating in time, and one more for who follows."""
        fn_id = seen.query.get("fn", "FN3")
        lines = [
            {
                "at": 1_700_000_000.0 + second + (fn_id == "FN3") / 2,
                "fn_id": fn_id,
                "container_id": "C1",
                "call_id": f"K{second}",
                "stream": "stderr",
                "text": f"{fn_id} {second}\x1b[31m",
                "continued": False,
            }
            for second in range(2)
        ]
        return reply_lines(*(lines[-1:] if "fn" not in seen.query else lines))

    def test_one_functions_log_is_asked_for_by_its_id(
        self, fnd: Fnd, daemon: ScriptedDaemon, app: dict[str, Any]
    ) -> None:
        fnd("logs", "demo", "one", "--call", "K1", "-n", "7")
        assert daemon.seen[-1].query == {"fn": "FN2", "call": "K1", "lines": "7"}

    def test_an_apps_log_is_all_its_functions_in_the_order_of_time(
        self, fnd: Fnd, daemon: ScriptedDaemon, app: dict[str, Any]
    ) -> None:
        ended = fnd("logs", "demo", "-o", "json")
        assert [(line["fn_id"], line["call_id"]) for line in ended.json_lines] == [
            ("FN2", "K0"),
            ("FN3", "K0"),
            ("FN2", "K1"),
            ("FN3", "K1"),
        ]
        assert len(fnd("logs", "demo", "-n", "1", "-o", "json").json_lines) == 1

    def test_following_one_function_is_one_stream_with_its_history(
        self, fnd: Fnd, daemon: ScriptedDaemon, app: dict[str, Any]
    ) -> None:
        fnd("logs", "demo", "one", "--follow")
        assert daemon.seen[-1].query == {"fn": "FN2", "follow": "true", "lines": "100"}

    def test_following_an_app_goes_on_after_its_history(
        self, fnd: Fnd, daemon: ScriptedDaemon, app: dict[str, Any]
    ) -> None:
        ended = fnd("logs", "demo", "--follow", "-o", "json")
        assert len(ended.json_lines) == 5
        assert daemon.seen[-1].query == {"app": app["id"], "follow": "true"}

    def test_everything_can_be_followed_and_nothing_else_without_a_name(
        self, fnd: Fnd, daemon: ScriptedDaemon, app: dict[str, Any]
    ) -> None:
        assert fnd("logs", "--follow").code == 0
        assert daemon.seen[-1].query == {"follow": "true"}
        assert fnd("logs").code == ExitCode.USAGE

    def test_lines_for_people_have_their_function_and_call_and_cannot_steer_the_terminal(
        self, fnd: Fnd, app: dict[str, Any]
    ) -> None:
        line = fnd("logs", "demo").out.splitlines()[0]
        assert "K0" in line
        assert "one" in line
        assert "FN2 0\\x1b[31m" in line


def test_events_are_told_as_they_come(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    event = {"kind": "container.stopped", "container_id": "C1", "at": 1_700_000_000.5}
    daemon.answer_lines("GET", "/control/events", event)
    assert fnd("events", "-o", "json").json_lines == [event]
    line = fnd("events").out
    assert "container.stopped" in line
    assert "container_id=C1" in line


@pytest.mark.parametrize("what", ["drain", "reload", "stop"])
def test_the_daemon_is_steered(fnd: Fnd, daemon: ScriptedDaemon, what: str) -> None:
    daemon.answer("POST", f"/control/{what}", None, 202)
    ended = fnd(what)
    assert (ended.code, ended.out) == (0, "")
    assert daemon.last("POST").path == f"/control/{what}"


def test_a_refused_reload_says_why(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    daemon.answer("POST", "/control/reload", {"message": "memory: 'much' cannot be used"}, 400)
    ended = fnd("reload")
    assert (ended.code, ended.err) == (ExitCode.FAILED, "fnd: memory: 'much' cannot be used\n")
