"""The command line: ``couplings train``, ``evaluate``, ``compare``, ``theory`` and others.

Exit codes: 0 done, 1 a run of a comparison or a claim of the theory failed, 2 a mistake in the command or its files
(one message says which), 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

__all__ = ["main"]

_USAGE, _STOPPED, _LONGEST = 2, 130, 1500
_MEASURING = "bench"
"""The command that runs as a process of the library's users does: under OpenMP's own policy of waiting."""

_EXTRAS = {"bench": "train,bench", "theory": "theory"}
"""What a command needs beyond the core, where that is not what most need."""

_ROOM, _RIGHTS, _FILE = (
    "make room, and give the same command again",
    "name a place that you may write into",
    "a file is in the way; name another folder",
)
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _ROOM),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _RIGHTS),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), _FILE),
    errno.EISDIR: "name a file",
    errno.ENOENT: "look at the path",
    errno.ENAMETOOLONG: "name a shorter one",
}
"""What to do about what the system says."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: words after ``couplings``; None takes them from the shell.

    Example:
        >>> main(["--version"])
        0.1.0
        0
    """
    if _imported_by_a_worker():
        return 0
    words = sys.argv[1:] if arguments is None else list(arguments)
    if any("\0" in word for word in words):
        return _fail("a NUL byte came in a word, which no path or setting holds; leave it out")
    from couplings.basics.errors import UserError
    from couplings.system.rank import first_process

    try:
        first_process()
    except UserError as error:
        return _fail(str(error))
    try:
        return _run(words)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library == "couplings":
            raise
        extras = _EXTRAS.get(next(iter(words), ""), "train,report")
        return _fail(f"{library} is not installed; pip install 'couplings[{extras}]' brings it")


def _imported_by_a_worker() -> bool:
    """Whether this is a process that a command has started, which imports the script that gave the command."""
    processes = sys.modules.get("multiprocessing.process")
    return processes is not None and getattr(processes.current_process(), "_inheriting", False)


def _let_threads_sleep(arguments: Sequence[str]) -> None:
    """Threads that spin while they wait slow down all else on the machine. Torch reads this when it is loaded."""
    if _MEASURING not in arguments[:1]:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _run(arguments: list[str]) -> int:
    _let_threads_sleep(arguments)
    from cyclopts import CycloptsError

    from couplings.basics.errors import NotConverged
    from couplings.cli.app import app
    from couplings.system.display import short_warnings

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
    except NotConverged as error:
        return _fail(str(error))
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        return _fail(f"out of memory ({_first_line(error)}); lower --batch-size, or encode in parts: --micro-batch 16")
    return code if isinstance(code, int) else 0


def _users_mistake(error: Exception) -> bool:
    """Tell a wrong setting or file from a defect of ours, which deserves its traceback."""
    from couplings.basics.errors import UserError

    return isinstance(error, UserError) or (
        isinstance(error, OSError) and (error.filename is not None or error.errno == errno.ENOSPC)
    )


def _message(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    parts = [f"{error.filename}: {error.strerror}" if error.filename is not None else f"{error.strerror}"]
    return "; ".join([*parts, *([_REMEDIES[error.errno]] if error.errno in _REMEDIES else [])])


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _out_of_memory(error: Exception) -> bool:
    """On an accelerator torch has a class for it, elsewhere words."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _fail(message: str) -> int:
    from couplings.basics.errors import brief
    from couplings.basics.words import visible

    print(f"couplings: error: {visible(brief(message, _LONGEST))}", file=sys.stderr)
    return _USAGE


def _stopped(stop: KeyboardInterrupt) -> int:
    print(f"couplings: {str(stop) or 'stopped'}", file=sys.stderr)
    return _STOPPED
