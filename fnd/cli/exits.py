"""How a command ends: the exit codes, and the errors that carry one."""

from __future__ import annotations

import enum
from typing import ClassVar

from fnd.errors import FndError


class ExitCode(enum.IntEnum):
    """What the shell sees; docs/cli.md and `fnd --help` list them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_REACHABLE = 3
    FUNCTION_FAILED = 4
    INTERRUPTED = 130
    BROKEN_PIPE = 141


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "the request was refused, or something failed on the way",
    ExitCode.USAGE: "the command line or a setting is wrong",
    ExitCode.NOT_REACHABLE: "no daemon answers",
    ExitCode.FUNCTION_FAILED: "the function failed the call",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C)",
    ExitCode.BROKEN_PIPE: "who read the output went away",
}


class CommandError(FndError):
    """Ends the command with a message on standard error and `code`."""

    code: ClassVar[ExitCode] = ExitCode.FAILED


class OutputClosed(CommandError):
    """Who read the output went away; nobody is told."""

    code = ExitCode.BROKEN_PIPE

    def __init__(self) -> None:
        super().__init__("")


class RequestFailed(CommandError):
    """The daemon answered, and not with success."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class BadUsage(CommandError):
    """Something on the command line that only its use shows to be wrong."""

    code = ExitCode.USAGE


class NotReachable(CommandError):
    """No daemon answers."""

    code = ExitCode.NOT_REACHABLE


class FunctionFailedCall(CommandError):
    """The function, not the daemon, failed the call."""

    code = ExitCode.FUNCTION_FAILED
