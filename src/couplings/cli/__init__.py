"""The command line: ``couplings train``, ``evaluate``, ``losses`` and ``demo``.

Exit codes: 0 done, 1 a run of a comparison failed, 2 a mistake in the command or its files (one message says which),
130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]

_USAGE, _STOPPED = 2, 130
_MEASURING = "bench"
"""The command that runs as a process of the library's users does: under OpenMP's own policy of waiting."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: words after ``couplings``; None takes them from the shell.

    Example:
        >>> main(["--version"])
        0.1.0
        0
    """
    try:
        return _run(sys.argv[1:] if arguments is None else list(arguments))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "couplings":
            raise
        return _fail(f"{error.name} is not installed; pip install 'couplings[train,report]' brings it")


def _let_threads_sleep(arguments: Sequence[str]) -> None:
    """Threads that spin while they wait slow down all else on the machine. Torch reads this when it is loaded."""
    if _MEASURING not in arguments[:1]:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _run(arguments: list[str]) -> int:
    _let_threads_sleep(arguments)
    from cyclopts import CycloptsError

    from couplings.cli.app import app
    from couplings.display import short_warnings

    try:
        with short_warnings():
            code = app(arguments)
    except CycloptsError as error:
        return _fail(f"{error}\n'couplings --help' lists commands, 'couplings COMMAND --help' their options.")
    except KeyboardInterrupt as stop:
        return _stopped(stop)
    except (ValueError, OSError) as error:
        if not _users_mistake(error):
            raise
        return _fail(_message(error))
    return code if isinstance(code, int) else 0


def _users_mistake(error: Exception) -> bool:
    """Tell a wrong setting or file from a defect of ours, which deserves its traceback."""
    from couplings.errors import InvalidInput
    from couplings.train.errors import ConfigError, DataError

    return isinstance(error, (ConfigError, DataError, InvalidInput)) or (
        isinstance(error, OSError) and error.filename is not None
    )


def _message(error: Exception) -> str:
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)


def _fail(message: str) -> int:
    print(f"couplings: error: {message}", file=sys.stderr)
    return _USAGE


def _stopped(stop: KeyboardInterrupt) -> int:
    print(f"couplings: {str(stop) or 'stopped'}", file=sys.stderr)
    return _STOPPED
