"""How calls went, as people and as programs get it; and why one was slow, in sentences."""

from __future__ import annotations

from typing import Any

import pytest

from fnd.cli.exits import ExitCode
from tests.unit.cli.scripted_daemon import Fnd, ScriptedDaemon

MET = {"ahead": 12, "busy": 3, "launching": 1, "launched": 0, "mean_run": 0.0012, "mean_start": 0.11}


def record(**fields: Any) -> dict[str, Any]:
    return {
        "id": "01K0000000000000000000CALL",
        "app_id": "APP1",
        "app_name": "demo",
        "fn_id": "FN1",
        "fn_name": "hello",
        "arrived_at": "2026-11-25T14:52:01.123000Z",
        "state": "answered",
        "status": 200,
        "error": "",
        "cold": False,
        "resumed": False,
        "receive": 0.0,
        "queue": 0.0,
        "launch": 0.0,
        "run": 0.002,
        "waited_for": "",
        "container_id": "C1",
        "situation": None,
    } | fields


def words(text: str) -> str:
    """Return the text with whatever space there is as one."""
    return " ".join(text.split())


class TestCalls:
    """`fnd calls`."""

    def test_it_asks_for_what_it_is_told(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        app = daemon.add("apps", name="demo")
        fn = daemon.add("fns", name="hello", app_id=app["id"])
        daemon.answer("GET", "/control/calls", {"calls": [], "store_error": ""})
        fnd("calls", "demo", "hello", "--failed", "--slower", "0.5", "-n", "7")
        assert daemon.last("GET").query == {
            "app": app["id"],
            "fn": fn["id"],
            "failed": "true",
            "slower": "0.5",
            "limit": "7",
        }
        fnd("calls")
        assert daemon.last("GET").query == {"limit": "20"}

    def test_each_call_is_a_line(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        failed = record(state="failed", status=504, error="Timed out", queue=1.5, waited_for="capacity")
        daemon.answer("GET", "/control/calls", {"calls": [record(), failed], "store_error": ""})
        _, first, second = fnd("calls").out.splitlines()
        assert "demo/hello answered 200 0 ms 0 ms 0 ms 2 ms" in words(first)
        assert words(second).endswith("failed 504 0 ms 1.5 s 0 ms 2 ms capacity Timed out")

    def test_a_name_that_is_no_text_is_refused(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        result = fnd("calls", "shop\udcff")
        assert result.code == ExitCode.USAGE
        assert "'shop\\udcff' is no text" in result.err

    def test_for_programs_it_is_a_line_of_json_each(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        daemon.answer("GET", "/control/calls", {"calls": [record(), record(id="2")], "store_error": ""})
        assert fnd("calls", "-o", "json").json_lines == [record(), record(id="2")]

    def test_that_older_ones_are_missing_is_told_beside(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        daemon.answer("GET", "/control/calls", {"calls": [record()], "store_error": "disk full"})
        result = fnd("calls", "-o", "json")
        assert "disk full" in result.err
        assert result.json_lines == [record()]


class TestExplain:
    """`fnd explain`."""

    def explain(self, fnd: Fnd, daemon: ScriptedDaemon, **fields: Any) -> str:
        daemon.answer("GET", "/control/calls/CALL", record(**fields))
        return words(fnd("explain", "CALL").out)

    def test_for_programs_it_is_the_record(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        daemon.answer("GET", "/control/calls/CALL", record())
        assert fnd("explain", "CALL", "-o", "json").json == record()

    def test_a_call_that_found_a_container(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        told = self.explain(fnd, daemon)
        assert "answered 200 after 2 ms" in told
        assert "in container C1" in told
        assert "a container was idle, and took it at once" in told
        assert "queue" not in told

    def test_a_cold_call(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        met = MET | {"ahead": 0, "busy": 0, "launching": 0, "launched": 1}
        told = self.explain(fnd, daemon, cold=True, launch=0.2, queue=0.001, waited_for="herd gate", situation=met)
        assert "waited for herd gate: its function had no container, and the first was being launched" in told
        assert "launch 200 ms" in told
        assert "Because it came, 1 container more began to be launched." in told

    def test_a_call_that_lined_up_tells_what_that_was_expected_to_cost(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        told = self.explain(fnd, daemon, queue=0.006, waited_for="busy containers", situation=MET)
        assert "3 busy, 1 being launched, 12 calls in line before it" in told
        assert "13 runs of 1.2 ms on 3 containers were expected to take 5.2 ms, and a launch 110 ms" in told, (
            "the numbers that decided it"
        )

    @pytest.mark.parametrize(
        ("met", "expected"),
        [
            (MET | {"mean_run": 0.0}, "too little was known of its function"),
            (MET | {"busy": 0}, "no other is launched before that one is known to work"),
        ],
    )
    def test_a_call_of_which_less_is_known(
        self, fnd: Fnd, daemon: ScriptedDaemon, met: dict[str, Any], expected: str
    ) -> None:
        assert expected in self.explain(fnd, daemon, queue=0.5, situation=met)

    def test_a_call_that_was_rejected(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        met = MET | {"busy": 0, "launching": 0}
        told = self.explain(
            fnd,
            daemon,
            state="failed",
            status=503,
            error="server too busy",
            queue=30.0,
            run=0.0,
            container_id="",
            waited_for="capacity",
            situation=met,
        )
        assert "failed 503 after 30 s: server too busy" in told
        assert "waited for capacity: the machine's memory was reserved by others" in told
        assert "no container took it" in told
        assert "No container could be launched for it at once: the machine's memory was reserved by others" in told
        assert "No container had taken it when it ended" in told

    def test_a_call_that_waited_for_processors_is_not_told_of_memory(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        met = MET | {"busy": 0, "launching": 0}
        told = self.explain(fnd, daemon, queue=2.0, waited_for="processors", situation=met)
        assert "waited for processors: the machine's processors were reserved by others" in told
        assert "memory" not in told

    def test_a_call_that_was_refused(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        refused = {"state": "failed", "status": 429, "error": "Too many requests", "run": 0.0, "container_id": ""}
        told = self.explain(fnd, daemon, **refused, situation=MET)
        assert "12 calls in line before it. It was refused at once." in told
        assert "lined up" not in told

    def test_a_call_whose_body_never_came(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        timed_out = {"state": "failed", "status": 408, "error": "Timed out", "run": 0.0, "container_id": ""}
        told = self.explain(fnd, daemon, **timed_out, receive=20.0)
        assert "receive 20 s" in told
        assert "It ended before it was to be given a container" in told

    def test_a_call_that_waits_for_a_launch_is_told_what_for(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        met = MET | {"ahead": 0, "busy": 0, "launching": 0}
        waiting = {"state": "waiting", "status": 0, "run": 0.0, "container_id": ""}
        told = self.explain(fnd, daemon, **waiting, queue=2.0, waited_for="launch limit", situation=met)
        assert "waiting for 2 s" in told
        assert "No container could be launched for it at once: the machine was launching as many" in told

    def test_a_call_that_goes_on(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        assert "running for 4 s" in self.explain(fnd, daemon, state="running", status=0, run=4.0)

    def test_a_container_that_was_paused(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        assert "which was paused and had to run on first" in self.explain(fnd, daemon, resumed=True)

    def test_parts_are_drawn_to_scale(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        daemon.answer("GET", "/control/calls/CALL", record(queue=3.0, run=1.0))
        bars = [line.count("█") for line in fnd("explain", "CALL").out.splitlines() if "█" in line]
        assert bars == [18, 6]

    def test_what_a_function_is_called_and_fails_with_does_not_steer_the_terminal(
        self, fnd: Fnd, daemon: ScriptedDaemon
    ) -> None:
        daemon.answer("GET", "/control/calls/CALL", record(error="\x1b[2Jgone", fn_name="\x1b]0;x\x07"))
        daemon.answer("GET", "/control/calls", {"calls": [record(error="\x1b[2Jgone")], "store_error": ""})
        assert "\x1b" not in fnd("explain", "CALL").out + fnd("calls").out

    @pytest.mark.parametrize("call_id", ["", ".", "..", "\udcff", "ä"])
    def test_what_can_be_no_id_is_refused_before_anything_is_asked(
        self, fnd: Fnd, daemon: ScriptedDaemon, call_id: str
    ) -> None:
        daemon.answer("GET", "/control/calls/", {"calls": [], "store_error": ""})
        daemon.answer("GET", "/control/calls", {"calls": [], "store_error": ""})
        result = fnd("explain", call_id)
        assert result.code == ExitCode.USAGE
        assert len(result.err.splitlines()) == 1
        assert "cannot be an id" in result.err

    def test_a_call_that_never_was(self, fnd: Fnd, daemon: ScriptedDaemon) -> None:
        daemon.answer("GET", "/control/calls/..%2Fx", {"message": "There is no record of this call"}, 404)
        result = fnd("explain", "../x")
        assert result.code == ExitCode.FAILED
        assert "There is no record of this call" in result.err
