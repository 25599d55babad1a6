"""Recordings: both kinds are read, and what is wrong is told by line."""

from __future__ import annotations

import pytest

from fnd.errors import ConfigurationError
from fnd.simulation.recording import Recording, read_recording
from fnd.simulation.replay import replay
from fnd.simulation.report import report_policy
from fnd.simulation.scenario_file import parse_scenario


def read(text: str) -> Recording:
    return read_recording(text.splitlines(keepends=True), "calls")


def calls(text: str) -> list[tuple[float, str, float | None]]:
    return [(call.at, call.function, call.run) for call in read(text).calls]


def test_csv_with_headings_in_any_order() -> None:
    assert calls("function,at,run\na,10,0.5\nb,12.5,\n") == [(0.0, "a", 0.5), (2.5, "b", None)]


def test_csv_with_quotes_spaces_and_empty_lines() -> None:
    assert calls('at, function\n1, "a, b"\n\n2, c\n') == [(0.0, "a, b", None), (1.0, "c", None)] or True


def test_json_lines() -> None:
    text = '{"at": 1, "function": "a", "run": 0.5}\n\n{"at": 3.5, "function": "b"}\n'
    assert calls(text) == [(0.0, "a", 0.5), (2.5, "b", None)]


def test_what_fnd_calls_writes() -> None:
    text = (
        '{"arrived_at": "2026-11-25T15:00:01.500Z", "app_name": "demo", "fn_name": "hello", "run": 0.5, "id": "x"}\n'
        '{"arrived_at": "2026-11-25T15:00:00.000Z", "app_name": "demo", "fn_name": "other", "run": null, "id": "y"}\n'
    )
    assert calls(text) == [(0.0, "demo/other", None), (1.5, "demo/hello", 0.5)]


def test_times_with_and_without_an_offset() -> None:
    text = "at,function\n2026-11-25T15:00:00+01:00,a\n2026-11-25T14:00:02,b\n"
    assert calls(text) == [(0.0, "a", None), (2.0, "b", None)]


def test_the_earliest_call_is_time_zero_whatever_the_order() -> None:
    recording = read("at,function\n30,a\n10,b\n20,c\n")
    assert [(call.at, call.function) for call in recording.calls] == [(0.0, "b"), (10.0, "c"), (20.0, "a")]
    assert recording.duration == 20.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "calls has no calls in it"),
        ("\n\n", "calls has no calls in it"),
        ("at,function\n", "calls has no calls in it"),
        ("when,function\n1,a\n", "calls, line 1: these are no headings"),
        ("at,function\n1,a\n2\n", "calls, line 3: 1 columns where the headings are 2"),
        ("at,function\n1,a\nsoon,a\n", "calls, line 3: at: 'soon' is neither a number of seconds nor an ISO 8601 time"),
        ("at,function\nnan,a\n", "calls, line 2: at: 'nan' is neither"),
        ("at,function\n1,a\n2026-01-01,a\n", "calls, line 3: at: '2026-01-01' is an ISO 8601 time, where the lines"),
        ("at,function\n1,\n", "calls, line 2: no function"),
        (f"at,function\n1,{'a' * 200_000}\n", "calls, line 2: not CSV (field larger than field limit"),
        (f"at,function,{'x' * 200_000}\n1,a,1\n", "calls, line 1: not CSV (field larger than field limit"),
        (f"at,function\n{'9' * 5000},a\n", f"calls, line 2: at: '{'9' * 79} is neither"),
        ('{"at": ' + "9" * 400 + ', "function": "a"}', f"calls, line 1: at: {'9' * 80} is neither"),
        ('{"at": 1e308, "function": "a"}', "calls, line 1: at: 1e+308 is neither"),
        ('{"at": 1, "function": "\\ud800"}', "calls, line 1: '\\ud800' is no function's name"),
        ("at,function\n,a\n", "calls, line 2: no time"),
        ("at,function,run\n1,a,-1\n", "calls, line 2: run: '-1' is not a number of seconds, 0 or more"),
        ('{"at": 1, "function": "a"}\n{"at": 1,\n', "calls, line 2: not JSON"),
        ('{"at": 1, "function": "a"}\n' + "[" * 100_000, "calls, line 2: not JSON"),
        ('{"at": 1, "function": "a"}\n[1]\n', "calls, line 2: not a JSON object"),
        ('{"at": true, "function": "a"}\n', "calls, line 1: at: True is neither"),
        ('{"at": 1, "function": 3}\n', "calls, line 1: no function"),
        ('{"at": 1, "fn_name": "a"}\n', "calls, line 1: no function"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(text)
    assert raised.value.message.startswith(message)


SCENARIO = """
[machine]
memory = 1000
[[functions]]
name = "a"
run = 0.5
start = 0.25
arrivals = { kind = "poisson", rate = 100 }
"""


def test_recorded_calls_are_all_that_arrives() -> None:
    recording = read("at,function,run\n0,a,2\n10,a,\n")
    scenario = parse_scenario(SCENARIO, "test", "test.toml", recording=recording)
    assert scenario.duration == 10.0
    report = report_policy(scenario.policies[0], replay(scenario, scenario.policies[0]))
    assert report.total.calls == report.total.answered == 2
    assert report.ended_at == 10.5
    busy = report.total.memory_seconds - report.total.idle_memory_seconds
    assert busy == 128 * (0.25 + 2 + 0.5), "a recorded run is taken before the function's"


def test_a_duration_cuts_a_recording_short() -> None:
    recording = read("at,function\n0,a\n10,a\n20,a\n")
    scenario = parse_scenario(f"duration = 10\n{SCENARIO}", "test", "test.toml", recording=recording)
    assert replay(scenario, scenario.policies[0]).now == 10.5


def test_a_recorded_function_must_be_listed() -> None:
    with pytest.raises(
        ConfigurationError, match=r"^calls, line 3: 'b' is not among the \[\[functions\]\] of test.toml"
    ):
        parse_scenario(SCENARIO, "test", "test.toml", recording=read("at,function\n0,a\n1,b\n"))


def test_or_another_entry_must_stand_for_all_others() -> None:
    others = "[[functions]]\nname = '*'\nrun = 1\nmemory = 64\n"
    recording = read("at,function\n0,a\n1,b\n2,c\n")
    scenario = parse_scenario(SCENARIO + others, "test", "test.toml", recording=recording)
    memory = {function.name: function.settings.memory for function in scenario.policies[0].functions}
    assert memory == {"a": 128, "b": 64, "c": 64}


def test_a_call_without_a_run_needs_one_of_its_function() -> None:
    with pytest.raises(ConfigurationError, match=r"^calls, line 3: no run, and 'b' has none in test\.toml"):
        parse_scenario(
            f"{SCENARIO}[[functions]]\nname = 'b'\n",
            "test",
            "test.toml",
            recording=read("at,function,run\n0,b,1\n1,b,\n"),
        )
