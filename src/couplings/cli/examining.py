"""What `couplings theory` does, once its words are understood, and what it says meanwhile."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from couplings.basics.errors import InvalidInput
from couplings.system.display import Bar, bar, cell, duration, say, show
from couplings.system.files import folder_for
from couplings_theory.catalogue import FAMILIES, selected
from couplings_theory.claim import Check, Claim
from couplings_theory.examination import Outcome, examine
from couplings_theory.page import FILES, number, summary, write

_FAILED = 1
_QUESTION = "--prior 0.85 0.1 0.05 --k 1 2 4 8"


def chosen(misplaced: Sequence[str], only: Sequence[str] | None) -> Sequence[str]:
    """The names behind --only.

    Raises:
        InvalidInput: --only without a name, or a name that does not stand behind it.
    """
    if misplaced:
        raise InvalidInput(f"'{misplaced[0]}' is no command of 'couplings theory'; claims are named behind --only")
    if only is not None and not only:
        raise InvalidInput("--only names nothing; name families or claims (--list), or leave it out for all")
    return only or ()


def list_claims(names: Sequence[str]) -> None:
    """A line for each claim."""
    table = Table("claim", "what it says", "known", title_justify="left")
    for claim in selected(names):
        table.add_row(claim.name, cell(claim.title), claim.standing.value)
    show(table)
    say("Run them: couplings theory --output DIR, or some: couplings theory --only latent-classes minmax")


def theory_command(names: Sequence[str], output: Path, workers: int | None) -> int:
    """Examine, write, sum up; the exit code."""
    if workers is not None and workers < 1:
        raise InvalidInput(f"workers: {workers} came; at least one process must do the work")
    start = time.perf_counter()
    claims = selected(names)
    with folder_for(output, FILES):
        outcomes = _examined(claims, workers)
    written = write(outcomes, output, shlex.join(["couplings", *sys.argv[1:]]))
    _close(outcomes, written, time.perf_counter() - start)
    return 0 if all(outcome.passed for outcome in outcomes) else _FAILED


def _examined(claims: Sequence[Claim], workers: int | None) -> list[Outcome]:
    with bar(len(claims), "claims") as progress:
        display = _Display(progress)
        try:
            return examine(claims, workers, display.on_outcome)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped after {display.done} of {len(claims)} claims; no page written") from None


class _Display:
    """A bar over the claims; of each, when it ends, the numbers."""

    def __init__(self, progress: Bar) -> None:
        self.done = 0
        self._bar = progress

    def on_outcome(self, outcome: Outcome) -> None:
        """Say what came out."""
        self.done += 1
        claim = outcome.claim
        say(f"{_word(outcome)} {claim.name} ({claim.standing.value}, {duration(outcome.seconds)}): {claim.title}")
        for line in _lines(outcome):
            say(f"    {line}")
        self._bar.update(self.done, claim.name)


def _word(outcome: Outcome) -> str:
    return "passed" if outcome.passed else "FAILED"


def _lines(outcome: Outcome) -> list[str]:
    return [outcome.error] if outcome.error else [_line(check) for check in outcome.checks]


def _line(check: Check) -> str:
    wanted = f"{check.relation.value} {number(check.expected)}"
    within = f" within {check.tolerance:.0e}" if check.tolerance else ""
    return f"{'' if check.passed else 'FAILED '}{check.what}: {number(check.obtained)}, expected {wanted}{within}"


def _close(outcomes: Sequence[Outcome], written: Sequence[Path], seconds: float) -> None:
    show(_table(outcomes))
    for outcome in outcomes:
        if not outcome.passed:
            say(f"FAILED {outcome.claim.name}")
    say(f"{summary(outcomes)} {duration(seconds)}.")
    page, numbers, figures = written
    say(f"Written: {page}, {numbers}, {figures}.")
    say(f"Open {page} in a browser. Your own question: couplings theory latent-classes {_QUESTION}")


def _table(outcomes: Sequence[Outcome]) -> Table:
    table = Table("claim", "known", "numbers", "")
    for family in FAMILIES:
        members = [outcome for outcome in outcomes if outcome.claim.family == family.name]
        if members:
            table.add_section()
            table.add_row(cell(family.title, "bold"))
        for outcome in members:
            held = sum(check.passed for check in outcome.checks)
            numbers = f"{held} of {len(outcome.checks)}"
            title = Text("\n").join((cell(outcome.claim.title), cell(outcome.claim.name, "dim")))
            table.add_row(title, outcome.claim.standing.value, numbers, _word(outcome))
    return table
