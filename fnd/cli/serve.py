"""`fnd serve`: the daemon. Its options are the settings of fnd.config, one for each that has a flag."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import click

from fnd.config import SETTINGS, Setting, load_settings
from fnd.setting_kinds import Switch


def _options() -> list[click.Parameter]:
    config = click.Option(
        ["--config"],
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="FND_CONFIG",
        metavar="FILE",
        help="A TOML file with settings, and a table [plugins.NAME] for each plugin that wants one.",
    )
    return [config, *(_option(setting) for setting in SETTINGS.values() if setting.flag)]


def _option(setting: Setting) -> click.Option:
    unit = f" A bare number is in {setting.unit}." if setting.unit else ""
    about = f"{setting.help}{unit} ${setting.variable}  [default: {setting.default}]"
    if isinstance(setting.kind, Switch):
        switch = f"{setting.flag}/--no-{setting.flag.removeprefix('--')}"
        return click.Option([switch, setting.name], default=None, help=about)
    metavar = setting.kind.metavar
    return click.Option([setting.flag, setting.name], multiple=setting.multiple, metavar=metavar, help=about)


def _serve(config: Path | None, **flags: Any) -> None:
    if flags["control"] is None:  # `fnd --control PATH serve` means it, too
        flags["control"] = click.get_current_context().find_root().obj
    load = partial(load_settings, flags, config, dict(os.environ))
    load()
    from fnd import daemon  # only now, so that a wrong option is told at once

    signal.signal(signal.SIGINT, signal.default_int_handler)  # which trio takes over
    daemon.run(load)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # it has stopped, and that is what its exit code is to say


serve = click.Command(
    "serve",
    callback=_serve,
    params=_options(),
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Run the daemon in the foreground until SIGTERM or Ctrl-C, which let running calls finish.

    A setting is taken from its option, else from its FND_ variable, else from the --config file, else it has its
    default. Under systemd, sockets, directories and the watchdog are taken from it.
    """,
)
