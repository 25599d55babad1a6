"""`fnd simulate`: a scenario in, a table or JSON and plots out, and no daemon anywhere."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fnd.cli import simulate
from fnd.cli.exits import ExitCode
from fnd.dispatch import Limits
from fnd.simulation.arrivals import ARRIVALS
from fnd.simulation.catalogue import built_in
from fnd.simulation.durations import DURATIONS
from fnd.simulation.report import Figures, Waits
from fnd.simulation.structuring import function_keys
from tests.unit.cli.scripted_daemon import Fnd

DOCUMENTATION = (Path(__file__).parents[3] / "docs/simulation.md").read_text()
SCENARIO = """
title = "Two functions"
duration = 60
[machine]
memory = 1000
[[functions]]
name = "often"
run = 0.1
arrivals = { kind = "poisson", rate = 1 }
[[functions]]
name = "seldom"
run = 0.1
arrivals = { kind = "steady", interval = 20 }
[[policies]]
name = "5 s"
idle_timeout = 5
[[policies]]
name = "1 min"
idle_timeout = 60
"""


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(SCENARIO)
    return str(path)


def test_policies_and_functions_are_rows_of_tables(fnd: Fnd, scenario: str) -> None:
    ended = fnd("simulate", scenario)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].startswith("Two functions (seed 1, 60 s of arrivals)")
    assert [line.split("  ")[0] for line in lines[2:5]] == ["POLICY", "5 s", "1 min"]
    assert "5 s: FUNCTION" in ended.out
    calls = [line.split()[1:4] for line in lines if line.startswith("seldom") and "%" in line.split()[4]]
    assert calls == [["3", "0", "3"], ["3", "0", "1"]], "calls, rejected, cold"
    containers = [line.split()[1:3] for line in lines if line.startswith("seldom") and "%" not in line.split()[4]]
    assert containers == [["3", "1"], ["1", "1"]], "launches, peak"
    assert "█" in ended.out


@pytest.mark.parametrize("arguments", [["--json"], ["--output", "json"], ["-o", "json"]])
def test_json_has_the_same_numbers(fnd: Fnd, scenario: str, arguments: list[str]) -> None:
    written = fnd("simulate", scenario, *arguments).json
    assert [policy["name"] for policy in written["policies"]] == ["5 s", "1 min"]
    seldom = [function for function in written["policies"][0]["functions"] if function["name"] == "seldom"]
    assert seldom[0]["cold_starts"] == 3


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(fnd: Fnd, scenario: str) -> None:
    first, again, other = (fnd("simulate", scenario, "--json", "--seed", seed).out for seed in ("5", "5", "6"))
    assert first == again != other


def test_the_same_bytes_come_from_another_process(fnd: Fnd, scenario: str) -> None:
    """Nothing depends on addresses or on how strings are hashed."""
    command = [sys.executable, "-m", "fnd", "simulate", scenario, "--json"]
    other = subprocess.run(command, capture_output=True, text=True, check=True)
    assert fnd("simulate", scenario, "--json").out == other.stdout


def test_one_policy_can_be_chosen(fnd: Fnd, scenario: str) -> None:
    written = fnd("simulate", scenario, "--policy", "1 min", "--json").json
    assert [policy["name"] for policy in written["policies"]] == ["1 min"]
    ended = fnd("simulate", scenario, "--policy", "2 min")
    assert ended.code == ExitCode.USAGE
    assert "There is no policy '2 min' in mine; it has '5 s', '1 min'" in ended.err


def test_recorded_calls_replace_the_generated_ones(fnd: Fnd, scenario: str, tmp_path: Path) -> None:
    recording = tmp_path / "calls.csv"
    recording.write_text("at,function,run\n0,often,0.5\n1,seldom,0.5\n")
    written = fnd("simulate", scenario, "--arrivals", str(recording), "--json").json
    assert [policy["total"]["calls"] for policy in written["policies"]] == [2, 2]


def test_a_recording_that_is_no_text_is_a_usage_error(
    fnd: Fnd, scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = b"at,function,run\n1,\xff,1\n"
    (tmp_path / "calls.csv").write_bytes(recording)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(recording), encoding="utf-8"))
    for path, called in ((str(tmp_path / "calls.csv"), "calls.csv"), ("-", "standard input")):
        ended = fnd("simulate", scenario, "--arrivals", path)
        assert ended.code == ExitCode.USAGE
        assert f"{called} is not UTF-8" in ended.err


def test_a_scenarios_file_may_have_a_name_that_is_no_text(fnd: Fnd, tmp_path: Path) -> None:
    scenario = tmp_path / "mine\udcff.toml"
    scenario.write_text(SCENARIO.replace('title = "Two functions"', ""))
    ended = fnd("simulate", str(scenario), "--plot", str(tmp_path / "plots"))
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("mine\\udcff (seed 1")
    assert all(plot.name.startswith("mine\\udcff-") for plot in (tmp_path / "plots").iterdir())


def test_recorded_calls_can_come_from_standard_input(fnd: Fnd, scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"at": 0, "function": "often"}\n'))
    assert fnd("simulate", scenario, "--arrivals", "-", "--json").json["policies"][0]["total"]["calls"] == 1


def test_plots_are_written_into_a_directory_that_is_made(fnd: Fnd, scenario: str, tmp_path: Path) -> None:
    directory = tmp_path / "new" / "plots"
    assert fnd("simulate", scenario, "--plot", str(directory)).code == 0
    assert sorted(path.name for path in directory.iterdir()) == [
        "mine-containers.svg",
        "mine-trade-off.svg",
        "mine-waiting.svg",
        "mine-waits.svg",
    ]


def test_what_comes_with_fnd_is_listed_and_run_by_name(fnd: Fnd) -> None:
    listed = fnd("simulate", "--list").out
    for name, title in built_in().items():
        assert name in listed
        assert title in listed
    assert [entry["name"] for entry in fnd("simulate", "--list", "--json").json] == list(built_in())
    assert fnd("simulate", "lifo").code == 0


def test_many_functions_are_not_all_shown(fnd: Fnd, scenario: str) -> None:
    Path(scenario).write_text(SCENARIO.replace('name = "seldom"', 'name = "seldom"\ncount = 50'))
    out = fnd("simulate", scenario).out
    assert "… and 41 more that reserve less memory; --json has them all" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "fnd simulate --list"),
        (["nowhere.toml"], "nowhere.toml is neither a file nor one of the scenarios"),
        (["lifo", "--arrivals", "nowhere.csv"], "nowhere.csv cannot be read: No such file or directory"),
        (["lifo", "--seed", "-1"], "--seed"),
    ],
)
def test_what_cannot_be_run_is_a_usage_error(fnd: Fnd, arguments: list[str], message: str) -> None:
    ended = fnd("simulate", *arguments)
    assert ended.code == ExitCode.USAGE
    assert message in ended.err
    assert ended.out == ""


def test_a_mistake_in_a_file_is_told_with_its_place(fnd: Fnd, scenario: str) -> None:
    Path(scenario).write_text(SCENARIO.replace("rate = 1", "rate = 0"))
    ended = fnd("simulate", scenario)
    assert ended.code == ExitCode.USAGE
    assert ended.err.strip().endswith("[[functions]] 1, arrivals.rate: 0 must be a number, more than 0")


def test_who_waits_is_told_how_far_it_is(fnd: Fnd, scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate, "_TELL_AFTER", 0.0)
    ended = fnd("simulate", scenario, "--json")
    assert ended.err.startswith("5 s (1 of 2): ")
    assert ended.json


def test_who_waits_for_a_recording_to_be_read_is_told_too(
    fnd: Fnd, scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulate, "_TELL_AFTER", 0.0)
    recording = tmp_path / "calls.csv"
    recording.write_text("at,function\n" + "1,often\n" * 10_000)
    ended = fnd("simulate", scenario, "--arrivals", str(recording), "--json")
    assert ended.err.startswith(f"{recording}: 10,000 lines read\n")


def test_ctrl_c_ends_it(fnd: Fnd, scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: object, until: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fnd.simulation.virtual_shell.VirtualShell.advance", interrupted)
    assert fnd("simulate", scenario).code == ExitCode.INTERRUPTED


def test_the_example_of_the_documentation_says_what_it_does(
    fnd: Fnd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, written, shown = re.split(r"```toml\n|\$ fnd simulate shop.toml\n\n```\n", DOCUMENTATION)
    Path("shop.toml").write_text(written.split("```")[0])
    out = [line.rstrip() for line in fnd("simulate", "shop.toml").out.splitlines()]
    assert out == shown.split("\n```")[0].splitlines()


def test_every_key_and_column_is_documented(fnd: Fnd) -> None:
    classes = [*DURATIONS.values(), *ARRIVALS.values()]
    fields = [field for one in [Limits, Figures, Waits, *classes] for field in one.__annotations__]
    for key in [*function_keys(), *DURATIONS, *ARRIVALS, *fields]:
        assert f"`{key}`" in DOCUMENTATION, key
