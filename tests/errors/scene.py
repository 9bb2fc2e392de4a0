"""Meeting a mistake in a folder of its own: what is printed, what is left, and whether it goes on afterwards."""

from __future__ import annotations

import hashlib
import io
import shlex
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
from case import Case, Place
from stock import Stock

from couplings import cli

PREFIX = "couplings: error: "
HINT = "'couplings --help' lists commands, 'couplings COMMAND --help' their options."
"""Ends every message about the words of a command."""


@dataclass(frozen=True)
class Met:
    """What came of a case.

    Attributes:
        code: exit code.
        errors: all of stderr.
        output: all of stdout.
        changed: paths that were added, changed or removed.
        then: exit code of the same command once nothing is broken; None if it was not given again.
    """

    code: int
    errors: str
    output: str
    changed: frozenset[str]
    then: int | None

    def message(self, case: Case) -> str:
        """What the user is told, without the words that are always there."""
        if self.code:
            return self.errors.removeprefix(PREFIX).removesuffix(HINT + "\n").strip()
        return " ".join(line for line in self.output.splitlines() if case.remedy in line)


def meet(case: Case, folder: Path, stock: Stock) -> Met:
    """Prepare a case in an empty folder, and give its command there."""
    with pytest.MonkeyPatch.context() as lasting, pytest.MonkeyPatch.context() as fault:
        lasting.chdir(folder)
        if not case.measured:
            lasting.setattr("couplings.cli.work.train.measure_once", lambda run, dataset: None)
        for step in case.prepare:
            step(Place(folder, fault, stock))
        before = _content(folder)
        code, output, errors = _run(case.command)
        after = _content(folder)
        fault.undo()
        then = None if case.then is None else _run(case.command)[0]
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    return Met(code, errors, output, frozenset(changed), then)


def _run(command: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        code = cli.main(shlex.split(command))
    return code, output.getvalue(), errors.getvalue()


def _content(folder: Path) -> dict[str, str]:
    """All that lies in a folder: files by their checksum, folders by a word."""
    paths = sorted(folder.rglob("*"))
    return {
        path.relative_to(folder).as_posix(): hashlib.md5(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in paths
    }
