"""Whom an error is blamed on that came out of a plugin's code while the daemon used it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fnd.plugins import Plugin, blame

PLUGIN = """
class Wings:
    def fail(self): int("feather")
    def flap(self, function): function()
"""


@pytest.fixture
def plugin() -> Plugin:
    made = Plugin("wings", "fnd-wings", "1.2")
    made.package = "wings_of_wax"
    return made


@pytest.fixture
def wings() -> type:
    module = {"__name__": "wings_of_wax.feathers"}
    exec(PLUGIN, module)
    found: type = module["Wings"]  # type: ignore[assignment]
    return found


def raised(function: Callable[[], object]) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("it did not raise")


def test_the_plugin_in_whose_code_it_came_up(plugin: Plugin, wings: type) -> None:
    blame([Plugin("other", "", ""), plugin], raised(wings().fail))
    (trouble,) = plugin.status().troubles
    assert trouble.where == "Wings.fail"
    assert trouble.error.startswith("ValueError: invalid literal")


def test_also_if_it_came_up_in_a_library_that_it_uses(plugin: Plugin, wings: type) -> None:
    blame([plugin], raised(lambda: wings().flap(lambda: int("feather"))))
    assert plugin.status().troubles[0].where == "Wings.flap"


def test_also_if_it_is_in_a_group(plugin: Plugin, wings: type) -> None:
    def fail() -> None:
        raise ExceptionGroup("", [OSError(), ExceptionGroup("", [raised(wings().fail)])])

    blame([plugin], raised(fail))
    assert plugin.status().troubles[0].where == "Wings.fail"


def test_nobody_for_what_fnd_itself_raises_when_a_plugin_calls_it(plugin: Plugin, wings: type) -> None:
    ours: dict[str, object] = {"__name__": "fnd.hookspecs"}
    exec("def broken(): int('feather')", ours)
    blame([plugin], raised(lambda: wings().flap(ours["broken"])))
    assert plugin.status().troubles == ()


def test_nobody_for_what_came_up_elsewhere(plugin: Plugin) -> None:
    blame([plugin, Plugin("other", "", "")], raised(lambda: int("feather")))
    assert plugin.status().troubles == ()
