"""A scenario's file: every key has its effect, and what is wrong is one line that says where and what is allowed."""

from __future__ import annotations

import attrs
import pytest

from fnd.dispatch import Limits, PoolSettings
from fnd.errors import ConfigurationError
from fnd.simulation.scenario import Scenario
from fnd.simulation.scenario_file import AS_GIVEN, parse_scenario
from fnd.simulation.structuring import function_keys

BASE = "duration = 10\n[machine]\nmemory = 1000\n"
FN = "[[functions]]\nname = 'a'\nrun = 1\n"


def parse(text: str, **others: int) -> Scenario:
    return parse_scenario(text, "test", "f.toml", **others)  # type: ignore[arg-type]


def test_what_is_not_said_has_defaults() -> None:
    scenario = parse(BASE + FN)
    (policy,) = scenario.policies
    (function,) = policy.functions
    assert (scenario.title, scenario.seed, policy.name) == ("test", 1, AS_GIVEN)
    assert policy.limits == Limits(memory=1000)
    assert function.settings == PoolSettings(memory=128, idle_timeout=30.0)


def test_every_setting_of_a_pool_and_of_the_machine_is_a_key() -> None:
    fields = {field.name for field in attrs.fields(PoolSettings)}
    assert fields <= set(function_keys())
    values = {"memory": 64, "idle_timeout": 5.0, "hot": False, "min_warm": 2, "max_containers": 3}
    lines = "".join(f"{key} = {str(value).lower()}\n" for key, value in values.items())
    assert parse(BASE + FN + lines).policies[0].functions[0].settings == PoolSettings(**values)  # type: ignore[arg-type]
    limits = parse(f"{BASE}cores = 8\nmax_pools = 5\nmax_waiting = 6\nlaunch_attempts = 7\n{FN}").policies[0].limits
    assert limits == Limits(memory=1000, cores=8, max_pools=5, max_waiting=6, launch_attempts=7)


def test_a_policy_changes_functions_and_the_machine() -> None:
    scenario = parse(
        BASE + FN + "[[functions]]\nname = 'b'\nrun = 2\nidle_timeout = 5\n"
        "[[policies]]\nname = 'as it is'\n"
        "[[policies]]\nname = 'other'\nidle_timeout = 600\nrun = 3\nmachine = { memory = 5, cores = 9 }\n"
    )
    as_it_is, other = scenario.policies
    assert [function.settings.idle_timeout for function in as_it_is.functions] == [30.0, 5.0]
    assert [function.settings.idle_timeout for function in other.functions] == [600.0, 600.0]
    assert as_it_is.limits == Limits(memory=1000)
    assert other.limits == Limits(memory=5, cores=9)
    assert as_it_is.functions[1].run != other.functions[1].run


def test_a_count_makes_functions_of_numbered_names() -> None:
    (function,) = parse(f"{BASE}{FN}count = 3").policies[0].functions
    assert function.names == ["a-1", "a-2", "a-3"]


