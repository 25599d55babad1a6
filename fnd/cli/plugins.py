"""`fnd plugins`: which there are, what each offers and what is wrong with it; and the beginning of a new one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Group
from rich.text import Text

from fnd.cli.control_socket import control_path
from fnd.cli.exits import CommandError
from fnd.cli.looking import asked_or_looked, scratch_settings
from fnd.cli.new_plugin import KINDS, make_plugin
from fnd.cli.options import config_file_option
from fnd.cli.output import JSON, fields, output_option, stderr, stdout, table, write_json
from fnd.errors import ConfigurationError

if TYPE_CHECKING:
    from fnd.plugins import PluginStatus

_STYLES: Final = {"in use": "green", "troubled": "yellow", "refused": "bold red"}


@click.group
def plugins() -> None:
    """List plugins and their settings, and begin a new one."""


@plugins.command("list")
@config_file_option
@output_option
@click.pass_context
def list_plugins(ctx: click.Context, config: Path | None, output: str) -> None:
    """Show every plugin: what it offers, and what is wrong with it.

    A daemon that runs is asked. Else this command loads the plugins that are installed here, and tries what a daemon
    would do with them.
    """
    found = asked_or_looked(control_path(ctx.find_root().obj), "/control/plugins", partial(_look, config))
    found["commands"] = list(_commands())
    if output == JSON:
        write_json(found)
    else:
        stdout().print(_for_people(found))


@plugins.command
@click.argument("name")
@config_file_option
@output_option
@click.pass_context
def show(ctx: click.Context, name: str, config: Path | None, output: str) -> None:
    """Show one plugin, with the settings of its table [plugins.NAME] in the daemon's configuration file."""
    found = asked_or_looked(control_path(ctx.find_root().obj), "/control/plugins", partial(_look, config))
    plugin = next((plugin for plugin in found["plugins"] if plugin["name"] == name), None)
    if plugin is None:
        raise CommandError(f"There is no plugin {name!r}; fnd plugins list shows which there are")
    if output == JSON:
        write_json(plugin)
    else:
        stdout().print(_whole(plugin))


@plugins.command
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), required=False)
def new(kind: str, name: str, directory: Path | None) -> None:
    """Make the package of a new plugin in DIRECTORY (fnd-NAME if not given), which works as it is.

    A driver makes containers of images NAME://..., a codec speaks the format NAME with functions. Its README.md says
    how to install it, and how to run its tests.
    """
    directory = directory or Path(f"fnd-{name}")
    console = stderr()
    for path in make_plugin(directory, kind, name):
        console.print(f"made {path}")
    console.print(f"Install it where fnd is: pip install -e '{directory}[testing]'", soft_wrap=True)
    console.print("Then fnd plugins list shows it.")


def _look(config: Path | None) -> Mapping[str, Any]:
    """Load the plugins, and try what a daemon would do with them, in directories of their own."""
    import trio

    from fnd.plugin_manager import PluginManager
    from fnd.trial import try_plugins

    plugins = PluginManager()
    problem = ""
    with scratch_settings({}, config) as settings:
        try:
            trio.run(try_plugins, plugins, settings, lambda driver: None)
        except ConfigurationError as error:
            problem = error.message
    statuses: list[PluginStatus] = [plugin.status() for plugin in plugins]
    return {"plugins": statuses, "problem": problem}


def _commands() -> Iterator[dict[str, str]]:
    """Yield plugins' commands, and why one cannot be used: of this installation, which runs them."""
    from fnd.cli.main import COMMANDS
    from fnd.cli.plugin_commands import load_plugin_command, plugin_commands
    from fnd.patience import TookTooLong, call_with_patience
    from fnd.plugin_manager import LIMIT

    for name, distribution in plugin_commands().items():
        reason = ""
        if name in COMMANDS:
            reason = "fnd has a command of the same name, which is used"
        else:
            load: Callable[[], object] = partial(load_plugin_command, name)
            try:
                call_with_patience(load, LIMIT, f"fnd command {name}")
            except CommandError as error:
                reason = error.message
            except TookTooLong:
                reason = f"its import took more than {LIMIT:g} s: repair or uninstall {distribution}"
            except RuntimeError as error:
                reason = str(error)
        yield {"name": name, "distribution": distribution, "reason": reason}


def _for_people(found: Mapping[str, Any]) -> Group:
    parts: list[Any] = [Text(f"Found by {found['found_by']}.\n")]
    if found.get("problem"):
        parts.append(Text(f"With these settings no daemon would start: {found['problem']}\n", "bold red"))
    rows = [
        [plugin["name"], _state(plugin), _package(plugin), ", ".join(plugin["offers"]), _wrong(plugin)]
        for plugin in found["plugins"]
    ]
    parts.append(table(["PLUGIN", "", "PACKAGE", "OFFERS", "WHAT IS WRONG"], rows))
    if found["commands"]:
        rows = [[f"fnd {one['name']}", one["distribution"], one["reason"]] for one in found["commands"]]
        parts += ["", table(["COMMAND", "PACKAGE", "WHAT IS WRONG"], rows)]
    return Group(*parts)


def _whole(plugin: Mapping[str, Any]) -> Group:
    about = fields(
        [
            ("name", plugin["name"]),
            ("state", _state(plugin)),
            ("package", _package(plugin)),
            ("surface", plugin["surface"]),
            ("offers", "\n".join(plugin["offers"])),
            ("loaded in", f"{plugin['seconds']:g} s"),
            ("what is wrong", _wrong(plugin)),
        ]
    )
    rows = [[one["name"], _default(one["default"]), one["allowed"], one["help"]] for one in plugin["settings"]]
    return Group(about, "", table(["SETTING", "DEFAULT", "TAKES", ""], rows)) if rows else Group(about)


def _default(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _state(plugin: Mapping[str, Any]) -> Text:
    return Text(plugin["state"], _STYLES[plugin["state"]])


def _package(plugin: Mapping[str, Any]) -> str:
    return f"{plugin['distribution']} {plugin['version']}".strip()


def _wrong(plugin: Mapping[str, Any]) -> str:
    lines = [plugin["reason"]] if plugin["reason"] else []
    for one in plugin["troubles"]:
        times = f" ({one['count']} times)" if one["count"] > 1 else ""
        lines.append(f"{one['where']}: {one['error']}{times}")
    return "\n".join(lines)
