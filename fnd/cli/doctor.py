"""`fnd doctor`: whether this machine has what fnd needs, with or without a daemon running."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Group
from rich.text import Text

from fnd.cli.exits import ExitCode
from fnd.cli.looking import asked_or_looked, scratch_settings
from fnd.cli.options import config_file_option
from fnd.cli.output import JSON, output_option, protection, stdout, table, write_json
from fnd.errors import ConfigurationError

if TYPE_CHECKING:
    from fnd.checks import Diagnosis

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@click.command
@config_file_option
@output_option
@click.pass_context
def doctor(ctx: click.Context, config: Path | None, output: str) -> int:
    """Check what this machine offers fnd, and say what to do about what is missing.

    A daemon that runs is asked, since it may run as another user or within limits; else this command looks for
    itself, and tries what the daemon would do. Exits with 1 if something keeps a daemon from running.
    """
    diagnosis = asked_or_looked(ctx, "/control/doctor", partial(_look, config))
    if output == JSON:
        write_json(diagnosis)
    else:
        stdout().print(_for_people(diagnosis))
    problem = any(check["outcome"] == "problem" for check in diagnosis["checks"])
    return ExitCode.FAILED if problem else ExitCode.OK


def _look(config: Path | None) -> Diagnosis:
    """Do what the daemon would: look at the machine, and try each plugin, with directories of its own."""
    import trio

    from fnd.checks import Check, Diagnosis, DriverStatus, check_machine, check_plugins
    from fnd.config import load_settings
    from fnd.plugin_manager import PluginManager
    from fnd.trial import try_plugins

    settings = load_settings({}, config, os.environ)
    checks = check_machine(settings.data_directory, settings.runtime_directory)
    drivers: list[DriverStatus] = []
    plugins = PluginManager()
    with scratch_settings(config) as scratch:
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