def test_a_seed_that_is_given_replaces_the_files() -> None:
    assert parse(f"seed = 7\n{BASE}{FN}").seed == 7
    assert parse(f"seed = 7\n{BASE}{FN}", seed=8).seed == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.toml, machine: it is missing"),
        ("x", "f.toml is not valid TOML: "),
        (
            f"surprise = 1\n{BASE}{FN}",
            "f.toml: there is no key 'surprise'. There may be: duration, functions, m",
        ),
        ("a = " + "[" * 5000 + "]" * 5000, "f.toml is nested too deeply"),
        (f"seed = {'9' * 5000}", "f.toml is not valid TOML: Exceeds the limit"),
        (BASE.replace("10\n", "1e308\n") + FN, "f.toml, duration: 1e+308 must be at most 1,000,000,000,000"),
        (BASE.replace("10\n", f"{'9' * 400}\n") + FN, f"f.toml, duration: {'9' * 60}… must be at most"),
        (f"{BASE}cores = {'9' * 400}\n{FN}", f"f.toml, [machine], cores: {'9' * 60}… must be at most"),
        (f"{BASE}{FN}count = 1000001", "f.toml, [[functions]] 1, count: 1000001 must be at most 1,000,000"),
        (f"{BASE}{FN}cpu = {'9' * 400}", f"f.toml, [[functions]] 1, cpu: {'9' * 60}… must be at most"),
        (BASE, "f.toml, functions: it is missing"),
        (BASE.replace("duration = 10", "") + FN, "f.toml: duration is missing; it must be a number of seconds"),
        (BASE.replace("10\n", "inf\n") + FN, "f.toml, duration: inf must be a number, more than 0"),
        (BASE.replace("memory", "memry") + FN, "f.toml, [machine]: there is no key 'memry'; do you mean memory?"),
        (f"{BASE}cores = 0\n{FN}", "f.toml, [machine], cores: 0 must be a whole number, 1 or more"),
        (f"{BASE}[functions]\nname = 'a'", "f.toml, functions: there may be several, so each is a table in double"),
        (f"{BASE}[[functions]]\nrun = 1", "f.toml, [[functions]] 1, name: it is missing"),
        (f"{BASE}[[functions]]\nname = 'a'", "f.toml: run of function 'a' is missing; it must be a number of seconds"),
        (f"{BASE}[[functions]]\nname = '*'\nrun = 1", 'f.toml: a function with name = "*" is for recordings'),
        (f"{BASE}{FN}{FN}", "f.toml: two [[functions]] have the name 'a'"),
        (f"{BASE}{FN}idel_timeout = 3", "f.toml, [[functions]] 1: there is no key 'idel_timeout'; do you mean idle_ti"),
        (f"{BASE}{FN}idle_timeout = '3'", "f.toml, [[functions]] 1, idle_timeout: '3' must be a number of seconds"),
        (f"{BASE}{FN}memory = 0", "f.toml, [[functions]] 1, memory: 0 must be a whole number, 1 or more"),
        (f"{BASE}{FN}hot = 1", "f.toml, [[functions]] 1, hot: 1 must be true or false"),
        (f"{BASE}{FN}max_containers = 0", "f.toml, [[functions]] 1, max_containers: 0 must be a whole number, 1 or"),
        (f"{BASE}{FN}start = true", "f.toml, [[functions]] 1, start: True cannot be used: it must be a number of"),
        (
            f"{BASE}{FN}start = {{ distribution = 'x' }}",
            "f.toml, [[functions]] 1, start: distribution = 'x' must be",
        ),
        (
            f"{BASE}{FN}start = {{ distribution = 'uniform', low = 1 }}",
            "f.toml, [[functions]] 1, start.high: it is m",
        ),
        (f"{BASE}{FN}arrivals = 3", "f.toml, [[functions]] 1, arrivals: 3 must be a table with kind = 'poisson', "),
        (
            f"{BASE}{FN}arrivals = {{ kind = 'poison' }}",
            "f.toml, [[functions]] 1, arrivals: kind = 'poison' must be",
        ),
        (
            f"{BASE}{FN}arrivals = [{{ kind = 'poisson', rate = 1 }}, {{ kind = 'poisson', rate = 0 }}]",
            "f.toml, [[functions]] 1, arrivals[1].rate: 0 must be a number, more than 0",
        ),
        (
            f"{BASE}{FN}arrivals = {{ kind = 'diurnal', rate = 1, depth = 2 }}",
            "f.toml, [[functions]] 1, arrivals.depth: 2 must be a number from 0 to 1",
        ),
        (f"{BASE}{FN}[[policies]]\nidle_timeout = 1", "f.toml, [[policies]] 1: name must be text"),
        (f"{BASE}{FN}[[policies]]\nname = 'p'\nidle = 1", "f.toml, [[policies]] 1: there is no key 'idle'"),
        (f"{BASE}{FN}[[policies]]\nname = 'p'\nmachine = 3", "f.toml, [[policies]] 1, machine: 3 must be a table"),
        (
            f"{BASE}{FN}[[policies]]\nname = 'p'\nidle_timeout = -1",
            "f.toml, with policy 'p', [[functions]] 1, idle_timeout: -1 must be a number of seconds, more than 0",
        ),
        (
            f"{BASE}{FN}[[policies]]\nname = 'p'\nmachine = {{ memory = 0 }}",
            "f.toml, with policy 'p', [machine], memory: 0 must be a whole number, 1 or more",
        ),
        (f"{BASE}{FN}[[policies]]\nname = 'p'\n[[policies]]\nname = 'p'", "f.toml: two [[policies]] have the name 'p'"),
    ],
)
def test_what_is_wrong_is_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse(text)
    assert raised.value.message.startswith(message)
    assert "\n" not in raised.value.message.removesuffix("\n")
