"""`fnd` itself: which commands there are, and how each of them may end.

A command's module is imported when the command runs and not before: `fnd serve` is the daemon, and what
only other commands need would stay in its memory for ever.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click

from fnd.cli.exits import MEANINGS, CommandError, ExitCode, OutputClosed
from fnd.errors import ConfigurationError, FndError

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "serve": ("fnd.cli.serve:serve", "Run the daemon."),
    "init": ("fnd.cli.init:init", "Make the directory of a new function."),
    "deploy": ("fnd.cli.deploy:deploy", "Build a function's directory and put it into service."),
    "dev": ("fnd.cli.dev:dev", "Serve a function while you work on it."),
    "invoke": ("fnd.cli.invoke:invoke", "Call a function: standard input in, its answer out."),
    "apps": ("fnd.cli.apps:apps", "List and change apps."),
    "fns": ("fnd.cli.fns:fns", "List and change functions."),
    "triggers": ("fnd.cli.triggers:triggers", "List and change triggers, the URLs of functions."),
    "calls": ("fnd.cli.calls:calls", "Show the last calls and how long each part of them took."),
    "explain": ("fnd.cli.calls:explain", "Tell why one call took as long as it did."),
    "logs": ("fnd.cli.logs:logs", "Show what functions write."),
    "events": ("fnd.cli.events:events", "Show what the daemon does, as it does it."),
    "top": ("fnd.cli.top:top", "Watch functions and their containers."),
    "status": ("fnd.cli.status:status", "Show the daemon's state."),
    "simulate": ("fnd.cli.simulate:simulate", "Replay arrivals under virtual time, and compare policies."),
    "doctor": ("fnd.cli.doctor:doctor", "Check what this machine offers the daemon, and what is missing."),
    "plugins": ("fnd.cli.plugins:plugins", "List plugins and their settings, and begin a new one."),
    "drain": ("fnd.cli.lifecycle:drain", "Let the daemon finish its calls and take no new ones."),
    "reload": ("fnd.cli.lifecycle:reload", "Make the daemon read its configuration again."),
    "stop": ("fnd.cli.lifecycle:stop", "Stop the daemon in an orderly way."),
    "demo": ("fnd.cli.demo:demo", "Show all of it at work, on a daemon of its own."),
    "version": ("fnd.cli.version:version", "Show the version of this command and of the daemon."),
}
"""Name: where the command is, and what the list of commands says of it."""


class LazyGroup(click.Group):
    """The commands, imported one at a time; those of plugins come after fnd's own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *_of_plugins()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return _load_from_plugin(cmd_name)
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and args[0] not in _of_plugins():
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            hint = f" Do you mean {near[0]}?" if near else " fnd --help lists the commands."
            ctx.fail(f"There is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _blame(ctx):
                return super().invoke(ctx)
        except BrokenPipeError:  # which click would make an exit code of its own from
            raise OutputClosed from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])
        if others := _of_plugins():
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, f"From {distribution}.") for name, distribution in others.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), meaning) for code, meaning in MEANINGS.items()])


def _of_plugins() -> Mapping[str, str]:
    from fnd.cli.plugin_commands import plugin_commands

    return {name: whose for name, whose in plugin_commands().items() if name not in COMMANDS}


def _load_from_plugin(name: str) -> click.Command | None:
    from fnd.cli.plugin_commands import load_plugin_command

    return load_plugin_command(name)


def _blame(ctx: click.Context) -> AbstractContextManager[None]:
    """Return what names the plugin whose command this is in what it raises; nothing for fnd's own."""
    name = next(iter(ctx._protected_args), None)
    if name is None or name in COMMANDS:
        return nullcontext()
    from fnd.cli.plugin_commands import blamed_on_its_plugin

    return blamed_on_its_plugin(name)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--control",
    type=click.Path(path_type=Path),
    envvar="FND_CONTROL",
    help="The daemon's control socket.  [default: control.sock in the runtime directory]",
)
@click.pass_context
def cli(ctx: click.Context, control: Path | None) -> None:
    """fnd, a functions daemon: give it functions, it keeps them hot.

    Start a daemon with `fnd serve`; make a function with `fnd init hello`; put it into service with
    `fnd deploy hello --app demo --create-app`; call it with `fnd invoke demo hello`.
    """
    ctx.obj = control


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; every error has become a message on standard error."""
    try:
        result: Any = cli.main(args=arguments, prog_name="fnd", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted", err=True)
        return ExitCode.INTERRUPTED
    except OutputClosed as error:
        # Else the interpreter would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error.code
    except CommandError as error:
        return _failed(error, error.code)
    except ConfigurationError as error:
        return _failed(error, ExitCode.USAGE)
    except FndError as error:
        return _failed(error, ExitCode.FAILED)
    except OSError as error:
        about = f"{error.filename}: " if error.filename else ""
        return _failed(CommandError(f"{about}{error.strerror or error}"), ExitCode.FAILED)
    return result if isinstance(result, int) else ExitCode.OK


def _failed(error: FndError, code: ExitCode) -> int:
    if error.message:
        click.echo(f"fnd: {error.message}", err=True)
    return code


def main() -> None:
    """Run as the `fnd` command."""
    signal.signal(signal.SIGINT, _interrupt)
    sys.exit(run())


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt once: a second one, while the first is dealt with, would show a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt
