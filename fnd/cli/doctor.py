"""`fnd doctor`: whether this machine has what fnd needs, with or without a daemon, and what a dead one left on it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Group
from rich.text import Text

from fnd.cli.control_socket import CONTROL_SOCKET, control_path
from fnd.cli.exits import ExitCode
from fnd.cli.looking import asked_or_looked, scratch_settings
from fnd.cli.options import config_file_option
from fnd.cli.output import JSON, output_option, protection, stdout, table, write_json
from fnd.errors import ConfigurationError

if TYPE_CHECKING:
    from fnd.checks import Diagnosis
    from fnd.clearing import Cleaning

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@click.command
@config_file_option
@click.option("--data", "data_directory", metavar="DIRECTORY", help="The daemon's data directory.")
@click.option("--runtime-directory", metavar="DIRECTORY", help="The daemon's runtime directory.")
@click.option("--clean", is_flag=True, help="Remove what a daemon that was killed has left.")
@output_option
@click.pass_context
def doctor(
    ctx: click.Context,
    config: Path | None,
    data_directory: str | None,
    runtime_directory: str | None,
    clean: bool,
    output: str,
) -> int:
    """Check what this machine offers fnd, and say what to do about what is missing.

    A daemon that runs is asked, since it may run as another user or within limits; else this command looks for
    itself, and tries what the daemon would do. Exits with 1 if something keeps a daemon from running.

    With --clean, nothing is checked: containers, processes, directories and sockets are removed that are left of a
    daemon with the same data and runtime directories, which must not run, as its next start would remove them.
    Exits with 1 if something may be left.
    """
    control: Path | None = ctx.find_root().obj
    flags = {"data_directory": data_directory, "runtime_directory": runtime_directory, "control": control}
    if clean:
        return _clean(flags, config, output)
    if control is None and runtime_directory is not None:
        control = Path(runtime_directory) / CONTROL_SOCKET
    diagnosis = asked_or_looked(control_path(control), "/control/doctor", partial(_look, flags, config))
    if output == JSON:
        write_json(diagnosis)
    else:
        stdout().print(_for_people(diagnosis))
    problem = any(check["outcome"] == "problem" for check in diagnosis["checks"])
    return ExitCode.FAILED if problem else ExitCode.OK


def _clean(flags: Mapping[str, Any], config: Path | None, output: str) -> int:
    import trio
    from litestar.serialization import encode_json

    from fnd import clearing
    from fnd.config import load_settings

    cleaning = trio.run(clearing.clean, load_settings(flags, config, os.environ))
    if output == JSON:
        write_json(json.loads(encode_json(cleaning)))
    else:
        stdout().print(_cleaning_for_people(cleaning))
    return ExitCode.FAILED if any(cleared.error for cleared in cleaning.drivers) else ExitCode.OK


def _cleaning_for_people(cleaning: Cleaning) -> Group:
    rows = [
        [cleared.driver, str(cleared.containers), Text(cleared.error, "bold red")]
        for cleared in cleaning.drivers
        if cleared.containers or cleared.error
    ]
    return Group(
        Text(f"Of a daemon with {cleaning.data_directory} and {cleaning.runtime_directory}:\n"),
        table(["DRIVER", "CONTAINERS REMOVED", ""], rows, right=["CONTAINERS REMOVED"])
        if rows
        else Text("No containers were left."),
        *(Text(f"Removed {path}") for path in cleaning.removed),
    )


def _look(flags: Mapping[str, Any], config: Path | None) -> Diagnosis:
    """Do what the daemon would: look at the machine, and try each plugin, with directories of its own."""
    import trio

    from fnd.checks import Check, Diagnosis, DriverStatus, check_machine, check_plugins
    from fnd.config import load_settings
    from fnd.plugin_manager import PluginManager
    from fnd.trial import try_plugins

    settings = load_settings(flags, config, os.environ)
    checks = check_machine(settings.data_directory, settings.runtime_directory)
    drivers: list[DriverStatus] = []
    plugins = PluginManager()
    with scratch_settings(flags, config) as scratch:
        try:
            trio.run(try_plugins, plugins, scratch, lambda driver: drivers.append(DriverStatus.of(driver)))
        except ConfigurationError as error:
            checks += (Check(name="settings", outcome="problem", found="no daemon would start", advice=error.message),)
    return Diagnosis(checks=checks + check_plugins(plugins), drivers=tuple(drivers))


def _for_people(diagnosis: dict[str, Any]) -> Group:
    rows = [
        [check["name"], Text(check["outcome"], _STYLES[check["outcome"]]), check["found"], check["advice"]]
        for check in diagnosis["checks"]
    ]
    return Group(
        Text(f"Found by {diagnosis['found_by']}.\n"),
        table(["CHECK", "", "FOUND", "WHAT TO DO"], rows),
        *(protection(driver) for driver in diagnosis["drivers"] if driver["protection"]),
    )
